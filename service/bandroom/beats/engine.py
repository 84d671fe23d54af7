"""Which beat of which room is due when: a heap of due times over thousands of tempo maps. Pure: time is an argument.

The loop around it asks three things, in this order: `take_due` for what must go out now, `prepare` to work out what
comes next in the rooms just served, and `next_due_us` for how long it may sleep. Working out the next beats is kept
apart from sending on purpose: when a thousand rooms fall due together, the last one must not wait for the arithmetic
of the others.

Beat n of a room is due when its map says, never an interval after the last one: an engine that is late once is not
late for ever.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from bandroom.music.tempo_map import Beat, TempoMap

RoomKey = tuple[str, str]
"""(tenant, room)."""

Encode = Callable[[RoomKey, int, Beat], bytes]
"""The packet for a beat: (room, revision of its map, beat)."""

MAX_LATE_US = 100_000
_STALE_SLACK = 64
_ROUNDING_US = 1000


@dataclass(slots=True)
class EngineCounters:
    """Since the start. `late`: beats dropped because they would have come too late."""

    taken: int = 0
    late: int = 0
    maps: int = 0
    stale_maps: int = 0


class RoomBeats:
    """One room: its map, and the next beat with its packet ready (`n`, `due_us`, how late it may be `limit_us`).

    Plain numbers instead of the `Beat`: there may be ten thousand of these. `entry` tells the live heap entry from
    stale ones; it is 0 while the room waits for `prepare`, and -1 while it has no beat to come.
    """

    __slots__ = ("due_us", "entry", "key", "last_n", "last_us", "limit_us", "n", "packet", "seen", "tempo_map")

    def __init__(self, key: RoomKey, tempo_map: TempoMap, since_us: int, seen: int) -> None:
        self.key = key
        self.tempo_map = tempo_map
        self.n = self.due_us = self.limit_us = 0
        self.packet = b""
        self.entry = -1
        self.last_n: int | None = None
        self.last_us = since_us
        self.seen = seen


def late_limit_us(gap_us: int) -> int:
    """How late a beat may still be sent: 100 ms, or half of the `gap_us` to the next where that is less (0: none)."""
    return min(MAX_LATE_US, gap_us // 2) if gap_us else MAX_LATE_US


class Engine:
    """All rooms of one worker. `encode` makes the packets, ahead of time."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._rooms: dict[RoomKey, RoomBeats] = {}
        self._heap: list[tuple[int, int, RoomBeats]] = []
        self._spent: deque[tuple[RoomBeats, int]] = deque()
        self._entries = 0
        self._reading = 0
        self._running = 0
        self.counters = EngineCounters()

    # -- rooms

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def running(self) -> int:
        """How many rooms have a beat to come."""
        return self._running

    def wants(self, key: RoomKey, rev: int) -> bool:
        """Whether a map of revision `rev` would be news. Counts as having seen the room (see `begin_reading`)."""
        room = self._rooms.get(key)
        if room is None:
            return True
        room.seen = self._reading
        return rev > room.tempo_map.rev

    def set_map(self, key: RoomKey, tempo_map: TempoMap, now_us: int) -> bool:
        """Follow `tempo_map` from now on, unless a map of that revision or a higher one is known already.

        A room heard of for the first time begins with the first beat after `now_us`: what fell due before may have
        been sent by the worker that had the room before us.
        """
        room = self._rooms.get(key)
        if room is not None and tempo_map.rev <= room.tempo_map.rev:
            self.counters.stale_maps += 1
            return False
        self.counters.maps += 1
        if room is None:
            room = self._rooms[key] = RoomBeats(key, tempo_map, now_us, self._reading)
        else:
            room.tempo_map = tempo_map
            room.seen = self._reading
        self._schedule(room, _resume(room))
        return True

    def remove(self, key: RoomKey) -> None:
        """Forget a room; a beat of it that is ready but not taken is not sent."""
        room = self._rooms.pop(key, None)
        if room is not None:
            self._schedule(room, None)

    def begin_reading(self) -> None:
        """All rooms are about to be read from the record; `end_reading` forgets those not seen since."""
        self._reading += 1

    def end_reading(self) -> list[RoomKey]:
        """Forget, and return, the rooms that neither the record nor a live message named since `begin_reading`."""
        gone = [key for key, room in self._rooms.items() if room.seen != self._reading]
        for key in gone:
            self.remove(key)
        return gone

    # -- time

    def next_due_us(self) -> int | None:
        """When the next beat is due, or None if no room runs. Rooms not yet prepared don't count."""
        heap = self._heap
        while heap:
            due_us, entry, room = heap[0]
            if room.entry == entry:
                return due_us
            heappop(heap)
        return None

    @property
    def unprepared(self) -> int:
        """How many rooms wait for `prepare`."""
        return len(self._spent)

    def take_due(self, now_us: int, limit: int = 128) -> list[RoomBeats]:
        """Up to `limit` rooms whose beat is due at `now_us`, in order of due time; never one that is not yet due.

        Beats later than `late_limit_us` are dropped and counted. The rooms' `packet` and `due_us` hold until the
        next call of `prepare`.
        """
        batch: list[RoomBeats] = []
        heap, spent = self._heap, self._spent
        while heap and heap[0][0] <= now_us and len(batch) < limit:
            due_us, entry, room = heappop(heap)
            if room.entry != entry:
                continue
            room.entry = 0
            if now_us - due_us > room.limit_us:
                self.counters.late += 1
            else:
                batch.append(room)
            room.last_n, room.last_us = room.n, due_us
            spent.append((room, now_us))
        self.counters.taken += len(batch)
        return batch

    def prepare(self, limit: int = 64) -> int:
        """Work out the next beat of up to `limit` rooms that were taken; returns how many are left to do."""
        spent = self._spent
        for _ in range(min(limit, len(spent))):
            room, taken_us = spent.popleft()
            # A room that was removed, or got a new map meanwhile, is scheduled already.
            if room.entry == 0:
                self._advance(room, taken_us)
        return len(spent)

    def _advance(self, room: RoomBeats, now_us: int) -> None:
        tempo_map = room.tempo_map
        following = tempo_map.beat(room.n + 1) or tempo_map.next_beat(room.due_us)
        if following is not None and now_us - following.t > (limit_us := late_limit_us(following.d)):
            # We were away (a stopped process, a sleeping machine): skip what is past, in one step however long.
            resumed = tempo_map.next_beat(now_us - limit_us - 1)
            last = resumed.n - 1 if resumed is not None else _last_before(tempo_map, now_us, following.n)
            self.counters.late += max(0, last - following.n + 1)
            following = resumed
        self._schedule(room, following)

    def _schedule(self, room: RoomBeats, beat: Beat | None) -> None:
        self._running += (beat is not None) - (room.packet != b"")
        if beat is None:
            # The old entry, if any, is stale now; a stopped room holds no place in the heap.
            room.entry, room.packet = -1, b""
        else:
            self._entries += 1
            room.entry = self._entries
            room.n, room.due_us, room.limit_us = beat.n, beat.t, late_limit_us(beat.d)
            room.packet = self._encode(room.key, room.tempo_map.rev, beat)
            heappush(self._heap, (beat.t, room.entry, room))
        self._sweep()

    def _sweep(self) -> None:
        """Keep stale entries fewer than live ones: edits far ahead of their beat must not make the heap grow."""
        if len(self._heap) > 2 * self._running + _STALE_SLACK:
            self._heap = [item for item in self._heap if item[2].entry == item[1]]
            heapify(self._heap)


def _resume(room: RoomBeats) -> Beat | None:
    """The first beat of a room's new map that was not sent under an older one.

    An edit may round the time of a beat by a microsecond, and news of it may come late: as long as the map has been
    running since the last beat, a number that went out does not go out again. Only a new start may go back.
    """
    tempo_map = room.tempo_map
    beat = tempo_map.next_beat(room.last_us)
    if beat is None or room.last_n is None or beat.n > room.last_n:
        return beat
    # A start lies 150 ms ahead of its news, so a millisecond of grace confuses it with nothing.
    stood_still = not tempo_map.running_at(room.last_us + _ROUNDING_US) or any(
        not s.uq and room.last_us < s.t <= beat.t for s in tempo_map.seg
    )
    while beat is not None and not stood_still and beat.n <= room.last_n:
        beat = tempo_map.next_beat(beat.t)
    return beat


def _last_before(tempo_map: TempoMap, now_us: int, at_least: int) -> int:
    last = tempo_map.beat_at_or_before(now_us)
    return max(at_least, last.n) if last is not None else at_least
