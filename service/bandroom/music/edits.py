"""Edits of a tempo map: each returns a new map with a higher revision, or the same one if nothing changes.

An edit takes effect at a boundary at least 150 ms ahead (`LEAD_US`), so that everybody hears of it before it is
due; where the wished boundary is nearer than that, at the one after. Several may be pending. What is pending
later stays at its place in the music and is timed anew; what is pending at the same place is replaced; a stop
drops what was pending after it, since the position never gets there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bandroom.music import _rebuild
from bandroom.music._place import At, EditError, bar_line, check_bpm, next_number, only_soon, place
from bandroom.music.meter import Meter
from bandroom.music.segment import Ramp, Segment
from bandroom.music.tap import tap_bpm
from bandroom.music.tempo_map import MeterChange, TempoMap
from bandroom.music.units import LEAD_US, MAX_BPM, MIN_BPM, bpm_from_uq, uq_from_bpm

__all__ = [
    "At",
    "Edit",
    "EditError",
    "cancel",
    "continue_",
    "set_meter",
    "set_tempo",
    "start",
    "stop",
    "tap",
]

MAX_PENDING: Final = 16
"""Segments, and as many meter changes, that may lie in the future."""
MAX_RAMP_BEATS: Final = 4096
MAX_COUNT_IN_BARS: Final = 8


@dataclass(frozen=True, slots=True)
class Edit:
    """The map after the edit, and where it takes effect: at beat `n` (the first it concerns), at `t` (µs).

    Where the room stands still for good, that is now, and the beat with which it would go on.
    """

    map: TempoMap
    n: int
    t: int


def start(m: TempoMap, rev: int, now_us: int, at: At = "bar", *, count_in: int = 1, pickup: int = 0) -> Edit:
    """Play from beat 0 after `count_in` bars (0..8), with a pick-up bar of `pickup` beats (0..a bar less one).

    With a pick-up, the beats missing before it are counted in too. The room must stand still (a start or
    continue that is still pending is replaced); the first beat sounds 150 ms from now.
    """
    only_soon(at, "start")
    if type(count_in) is not int or not 0 <= count_in <= MAX_COUNT_IN_BARS:
        raise EditError("bad_request", f"count_in is {count_in!r}: give bars from 0 to {MAX_COUNT_IN_BARS}")
    still = m.segment_at(now_us)
    due = m.next_beat(now_us)
    if due is not None and (still.uq or due.t < now_us + LEAD_US):
        raise EditError("conflict", "the room is playing: stop it first, and start once it has stopped")
    still = m.seg[-1] if still.uq else still
    meter = m.met[-1].meter
    if type(pickup) is not int or not 0 <= pickup < meter.beats_per_bar:
        raise EditError("bad_request", f"pickup is {pickup!r}: give beats from 0 to {meter.beats_per_bar - 1}")
    counted = count_in * meter.beats_per_bar
    if pickup and count_in:
        counted += meter.beats_per_bar - pickup
    k = -counted * meter.q
    t = max(now_us + LEAD_US, still.t + 1)
    uq = m.seg[-1].holds_uq if m.seg[-1].uq else m.seg[-1].tempo_uq
    # Nothing of the old song is due any more, so the place where the room stands is rewound at once.
    first = Segment(k, still.t, 0, uq)
    grid = MeterChange(pickup, pickup * meter.q, 1, meter)
    return _done(m, rev, now_us, [first, Segment(k, t, uq)], [grid], -counted, t)


def continue_(m: TempoMap, rev: int, now_us: int, at: At = "bar") -> Edit:
    """Go on from where the room stands or is about to stop, 150 ms from now at the earliest.

    Takes back a stop that is not due yet. Changes nothing while the room plays or is about to.
    """
    only_soon(at, "continue")
    last = m.seg[-1]
    if last.uq:
        return _unchanged(m, now_us)
    t = max(now_us + LEAD_US, last.t)
    going = Segment(last.k, t, last.tempo_uq)
    seg = [*m.seg[:-1], going] if t == last.t else [*m.seg, going]
    return _done(m, rev, now_us, seg, list(m.met), next_number(m, last.k), t)


def stop(m: TempoMap, rev: int, now_us: int, at: At = "beat") -> Edit:
    """Stand still from a boundary on; the beat there does not sound, `continue_` would go on with it."""
    if not m.seg[-1].uq and m.next_beat(now_us + LEAD_US) is None:
        return _unchanged(m, now_us)
    where = place(m, now_us, at)
    if where is None:
        return _unchanged(m, now_us)
    k, t = where
    seg = [s for s in m.seg if s.k < k or s.t < t]
    seg.append(Segment(k, t, 0, round(_tempo_before(m, k))))
    return _done(m, rev, now_us, seg, list(m.met), next_number(m, k), t)


def set_tempo(
    m: TempoMap,
    rev: int,
    now_us: int,
    bpm: float,
    at: At = "bar",
    *,
    ramp: Ramp | None = None,
    over: float | None = None,
) -> Edit:
    """Play at `bpm` counted beats a minute (20..400) from a boundary on, until the next pending change of tempo.

    With `ramp`, get there over `over` counted beats, bpm linear in "time" or in "beats". If the room stands
    still, or stops before the boundary, it will go on at that tempo.
    """
    check_bpm(bpm)
    if (ramp is None) != (over is None):
        raise EditError("bad_request", "a ramp needs both: ramp ('time' or 'beats') and over (counted beats)")
    where = place(m, now_us, at)
    if where is None:
        return _set_resting_tempo(m, rev, now_us, uq_from_bpm(bpm, m.meter_at(m.seg[-1].k).meter.q))
    k, t = where
    q = m.meter_at(k).meter.q
    uq = uq_from_bpm(bpm, q)
    before = round(_tempo_before(m, k))
    new = Segment(k, t, uq)
    if ramp is not None and over is not None:
        if ramp not in ("time", "beats"):
            raise EditError("bad_request", f"ramp is {ramp!r}: give 'time' or 'beats'")
        if not 0 < over <= MAX_RAMP_BEATS or round(over * q) < 1:
            raise EditError("bad_request", f"over is {over!r}: give counted beats, at most {MAX_RAMP_BEATS}")
        if before != uq:
            new = Segment(k, t, before, uq, round(over * q), ramp)
    return _done(m, rev, now_us, _rebuild.with_segment(m.seg, new), list(m.met), next_number(m, k), t)


def tap(m: TempoMap, rev: int, now_us: int, times_us: Sequence[int], at: At = "beat") -> Edit:
    """Take the tempo from taps (server times, µs, rising): at least three; see `tap_bpm`."""
    bpm = tap_bpm(times_us)
    if bpm is None:
        raise EditError("bad_request", f"{len(times_us)} taps make no tempo yet: tap at least three times, evenly")
    return set_tempo(m, rev, now_us, bpm, at)


def set_meter(m: TempoMap, rev: int, now_us: int, meter: Meter, at: At = "bar", *, bpm: float | None = None) -> Edit:
    """Count in `meter` from a bar line on: the next one at least 150 ms ahead, or the one at beat `at`.

    Beat numbers go on; the quarter keeps its tempo unless `bpm` (counted beats of the new meter) is given.
    Pending edits after it keep their bar and beat; what falls off the end of a shorter bar moves to the next
    bar line. A room that stands still within a bar changes at the end of that bar.
    """
    if bpm is not None:
        check_bpm(bpm)
    where = bar_line(m, now_us, at)
    k, t = where or (_rebuild.bar_line_from(m, m.seg[-1].k), max(now_us, m.seg[-1].t))
    met, moved = _rebuild.with_meter(m, k, meter)
    seg = [replace(s, k=moved(s.k)) for s in m.seg]
    if bpm is not None:
        uq = uq_from_bpm(bpm, meter.q)
        if where is None:
            seg[-1] = replace(seg[-1], uq1=uq)
        else:
            seg = _rebuild.with_segment(seg, Segment(k, t, uq))
    return _done(m, rev, now_us, seg, met, m.beat_number(k), t)


def cancel(m: TempoMap, rev: int, now_us: int, n: int | None = None) -> Edit:
    """Take back what is pending at beat `n`, or all that is pending, from 150 ms ahead on.

    Cancelling a start or a continue cancels what would have followed it. Nothing pending: with `n` not_found
    (too_late where it is due within 150 ms), without it nothing changes.
    """
    horizon = now_us + LEAD_US
    if n is None:
        seg = [m.seg[0], *(s for s in m.seg[1:] if s.t < horizon)]
        here = m.position_at(horizon)
        met = [m.met[0], *(c for c in m.met[1:] if c.k <= here)]
        gone = [(s.t, s.k) for s in m.seg if s not in seg]
        gone += [(_time_or_rest(m, c.k, now_us), c.k) for c in m.met if c not in met]
        if not gone:
            return _unchanged(m, now_us)
        t, k = min(gone)
        return _done(m, rev, now_us, seg, met, next_number(m, k), t)
    k = m.beat_ticks(n)
    later = [s for s in m.seg[1:] if s.k == k and s.t > now_us]
    change = next((c for c in m.met[1:] if c.k == k), None)
    due = later[0].t if later else m.time_at(k) if change else None
    if (not later and change is None) or (due is not None and due <= now_us):
        raise EditError("not_found", f"nothing is pending at beat {n}")
    if due is not None and due < horizon:
        raise EditError("too_late", f"what is pending at beat {n} is due in less than {LEAD_US // 1000} ms")
    met, moved = _rebuild.with_meter(m, k, None) if change else (list(m.met), _rebuild.identity)
    seg: list[Segment] = []
    for s in m.seg:
        if s in later:
            continue
        if seg and not seg[-1].uq and (s.k != seg[-1].k or not s.uq) and s.t > now_us:
            break  # nothing sets the position moving any more
        seg.append(replace(s, k=moved(s.k)))
    return _done(m, rev, now_us, seg, met, n, _time_or_rest(m, k, now_us) if due is None else due)


# -- putting the new map together


def _time_or_rest(m: TempoMap, k: int, now_us: int) -> int:
    """When position `k` is reached, or when the room comes to rest for good before or at it; not before now."""
    t = m.time_at(k)
    return max(now_us, m.seg[-1].t if t is None else t)


def _tempo_before(m: TempoMap, k: int) -> float:
    """The tempo with which position `k` is reached (µs a quarter)."""
    before = next((s for s in reversed(m.seg) if s.k < k), None)
    if before is None or not before.uq:
        at = next(s for s in reversed(m.seg) if s.k <= k)
        return at.tempo_uq
    return before.uq_at(k - before.k)


def _set_resting_tempo(m: TempoMap, rev: int, now_us: int, uq: int) -> Edit:
    last = m.seg[-1]
    return _done(
        m, rev, now_us, [*m.seg[:-1], replace(last, uq1=uq)], list(m.met), next_number(m, last.k), max(now_us, last.t)
    )


def _unchanged(m: TempoMap, now_us: int) -> Edit:
    beat = m.next_beat(now_us)
    return Edit(m, beat.n if beat else next_number(m, m.seg[-1].k), beat.t if beat else now_us)


def _done(m: TempoMap, rev: int, now_us: int, seg: list[Segment], met: list[MeterChange], n: int, t: int) -> Edit:
    if rev <= m.rev:
        raise ValueError(f"revision {rev} does not follow {m.rev}")
    tidy_seg, tidy_met = _rebuild.tidied(seg), _rebuild.tidied_meters(met)
    if tidy_seg == list(m.seg) and tidy_met == list(m.met):
        return Edit(m, n, t)
    new = TempoMap(rev, tuple(_rebuild.retimed(m, tidy_seg)), tuple(tidy_met))
    new = _rebuild.pruned(new, now_us)
    for c in new.met:
        tempi = (bpm for s in new.seg for bpm in _tempi_in(new, s, c))
        bad = next((bpm for bpm in tempi if not MIN_BPM <= bpm <= MAX_BPM), None)
        if bad is not None:
            raise EditError(
                "bad_request",
                f"that makes {bad:g} counted beats a minute in {c.meter}: it must be "
                f"from {MIN_BPM:g} to {MAX_BPM:g}; give a bpm with the meter",
            )
    here = new.position_at(now_us)
    if sum(s.t > now_us for s in new.seg) > MAX_PENDING or sum(c.k > here for c in new.met[1:]) > MAX_PENDING:
        raise EditError("limit", f"{MAX_PENDING} changes are pending already: cancel one, or wait for the next")
    return Edit(new, n, t)


def _tempi_in(m: TempoMap, s: Segment, c: MeterChange) -> list[float]:
    """The counted tempi that segment `s` has while meter `c` is in force: first and last."""
    end_s = next((o.k for o in m.seg if o.t > s.t and o.k > s.k), None)
    end_c = next((o.k for o in m.met if o.k > c.k), None)
    lo = s.k if c is m.met[0] else max(s.k, c.k)
    ends = [e for e in (end_s, end_c) if e is not None]
    if ends and min(ends) <= lo:
        return []
    if not s.uq:
        return [bpm_from_uq(s.tempo_uq, c.meter.q)]
    hi = min(ends) - s.k if ends else (s.len or 0)
    return [bpm_from_uq(s.uq_at(x), c.meter.q) for x in (lo - s.k, max(lo - s.k, hi))]
