"""The tempo map: musical position as a pure function of server time.

A frozen value, published whole and retained. Segments and meter changes may lie in the future, so nothing is
sent when a change falls due. Within one map position never goes back and beat numbers only rise, so
(rev, n) names a beat once.
"""

from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, Self

from bandroom.music.meter import Meter
from bandroom.music.segment import Segment
from bandroom.music.units import PPQ, bpm_from_uq, uq_from_bpm

__all__ = ["Beat", "Meter", "MeterChange", "Segment", "TempoMap"]

_SLACK_US = 2
_T, _K = attrgetter("t"), attrgetter("k")


@dataclass(frozen=True, slots=True)
class MeterChange:
    """From beat `n`, at `k` ticks, where bar `bar` begins: `meter`. The first one also holds before it."""

    n: int
    k: int
    bar: int
    meter: Meter


class Beat(NamedTuple):
    """Beat `n` (0 the first after start, count-in below): beat `pos` (from 1) of bar `bar`, due at `t` (server
    time, µs). `bpm`: counted beats a minute from it on, three decimals. `d`: µs to the next beat, 0 if it is the last.
    """

    n: int
    bar: int
    pos: int
    bpm: float
    t: int
    d: int


@dataclass(frozen=True, slots=True)
class TempoMap:
    """A room's time, of revision `rev`. Checks itself: raises ValueError for a map that contradicts itself.

    Before the first segment's time the position stands still at its `k`.
    """

    rev: int
    seg: tuple[Segment, ...]
    met: tuple[MeterChange, ...]

    def __post_init__(self) -> None:
        if self.rev < 0 or not self.seg or not self.met:
            raise ValueError("a tempo map needs rev >= 0, a segment and a meter")
        for a, b in zip(self.seg, self.seg[1:], strict=False):
            if b.t <= a.t or b.k < a.k or (not a.uq and not b.uq):
                raise ValueError(f"segment at k={b.k}, t={b.t} does not follow k={a.k}, t={a.t}")
            if a.uq and abs(a.time_of(b.k) - b.t) > _SLACK_US:
                raise ValueError(f"segment at k={b.k} is due at {a.time_of(b.k)}, not at {b.t}")
        for m, o in zip(self.met, self.met[1:], strict=False):
            beats, bar_beats = o.n - m.n, m.meter.beats_per_bar
            if beats <= 0 or o.k - m.k != beats * m.meter.q or (o.bar - m.bar) * bar_beats != beats:
                raise ValueError(f"the meter change at beat {o.n} is not at a bar line of the meter before it")

    @classmethod
    def initial(cls, rev: int, now_us: int, bpm: float, meter: Meter) -> Self:
        """A map that stands still at position 0, ready to go at `bpm` counted beats a minute."""
        stopped = Segment(k=0, t=now_us, uq=0, uq1=uq_from_bpm(bpm, meter.q))
        return cls(rev, (stopped,), (MeterChange(0, 0, 1, meter),))

    # -- time <-> position

    def segment_at(self, t_us: int) -> Segment:
        """The segment in force at `t_us` (the first one before its own time)."""
        last = self.seg[-1]
        return last if last.t <= t_us else self.seg[max(bisect_right(self.seg, t_us, key=_T) - 1, 0)]

    def position_at(self, t_us: int) -> float:
        """Position in ticks at server time `t_us`."""
        s = self.segment_at(t_us)
        return s.k + s.ticks_at(max(t_us - s.t, 0))

    def time_at(self, k: float) -> int | None:
        """Server time (µs) at which position `k` (ticks) is reached; None if it never is, or was before this map.

        Where the map stands still, the time at which it goes on.
        """
        i = bisect_right(self.seg, k, key=_K) - 1
        if i < 0 or not self.seg[i].uq:
            return None
        s = self.seg[i]
        return s.time_of(k) if isinstance(k, int) else s.t + int(s.us_at(k - s.k) + 0.5)

    def running_at(self, t_us: int) -> bool:
        """Whether the position moves at server time `t_us`."""
        s = self.segment_at(t_us)
        return s.uq > 0 and s.t <= t_us

    def bpm_at(self, t_us: int) -> float:
        """Counted beats a minute at `t_us`; while standing still, the tempo at which it would go on."""
        s = self.segment_at(t_us)
        x = s.ticks_at(max(t_us - s.t, 0))
        return bpm_from_uq(s.uq_at(x) or s.tempo_uq, self.meter_at(s.k + x).meter.q)

    # -- meter

    def meter_at(self, k: float) -> MeterChange:
        """The meter change in force at position `k`."""
        for m in reversed(self.met):
            if m.k <= k:
                return m
        return self.met[0]

    def meter_of(self, n: int) -> MeterChange:
        """The meter change in force at beat `n`."""
        for m in reversed(self.met):
            if m.n <= n:
                return m
        return self.met[0]

    def beat_ticks(self, n: int) -> int:
        """Position (ticks) of beat `n`, whether or not it is ever reached."""
        m = self.meter_of(n)
        return m.k + (n - m.n) * m.meter.q

    def beat_number(self, k: int) -> int:
        """Number of the last beat at or before position `k`."""
        m = self.meter_at(k)
        return m.n + (k - m.k) // m.meter.q

    # -- beats

    def beat(self, n: int) -> Beat | None:
        """Beat `n`, or None if the map never reaches it (or no longer knows when it was)."""
        m = self.met[-1]
        if n < m.n:
            m = self.meter_of(n)
        meter = m.meter
        k = m.k + (n - m.n) * meter.q
        s = self.seg[-1]
        if k < s.k:
            i = bisect_right(self.seg, k, key=_K) - 1
            if i < 0:
                return None
            s = self.seg[i]
        if not s.uq:
            return None
        bar, pos = divmod(n - m.n, meter.beats_per_bar)
        t = s.time_of(k)
        if s is self.seg[-1] and s.len is None:
            # The hot path: one tempo to the end.
            return Beat(n, m.bar + bar, pos + 1, bpm_from_uq(s.uq, meter.q), t, s.time_of(k + meter.q) - t)
        following = self.time_at(k + meter.q)
        bpm = bpm_from_uq(s.uq_at(k - s.k), meter.q)
        return Beat(n, m.bar + bar, pos + 1, bpm, t, 0 if following is None else following - t)

    def next_beat(self, after_us: int) -> Beat | None:
        """The first beat due later than `after_us`, or None."""
        s, m = self.seg[-1], self.met[-1]
        if s.t <= after_us and s.len is None:
            # The hot path, spelled out: a worker asks this of thousands of rooms, nearly all of which have one tempo
            # and one meter to the end.
            uq = s.uq
            if not uq:
                return None
            meter = m.meter
            q = meter.q
            n = (s.k + (after_us - s.t) * PPQ // uq - m.k) // q + 1
            if n > 0:
                us = (m.k + n * q - s.k) * uq + PPQ // 2
                t = s.t + us // PPQ
                if t <= after_us:
                    n, us = n + 1, us + q * uq
                    t = s.t + us // PPQ
                bar, pos = divmod(n, meter.beats_per_bar)
                d = s.t + (us + q * uq) // PPQ - t
                return Beat(m.n + n, m.bar + bar, pos + 1, bpm_from_uq(uq, q), t, d)
        last = len(self.seg) - 1
        first = last if self.seg[last].t <= after_us else max(bisect_right(self.seg, after_us, key=_T) - 1, 0)
        for i in range(first, last + 1):
            s = self.seg[i]
            if not s.uq:
                continue
            reached = s.k if after_us < s.t else s.k + int(s.ticks_at(after_us - s.t))
            n = self.beat_number(reached)
            k = self.beat_ticks(n)
            while k < s.k or s.time_of(k) <= after_us:
                n += 1
                k = self.beat_ticks(n)
            if i == last or k < self.seg[i + 1].k:
                return self.beat(n)
        return None

    def beat_at_or_before(self, t_us: int) -> Beat | None:
        """The last beat due at or before `t_us`, as far back as this map reaches, or None."""
        for i in range(bisect_right(self.seg, t_us, key=_T) - 1, -1, -1):
            s = self.seg[i]
            if not s.uq:
                continue
            end_k = self.seg[i + 1].k if i + 1 < len(self.seg) else None
            n = self.beat_number(s.k + int(s.ticks_at(t_us - s.t)) + 1)
            k = self.beat_ticks(n)
            while k >= s.k and ((end_k is not None and k >= end_k) or s.time_of(k) > t_us):
                n -= 1
                k = self.beat_ticks(n)
            if k >= s.k:
                return self.beat(n)
        return None
