"""One stretch of a tempo map: standing still, one tempo, or a ramp that ends in a tempo.

With x ticks since the segment's start, τ µs since it, v = 960/uq ticks a µs, L the ramp's ticks:

- constant:        τ = x/v
- linear in time:  v(τ) = v0 + (v1 - v0)·τ/D, D = 2L/(v0 + v1); x = v0·τ + (v1 - v0)·τ²/2D;
                   τ = 2x / (v0 + √(v0² + (v1² - v0²)·x/L)), the form of the root that also holds at slope 0
- linear in beats: v(x) = v0 + s·x, s = (v1 - v0)/L; τ = log1p(s·x/v0)/s; x = v0·expm1(s·τ)/s

Past its end a ramp holds its last tempo, in the same segment.
"""

from dataclasses import dataclass
from math import expm1, floor, log1p, sqrt
from typing import Literal

from bandroom.music.units import PPQ

Ramp = Literal["time", "beats"]

_MIN_UQ, _MAX_UQ = 10_000, 30_000_000
_MAX_TICKS = 1 << 40
_MAX_US = 1 << 53
_DEFAULT_UQ = 500_000


@dataclass(frozen=True, slots=True)
class Segment:
    """From position `k` (ticks) at server time `t` (µs) on: `uq` µs a quarter, 0 standing still.

    A ramp has `uq1` (its last tempo), `len` (its ticks) and `ramp` (linear in what). A standing segment may
    have `uq1` alone: the tempo at which it would go on. Raises ValueError where these don't fit together.
    """

    k: int
    t: int
    uq: int
    uq1: int | None = None
    len: int | None = None
    ramp: Ramp | None = None

    def __post_init__(self) -> None:
        if not -_MAX_TICKS < self.k < _MAX_TICKS or not 0 <= self.t < _MAX_US:
            raise ValueError(f"segment at k={self.k}, t={self.t}: out of range")
        for uq in (self.uq or _MIN_UQ, self.uq1 or _MIN_UQ):
            if not _MIN_UQ <= uq <= _MAX_UQ:
                raise ValueError(f"segment at k={self.k}: {uq} µs a quarter is out of range")
        if self.len is None:
            if self.ramp is not None or (self.uq and self.uq1 is not None):
                raise ValueError(f"segment at k={self.k}: a ramp needs uq1, len and ramp")
        elif not self.uq or not self.uq1 or self.ramp not in ("time", "beats") or not 0 < self.len < _MAX_TICKS:
            raise ValueError(f"segment at k={self.k}: a ramp needs uq, uq1, len > 0 and ramp 'time' or 'beats'")

    @property
    def tempo_uq(self) -> int:
        """Its tempo at the start, or the one at which it would go on (µs a quarter)."""
        return self.uq or self.uq1 or _DEFAULT_UQ

    @property
    def holds_uq(self) -> int:
        """The tempo that it ends up at (µs a quarter)."""
        return self.uq1 or self.uq or _DEFAULT_UQ

    def time_of(self, k: int) -> int:
        """Server time (µs) of position `k` >= self.k, rounded half up. Only for a segment that moves."""
        if self.len is None:
            return self.t + ((k - self.k) * self.uq + PPQ // 2) // PPQ
        return self.t + floor(self.us_at(k - self.k) + 0.5)

    def us_at(self, x: float) -> float:
        """µs from the segment's start to `x` >= 0 ticks after it."""
        if self.len is None or self.uq1 is None:
            return x * self.uq / PPQ
        if x > self.len:
            return self._ramp_us(self.len) + (x - self.len) * self.uq1 / PPQ
        return self._ramp_us(x)

    def ticks_at(self, us: float) -> float:
        """Ticks from the segment's start to `us` >= 0 µs after it; 0 when standing still."""
        if self.uq == 0:
            return 0.0
        if self.len is None or self.uq1 is None:
            return us * PPQ / self.uq
        end_us = self._ramp_us(self.len)
        if us > end_us:
            return self.len + (us - end_us) * PPQ / self.uq1
        v0, v1 = PPQ / self.uq, PPQ / self.uq1
        if self.ramp == "time":
            return us * (v0 + (v1 - v0) * us / (2.0 * end_us))
        z = (v1 - v0) / self.len * us
        return us * v0 * (expm1(z) / z if z else 1.0)

    def uq_at(self, x: float) -> float:
        """µs a quarter at `x` >= 0 ticks after the start; 0 when standing still."""
        if self.len is None or self.uq1 is None:
            return self.uq
        if x >= self.len:
            return self.uq1
        v0, v1 = PPQ / self.uq, PPQ / self.uq1
        part = x / self.len
        return PPQ / (sqrt(v0 * v0 + (v1 * v1 - v0 * v0) * part) if self.ramp == "time" else v0 + (v1 - v0) * part)

    def _ramp_us(self, x: float) -> float:
        if self.len is None or self.uq1 is None:
            return 0.0
        v0, v1 = PPQ / self.uq, PPQ / self.uq1
        if self.ramp == "time":
            return 2.0 * x / (v0 + sqrt(v0 * v0 + (v1 * v1 - v0 * v0) * x / self.len))
        z = (v1 - v0) * x / (self.len * v0)
        return x / v0 * (log1p(z) / z if z else 1.0)
