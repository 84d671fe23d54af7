"""Putting the parts of a tempo map together again after an edit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bandroom.music.meter import Meter
from bandroom.music.segment import Segment
from bandroom.music.tempo_map import MeterChange, TempoMap

HISTORY_US: Final = 10_000_000
"""A map remembers what was in force this long ago (µs), for notes and beats on their way."""
MAX_PAST: Final = 8
"""Segments, and as many meter changes, that lie in the past: the one in force and those before it."""


def identity(k: int) -> int:
    """Where position `k` moves when the grid stays."""
    return k


def with_segment(segs: Sequence[Segment], new: Segment) -> list[Segment]:
    """`segs` with `new` in its place, instead of what set the tempo there before."""
    kept = [s for s in segs if not (s.uq and s.k == new.k)]
    i = sum(s.k <= new.k and (s.t <= new.t or not s.uq) for s in kept)
    return [*kept[:i], new, *kept[i:]]


def tidied(segs: Sequence[Segment]) -> list[Segment]:
    """Without segments that change nothing, that last no time, or that stand still twice."""
    out: list[Segment] = []
    for s in segs:
        new, redundant = s, False
        while out:
            p = out[-1]
            if not p.uq and not new.uq:
                new = replace(p, uq1=new.uq1)
            elif p.uq and new.k <= p.k:
                new = replace(new, k=p.k, t=p.t)
            elif p.uq or new.t > p.t:
                if p.uq and new.uq and new.len is None and new.uq == p.holds_uq and new.k - p.k >= (p.len or 0):
                    redundant = True
                break
            out.pop()
        if not redundant:
            out.append(new)
    return out


def retimed(old: TempoMap, segs: Sequence[Segment]) -> list[Segment]:
    """Every segment at the time at which the ones before it get there; pauses end when they ended, if they can.

    A ramp begins at the tempo that it finds; a pause remembers the tempo that it found, and the music goes on
    at it, unless another was asked for.
    """
    old_at = {s.t: i for i, s in enumerate(old.seg)}
    out: list[Segment] = []
    for s in segs:
        if not out:
            out.append(s)
            continue
        p, i = out[-1], old_at.get(s.t, 0)
        was, before = old.seg[i], old.seg[max(i - 1, 0)]
        if p.uq:
            found = round(p.uq_at(s.k - p.k))
            if s.len is not None:
                s = replace(s, uq=found)
            elif not s.uq and (i == 0 or (was.uq1 == s.uq1 and s.uq1 == round(before.uq_at(was.k - before.k)))):
                s = replace(s, uq1=found)
            out.append(replace(s, t=p.time_of(s.k)))
            continue
        if i and s.len is None and s.uq == was.uq == before.tempo_uq:
            s = replace(s, uq=p.tempo_uq)
        if s.t <= p.t:
            out.pop()
            p = out[-1] if out else p
            s = replace(s, t=p.time_of(s.k)) if p.uq else s
        out.append(s)
    return tidied(out)


def tidied_meters(met: Sequence[MeterChange]) -> list[MeterChange]:
    """Without changes to the meter that is in force already."""
    out = [met[0]]
    out.extend(c for c, before in zip(met[1:], met, strict=False) if c.meter != before.meter)
    return out


def bar_line_from(m: TempoMap, k: int) -> int:
    """The first bar line at or after position `k`, at the earliest that of bar 1."""
    first = m.met[0]
    k = max(k, first.k + (1 - first.bar) * first.meter.bar_ticks) if first.bar <= 1 else k
    c = m.meter_at(k)
    return c.k - (c.k - k) // c.meter.bar_ticks * c.meter.bar_ticks


def with_meter(m: TempoMap, k: int, meter: Meter | None) -> tuple[list[MeterChange], Callable[[int], int]]:
    """The meter changes with `meter` from the bar line at `k` on (None: without the change that is there).

    And how positions move, so that what lies after it keeps its bar and its beat in the bar.
    """
    here = m.meter_at(k)
    met = [c for c in m.met if c.k < k]
    if not met and (meter is None or m.seg[0].k < k):
        # What was before, a count-in, keeps the meter it has.
        bars = 1 + max(0, (here.k - k) // here.meter.bar_ticks)
        beats = bars * here.meter.beats_per_bar
        met.append(MeterChange(here.n - beats, here.k - bars * here.meter.bar_ticks, here.bar - bars, here.meter))
    if meter is not None:
        bar = here.bar + (k - here.k) // here.meter.bar_ticks
        met.append(MeterChange(m.beat_number(k), k, bar, meter))
    for c in m.met:
        if c.k > k:
            p = met[-1]
            bars = c.bar - p.bar
            beats = p.n + bars * p.meter.beats_per_bar
            met.append(MeterChange(beats, p.k + bars * p.meter.bar_ticks, c.bar, c.meter))

    def moved(old_k: int) -> int:
        if old_k <= k:
            return old_k
        c = m.meter_at(old_k)
        bars, within = divmod(old_k - c.k, c.meter.bar_ticks)
        new = next((o for o in reversed(met) if o.bar <= c.bar + bars), met[0])
        line = new.k + (c.bar + bars - new.bar) * new.meter.bar_ticks
        beat, rest = divmod(within, c.meter.q)
        if beat >= new.meter.beats_per_bar:
            return line + new.meter.bar_ticks
        return line + beat * new.meter.q + rest * new.meter.q // c.meter.q

    return met, moved


def pruned(m: TempoMap, now_us: int) -> TempoMap:
    """Without what was over 10 s ago, and with at most 8 segments and 8 meter changes of the past."""
    then = now_us - HISTORY_US
    past = [i for i, s in enumerate(m.seg) if s.t <= now_us]
    first = max([i for i in past if m.seg[i].t <= then][-1:] + past[-MAX_PAST:][:1] + [0])
    position = max(m.position_at(then), m.seg[first].k)
    begun = [i for i, c in enumerate(m.met) if c.k <= m.position_at(now_us)]
    first_met = max([i for i in begun if m.met[i].k <= position][-1:] + begun[-MAX_PAST:][:1] + [0])
    if not first and not first_met:
        return m
    return TempoMap(m.rev, m.seg[first:], m.met[first_met:])
