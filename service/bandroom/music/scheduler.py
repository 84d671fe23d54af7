"""What a device plays next: from tempo map and clock, with look-ahead.

The map says when every beat is due, so `beat` messages have no part in it: late, lost or doubled ones change nothing.
Pure: local time is an argument, and what is to be done is returned.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from bandroom.music.tempo_map import Beat, TempoMap

LOOK_AHEAD_US: Final = 120_000
"""Less than the 150 ms by which edits are announced, so that little is ever taken back."""
LATE_US: Final = 30_000
"""A beat found later than this, or than half its length, is left out: it would be heard off the beat."""
SLEPT_US: Final = 1_000_000
"""Nobody asked for this long although beats were due: the machine slept, and comes back at a bar."""
_SAME_US = 1_000


class DeviceClock(Protocol):
    """Between local and server time, both µs; `SlewedClock` is one."""

    def server_at(self, local_us: float) -> int: ...
    def local_at(self, server_us: float) -> int: ...


class Due(NamedTuple):
    """Play `beat` at local time `at_us`; late by `late_us` if that is over already, else 0."""

    beat: Beat
    at_us: int
    late_us: int


class TakenBack(NamedTuple):
    """Don't play `beat`, which was announced: a new map has it elsewhere or not at all."""

    beat: Beat


Event = Due | TakenBack


@dataclass(slots=True)
class Counts:
    """What became of the beats."""

    played: int = 0
    left_out_late: int = 0
    left_out_resting: int = 0
    taken_back: int = 0
    stale_maps: int = 0


class Scheduler:
    """Hands out each beat once, in order, up to `look_ahead_us` before it is due.

    `latency_us` is the output's own: beats are handed out for that much earlier; `late_us` is how late a beat may be
    and still be worth handing out. Use: `poll` at least every few
    tens of ms, or at `wake_us`; after a jump of the clock or a reconnection with doubts, `rest_until_bar`.
    """

    def __init__(self, *, look_ahead_us: int = LOOK_AHEAD_US, latency_us: int = 0, late_us: int = LATE_US) -> None:
        self.latency_us = latency_us
        self._late = late_us
        self.counts = Counts()
        self._look_ahead = look_ahead_us
        self._map: TempoMap | None = None
        self._announced: list[Due] = []
        self._last: Beat | None = None
        self._after: int | None = None
        self._polled_us: int | None = None
        self._resting = False

    @property
    def resting(self) -> bool:
        """Whether it waits for a bar to come in at."""
        return self._resting

    @property
    def tempo_map(self) -> TempoMap | None:
        """The map in force."""
        return self._map

    def set_map(self, tempo_map: TempoMap, local_us: int, clock: DeviceClock) -> list[Event]:
        """Follow `tempo_map`, unless it is older than the one in force; says which announced beats are off."""
        if self._map is not None and tempo_map.rev <= self._map.rev:
            self.counts.stale_maps += tempo_map.rev < self._map.rev
            return []
        self._map = tempo_map
        now = clock.server_at(local_us)
        gone: list[Event] = []
        kept: list[Due] = []
        for due in self._announced:
            new = tempo_map.beat(due.beat.n)
            if due.beat.t <= now or (not gone and new is not None and abs(new.t - due.beat.t) <= _SAME_US):
                kept.append(due)
            else:
                gone.append(TakenBack(due.beat))
        self._announced = kept
        self.counts.taken_back += len(gone)
        if kept or gone:
            self._last = kept[-1].beat if kept else None
        if self._after is not None:
            # What is to come begins behind the last beat that stays, wherever the new map has that.
            self._after = kept[-1].beat.t + _SAME_US if kept else min(self._after, now)
        return gone

    def rest_until_bar(self) -> None:
        """Be silent, and come in again at the next bar."""
        self._resting = True

    def poll(self, local_us: int, clock: DeviceClock) -> list[Event]:
        """The beats that have come within reach since the last call."""
        if self._map is None:
            return []
        now = clock.server_at(local_us + self.latency_us)
        slept = self._polled_us is not None and local_us - self._polled_us > SLEPT_US
        self._polled_us = local_us
        if self._after is None:
            self._after = now - 1
        if slept and (missed := self._map.next_beat(self._after)) is not None and missed.t < now - self._late:
            self._resting = True
        if self._resting:
            self._after = max(self._after, now - 1) if self._after <= now + self._look_ahead else now - 1
        out: list[Event] = []
        beat = self._map.next_beat(self._after)
        while beat is not None and beat.t <= now + self._look_ahead:
            self._after = beat.t
            late = max(now - beat.t, 0)
            if self._played_already(beat):
                pass
            elif late > min(self._late, beat.d // 2 if beat.d else self._late):
                self.counts.left_out_late += 1
            elif self._resting and beat.pos != 1:
                self.counts.left_out_resting += 1
            else:
                self._resting = False
                due = Due(beat, clock.local_at(beat.t) - self.latency_us, late)
                self._last = beat
                self._announced.append(due)
                self.counts.played += 1
                out.append(due)
            beat = self._map.next_beat(self._after)
        self._announced = [d for d in self._announced if d.beat.t > now - SLEPT_US]
        return out

    def wake_us(self, local_us: int, clock: DeviceClock) -> int | None:
        """The local time at which the next beat comes within reach; None while none is to come."""
        if self._map is None or self._after is None:
            return local_us if self._map else None
        beat = self._map.next_beat(self._after)
        return None if beat is None else max(local_us, clock.local_at(beat.t - self._look_ahead) - self.latency_us)

    def _played_already(self, beat: Beat) -> bool:
        # A map that came late can put a beat that has sounded a little after where it did.
        last = self._last
        return last is not None and beat.n <= last.n and abs(beat.t - last.t) < (last.d or 2 * LATE_US) // 2
