"""A worker's connections to the broker: one by which it hears, and more for its beats alone.

Mosquitto reads one packet of a connection, then one of the next. By one connection the beats of a hundred rooms would
wait in line for a turn each, and while hundreds of clients flood, a turn takes milliseconds. A room's beats all go by
one lane, so they keep their order; while that one is away, by the first.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bandroom.auth.service_credential import service_credential
from bandroom.beats.engine import RoomBeats
from bandroom.beats.spelling import TEMPO_FILTER
from bandroom.mqtt.beat_writer import STALL_S, BeatWriter, Event, Offline
from bandroom.mqtt.endpoint import UnixSocket
from bandroom.paths import Home
from bandroom.wire.ids import Role

LANES: Final = 8
"""The first one, and one for each of the digits 0 to 6 at the end of the client id."""
_SHARED_S: Final = 20.0  # of the minute for which a service's token opens the door


class _Token:
    """A token that the lanes share while it is fresh: reading the key to sign one takes as long as a hundred beats."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint
        self._token = ""
        self._until_s = 0.0

    def __call__(self) -> str:
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._token, self._until_s = self._mint(), now_s + _SHARED_S
        return self._token


class Lanes:
    """The connections of worker ``index``: call ``step`` when one of ``filenos`` is readable and at ``wake_at_s``.
    Times are of ``time.monotonic``, in seconds.

    The others are made one by one once ``open_others`` was called: whatever the first lane needs comes before.
    """

    def __init__(self, home: Home, index: int) -> None:
        where = UnixSocket(str(home.broker_socket))
        who = service_credential(home, Role.TEMPO, index)
        token = _Token(who.password)
        self.first = BeatWriter(where, replace(who, password=token), [TEMPO_FILTER])
        self.others = [
            BeatWriter(where, replace(who, client_id=f"{who.client_id}_{digit}", password=token))
            for digit in range(LANES - 1)
        ]
        self.lost = 0
        self._all = [self.first, *self.others]
        self._may_open = False
        self._others_at_s = float("inf")

    @property
    def stalls(self) -> int:
        """How often a write was given up because the broker did not read."""
        return sum(lane.stalls for lane in self._all)

    @property
    def open(self) -> int:
        """How many lanes can be written to."""
        return sum(lane.online for lane in self._all)

    def open_others(self) -> None:
        """From now on, make the other lanes too."""
        self._may_open = True
        self._others_at_s = 0.0

    def filenos(self) -> list[int]:
        """The sockets to wait for."""
        return [fd for lane in self._all if (fd := lane.fileno()) >= 0]

    def wake_at_s(self) -> float:
        """When ``step`` has something to do even if nothing arrives."""
        return min(self.first.wake_at_s(), self._others_at_s)

    def step(self, now_s: float) -> list[Event]:
        """What the first lane heard, after looking after all of them; opens at most one of the others at a time."""
        events = self.first.step(now_s)
        may_open = self._may_open and self.first.online
        self._others_at_s = float("inf")
        for lane in self.others:
            if lane.fileno() >= 0:
                self.lost += sum(isinstance(event, Offline) for event in lane.step(now_s))
            elif may_open and now_s >= lane.wake_at_s():
                lane.step(now_s)
                may_open = False
            if lane.fileno() >= 0 or (self._may_open and self.first.online):
                self._others_at_s = min(self._others_at_s, lane.wake_at_s())
        return events

    def send(self, batch: Sequence[RoomBeats]) -> list[RoomBeats]:
        """Write the beats of ``batch``; those that went out. A broker that does not read is waited for `STALL_S`."""
        began_s = time.monotonic()
        by_lane: dict[BeatWriter, list[RoomBeats]] = {}
        for room in batch:
            lane = self._all[hash(room.key) % LANES]
            by_lane.setdefault(lane if lane.online else self.first, []).append(room)
        gone: list[RoomBeats] = []
        for lane, rooms in by_lane.items():
            left_s = max(0.0, began_s + STALL_S - time.monotonic())
            gone += rooms[: lane.send([room.packet for room in rooms], left_s)]
        return gone

    def close(self) -> None:
        """Say goodbye, if that is possible at once, and close."""
        for lane in self._all:
            lane.close()
