"""Where in the music an edit takes effect."""

from math import ceil
from typing import Final, Literal

from bandroom.music._rebuild import bar_line_from
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom.music.units import LEAD_US, MAX_BPM, MIN_BPM

At = Literal["bar", "beat", "now"] | int
"""At the next bar line or beat, at once, or at a given beat; always 150 ms ahead at least."""

MAX_AHEAD_US: Final = 24 * 3600 * 1_000_000
"""How far ahead an edit may lie (µs)."""


class EditError(ValueError):
    """An edit that cannot be made: `code` is one of the protocol's error codes, `text` says what to do instead."""

    def __init__(self, code: Literal["bad_request", "too_late", "conflict", "not_found", "limit"], text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def place(m: TempoMap, now_us: int, at: At) -> tuple[int, int] | None:
    """Position and time of the boundary; None where the room stands still by then, and for good."""
    earliest = now_us + LEAD_US
    if isinstance(at, bool) or not (isinstance(at, int) or at in ("bar", "beat", "now")):
        raise EditError("bad_request", f"at is {at!r}: give 'bar', 'beat', 'now' or a beat number")
    beat: Beat | None
    if isinstance(at, int):
        beat = _numbered(m, now_us, at)
        if beat is None:
            return None
    elif at == "now" and m.running_at(earliest):
        # Segments begin on whole ticks, so that is the next tick: at most 3 ms later.
        k = ceil(m.position_at(earliest))
        due = m.time_at(k)
        return None if due is None else (k, due)
    else:
        beat = m.next_beat(earliest - 1)
        while at == "bar" and beat is not None and beat.pos != 1:
            beat = m.beat(beat.n + 1)
    if beat is None:
        return None
    if beat.t - now_us > MAX_AHEAD_US:
        raise EditError("bad_request", f"beat {beat.n} is more than a day ahead")
    return m.beat_ticks(beat.n), beat.t


def _numbered(m: TempoMap, now_us: int, n: int) -> Beat | None:
    if not -1_000_000_000 < n < 1_000_000_000:
        raise EditError("bad_request", "the beat number is out of range")
    last = m.seg[-1]
    beat = m.beat(n)
    if beat is None:
        if not last.uq and m.beat_ticks(n) >= last.k:
            if n == next_number(m, last.k):
                return None
            raise EditError("conflict", f"the room stands still before beat {n}: it never gets there as it is now")
        raise EditError("too_late", f"beat {n} is over")
    if beat.t <= now_us:
        raise EditError("too_late", f"beat {n} is over")
    return beat if beat.t >= now_us + LEAD_US else m.next_beat(now_us + LEAD_US - 1)


def bar_line(m: TempoMap, now_us: int, at: At) -> tuple[int, int] | None:
    """As `place`, at a bar line; none before bar 1, whose place the count-in has promised."""
    at_least = place(m, now_us, at if isinstance(at, int) else "beat")
    if isinstance(at, int):
        given = m.beat(at)
        if given is None:
            at_line = m.beat_ticks(at) == bar_line_from(m, m.beat_ticks(at))
        else:
            at_line = given.pos == 1 and given.bar >= 1
        if not at_line:
            raise EditError("bad_request", f"beat {at} is not at a bar line of the song, where a meter may change")
    beat = m.beat(m.beat_number(at_least[0])) if at_least else None
    while beat is not None and (beat.pos != 1 or beat.bar < 1):
        beat = m.beat(beat.n + 1)
    return None if beat is None else (m.beat_ticks(beat.n), beat.t)


def next_number(m: TempoMap, k: int) -> int:
    """Number of the first beat at or after position `k`."""
    n = m.beat_number(k)
    return n if m.beat_ticks(n) == k else n + 1


def only_soon(at: At, what: str) -> None:
    if at not in ("bar", "beat", "now"):
        raise EditError("bad_request", f"at is {at!r}: {what} takes no beat number, it happens as soon as it can")


def check_bpm(bpm: float) -> None:
    if isinstance(bpm, bool) or not MIN_BPM <= bpm <= MAX_BPM:
        raise EditError("bad_request", f"bpm is {bpm!r}: give counted beats a minute from {MIN_BPM:g} to {MAX_BPM:g}")
