"""What server time is, learned from clock exchanges over a network that delays them at will.

Local time x and server time differ by θ(x) = a + b·x: an offset and the skew of a crystal. An exchange that left
at t1, was at the server from t2 to t3 and came back at t4 (t1, t4 local) leaves no doubt about two things, however
long it was on its way: θ(t1) <= t2 - t1 and θ(t4) >= t3 - t4. Many exchanges pen the line in from both sides.
All times are in microseconds.
"""

from collections.abc import Callable
from math import inf
from typing import Final

MAX_SKEW: Final = 100e-6
"""No crystal is further off another than this (two at ±50 ppm)."""
WANDER: Final = 1e-6
"""A crystal's skew over the window is within this of its skew now."""
WINDOW_US: Final = 120_000_000
"""How long a bound is kept."""

_SPLIT_US = 500_000  # one bound a side for each burst: the tightest
_SIDE = 64
_MIDDLES = 128  # exchanges kept one by one; older ones are gathered into blocks, which cost a board a sixteenth
_BLOCK = 16
_BLOCKS = 64
_CRYSTALS_PPM = 40.0  # how far two crystals at up to ±50 ppm are apart, as a standard deviation
_FINEST_US = 30.0
_SHARPNESS = 0.15
_UNLIKE, _ALIKE = 0.4, 0.7


class ClockFilter:
    """The two-sided envelope. `offset_at` is server minus local time; `bound_at` is how far off it may be at most.

    The bound is honest as long as the crystal keeps to `max_skew` and `wander`: it is the extent of all lines that
    pass below every upper and above every lower bound. Within it the offset is the middle; where both directions
    scatter alike, so that their delays cancel out on average, it leans on the mean of the exchanges instead, each
    weighed by how little it was delayed. `resolution_us` is the local clock's: 1, or coarser in some browsers.
    """

    def __init__(
        self,
        *,
        resolution_us: float = 1.0,
        window_us: int = WINDOW_US,
        max_skew: float = MAX_SKEW,
        wander: float = WANDER,
    ) -> None:
        self._slack = resolution_us + 1.0
        self._window = window_us
        self._max_skew = max_skew
        self._wander = wander
        self.restarts = 0
        """How often the server's time, or the local one, stepped, so that everything before it was thrown away."""
        self.ignored = 0
        """How many exchanges could not have happened."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # Entries are (when the burst began, when, bound); offsets are kept relative to the first one, so that they
        # stay small enough for a float with 24 bits.
        self._upper: list[tuple[float, float, float]] = []
        self._lower: list[tuple[float, float, float]] = []
        self._middles: list[tuple[float, float, float]] = []  # (when, middle, round trip)
        self._blocks: list[tuple[float, float, float]] = []  # (when, middle, weight)
        self._base: int | None = None
        self._now: float = 0
        self._last: tuple[float, float, float, float] | None = None
        self._fresh = False
        self._offset = self._above = self._below = self._skew = self._least = self._most = 0.0

    @property
    def synced(self) -> bool:
        """Whether anything is known at all."""
        return self._last is not None

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        """Learn from an exchange; in any order. False if it cannot have happened, and is ignored."""
        round_trip = (t4 - t1) - (t3 - t2)
        if t4 < t1 or t3 < t2 or round_trip < -2 * self._slack:
            self.ignored += 1
            return False
        if self._base is None:
            self._base = round(t2 - t1)
        upper, lower = t2 - t1 - self._base + self._slack, t3 - t4 - self._base - self._slack
        reach = self._max_skew + self._wander
        if any(lower - u > reach * abs(t4 - x) for _, x, u in self._upper) or any(
            low - upper > reach * abs(t1 - x) for _, x, low in self._lower
        ):
            self._restart()
            return self.add(t1, t2, t3, t4)
        self._last = (t1, t2, t3, t4)
        self._now = max(self._now, t4) if self._upper else t4
        oldest = self._now - self._window
        self._upper = _kept(self._upper, t1, upper, oldest, -1)
        self._lower = _kept(self._lower, t4, lower, oldest, 1)
        self._middles.append(((t1 + t4) / 2, (upper + lower) / 2, round_trip))
        self._middles = [m for m in self._middles if m[0] >= oldest]
        self._blocks = [b for b in self._blocks if b[0] >= oldest]
        if len(self._middles) > _MIDDLES:
            self._gather()
        self._fresh = True
        return True

    def offset_at(self, t: float) -> float:
        """Server time minus local time at local time `t`. Raises LookupError before the first exchange."""
        self._fit()
        if self._base is None:
            raise LookupError("no clock exchange yet")
        return self._base + (self._offset + self._skew * (t - self._now))

    def bound_at(self, t: float) -> float:
        """How far `offset_at(t)` may be off at most; infinite before the first exchange."""
        self._fit()
        if self._base is None:
            return inf
        spread = max(self._most - self._skew, self._skew - self._least) + self._wander
        return max(self._above - self._offset, self._offset - self._below) + spread * abs(t - self._now)

    @property
    def skew_ppm(self) -> float:
        """By how much the server's clock is faster than the local one, as far as is known."""
        self._fit()
        return self._skew * 1e6

    @property
    def skew_bound_ppm(self) -> float:
        """How far `skew_ppm` may be off at most."""
        self._fit()
        return max(self._most - self._skew, self._skew - self._least) * 1e6 if self.synced else self._max_skew * 1e6

    def _restart(self) -> None:
        self.reset()
        self.restarts += 1

    def _fit(self) -> None:
        if not self._fresh or self._last is None:
            return
        self._fresh = False
        least, most = self._skews()
        if least > most:
            # No single line is below all upper and above all lower bounds: something stepped, too little to show in
            # any two of them.
            last = self._last
            self._restart()
            self.add(*last)
            self._fresh = False
            least, most = self._skews()
        self._least, self._most = least, most
        now, wander = self._now, self._wander
        self._above = min(u + (most + wander) * (now - x) for _, x, u in self._upper)
        self._below = max(low + (least - wander) * (now - x) for _, x, low in self._lower)
        self._skew = (least + most) / 2
        self._offset = (self._above + self._below) / 2
        weight = self._likeness()
        if weight > 0:
            mean, skew = self._mean_line()
            self._skew += weight * (min(max(skew, least), most) - self._skew)
            self._offset += weight * (min(max(mean, self._below), self._above) - self._offset)

    def _skews(self) -> tuple[float, float]:
        """The flattest and the steepest line that fits between the bounds, by eliminating the offset."""
        least, most = -self._max_skew, self._max_skew
        for _, xu, u in self._upper:
            for _, xl, low in self._lower:
                dx = xl - xu
                if dx > 0:
                    least = max(least, (low - u) / dx - self._wander)
                elif dx < 0:
                    most = min(most, (low - u) / dx + self._wander)
        return least, most

    def _likeness(self) -> float:
        """0 where one direction scatters much more than the other, 1 where both scatter alike."""
        if len(self._middles) < 4:
            return 0.0
        up, down = self._scatter(lambda m: m[1] + m[2] / 2, 1), self._scatter(lambda m: m[1] - m[2] / 2, -1)
        ratio = (min(up, down) + _FINEST_US) / (max(up, down) + _FINEST_US)
        return min(max((ratio - _UNLIKE) / (_ALIKE - _UNLIKE), 0.0), 1.0)

    def _scatter(self, bound: Callable[[tuple[float, float, float]], float], sign: int) -> float:
        values = sorted(sign * (bound(m) - self._skew * (m[0] - self._now)) for m in self._middles)
        return values[len(values) // 2] - values[0]

    def _gather(self) -> None:
        """Make one of the oldest exchanges."""
        weighed = self._weighed()[:_BLOCK]
        del self._middles[:_BLOCK]
        weight = sum(w for _, _, w in weighed)
        when, middle = (sum(entry[i] * entry[2] for entry in weighed) / weight for i in (0, 1))
        self._blocks = [*self._blocks, (when, middle, weight)][-_BLOCKS:]

    def _weighed(self) -> list[tuple[float, float, float]]:
        """(when, middle, weight) of each exchange: those that were delayed least count most. One that took an excess of
        2e over the quickest may be off by e either way; as a deviation that is e/√2 or less.
        """
        trips = sorted(m[2] for m in self._middles)
        quickest = trips[0]
        grain = max(_FINEST_US, _SHARPNESS * (trips[len(trips) // 2] - quickest))
        return [(x, y, 2.0 / (((trip - quickest) / 2) ** 2 + grain * grain)) for x, y, trip in self._middles]

    def _mean_line(self) -> tuple[float, float]:
        """Least squares through the exchanges' middles."""
        origin = self._middles[0][1]
        # What is known of the skew beforehand: the range that the envelope allows, with a quarter of it as deviation,
        # and how crystals are.
        deviation = max((self._most - self._least) * 2.5e5, 1e-3)
        firm = 1.0 / (deviation * deviation)
        prior = (self._least + self._most) * 5e5 * firm
        firm += 1.0 / (_CRYSTALS_PPM * _CRYSTALS_PPM)
        sw = sx = sy = sxx = sxy = 0.0
        for when, middle, w in self._blocks + self._weighed():
            x, y = (when - self._now) / 1e6, middle - origin
            sw += w
            sx += w * x
            sy += w * y
            sxx += w * x * x
            sxy += w * x * y
        slope = (sw * (sxy + prior) - sx * sy) / (sw * (sxx + firm) - sx * sx)
        return origin + (sy - slope * sx) / sw, slope * 1e-6


def _kept(
    side: list[tuple[float, float, float]], x: float, bound: float, oldest: float, sign: int
) -> list[tuple[float, float, float]]:
    """`side` with a bound more: a burst's tightest only, none from before `oldest`, at most 64."""
    kept = [e for e in side if e[1] >= oldest]
    if kept and abs(x - kept[-1][0]) < _SPLIT_US:
        if (bound - kept[-1][2]) * sign > 0:
            kept[-1] = (kept[-1][0], x, bound)
    else:
        kept.append((x, x, bound))
    return kept[-_SIDE:]


class MinRttFilter:
    """The simple baseline: the middle of the quickest of the last exchanges, half its round trip as the bound."""

    def __init__(self, *, keep: int = 32, max_skew: float = MAX_SKEW) -> None:
        self._keep = keep
        self._max_skew = max_skew
        self._recent: list[tuple[float, float, float]] = []

    @property
    def synced(self) -> bool:
        """Whether anything is known at all."""
        return bool(self._recent)

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        """Learn from an exchange."""
        self._recent = [*self._recent, (t4, ((t2 - t1) + (t3 - t4)) / 2, (t4 - t1) - (t3 - t2))][-self._keep :]
        return True

    def offset_at(self, t: float) -> float:
        """Server time minus local time. Raises LookupError before the first exchange."""
        if not self._recent:
            raise LookupError("no clock exchange yet")
        return min(self._recent, key=lambda e: e[2])[1]

    def bound_at(self, t: float) -> float:
        """Half the round trip, and what a crystal may drift since."""
        if not self._recent:
            return inf
        when, _, trip = min(self._recent, key=lambda e: e[2])
        return trip / 2 + 2 + self._max_skew * abs(t - when)
