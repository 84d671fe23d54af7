"""What runs inside a device while it is in a room: the line, the clock, the seat, and what comes in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from bandroom.mqtt.backoff import Backoff
from bandroom.mqtt.client import Incoming, NotConnected
from bandroom.mqtt.endpoint import Endpoint, Tcp, WebSocket, system_trust
from bandroom.wire import messages as m
from bandroom.wire.ids import Role, RoomId, Subject
from bandroom.wire.instruments import Instrument, parse_instrument
from bandroom.wire.topics import Filter, Leaf, Room, Topic, assignment

from bandroom_devices.errors import DeviceError, JoinRefused, Refused, Unreachable
from bandroom_devices.hearing import HeardBeat, HeardMidi, HeardNote, Hearing
from bandroom_devices.joining import JoinDesk, Membership
from bandroom_devices.line import Identity, Line
from bandroom_devices.listeners import Changes, Listeners
from bandroom_devices.localclock import Flag, LocalClock, sleep_until
from bandroom_devices.sounding import Ended
from bandroom_devices.timekeeper import Timekeeper
from bandroom_devices.view import RoomView

log = logging.getLogger("bandroom.device")

M = TypeVar("M", bound=m.Message)

_CONNECT_S = 10.0
_TCP_S = 3.0  # a school's firewall drops packets in silence; the web port is tried after this
_RENEW_AT = 0.75  # of a token's life: time enough for many tries before it ends
_ROSTER_US = 10_000_000  # the service publishes the whole roster anew within this after it lost the broker
_REFUSED_US = 15_000_000  # a credential refused for so long is asked for anew at the web door


class Core:
    """The state of a device in a room, and the tasks that keep it. All of it for one event loop."""

    def __init__(
        self,
        clock: LocalClock,
        *,
        desk: JoinDesk | None,
        identity: Identity | None,
        endpoint: Endpoint | None,
        room: RoomId | None,
        instrument: str | None = None,
    ) -> None:
        self.clock = clock
        self.view = RoomView()
        self.changes = Changes()
        self.keeper = Timekeeper(
            clock, self.changes, send=self._ping, is_playing=self._is_playing, tell=self._tell_error
        )
        self.time = self.keeper.time
        self.notes: Listeners[HeardNote] = Listeners()
        self.beats: Listeners[HeardBeat] = Listeners()
        self.midi: Listeners[HeardMidi] = Listeners()
        self.feedback_ms: float | None = None
        self.room = room
        self.seat: Membership | None = None
        self.identity = identity
        self.line: Line | None = None
        self.group: asyncio.TaskGroup | None = None
        self._desk = desk
        self._endpoint = endpoint
        self._instrument: Instrument | None = parse_instrument(instrument)
        self._hearing = Hearing()
        self._hanging_due = Flag()
        self._assigned: asyncio.Queue[RoomId | None] = asyncio.Queue()
        self._refused_since_us: int | None = None
        self._refused = Flag()
        self._unconfirmed: set[Subject] = set()
        self._roster_due = Flag()
        self._hears: dict[Leaf, None] = {}

    # -- coming and going

    async def enter(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Join and connect; the tasks that then run until they are cancelled. Raises ``DeviceError``."""
        self.group = group
        if self._desk is not None:
            self._sit(await self._desk.join())
        keeping = group.create_task(self.keeper.run())  # it waits for the line, and then for nothing else
        await self._open(group)
        tasks = [self._meet_the_others(), self._end_hanging(), self._drop_ghosts()]
        if self._desk is not None:
            tasks.append(self._keep_seat(self._desk))
        if self.who.subject.role is Role.DEVICE:
            tasks.append(self._follow_assignment())
        return [keeping, *(group.create_task(task) for task in tasks)]

    def abandon(self) -> None:
        """End the line at once, if ``close`` has not ended it."""
        if self.line is not None:
            self.line.abandon()

    @property
    def who(self) -> Identity:
        """Who the device is. Raises ``RuntimeError`` before it has joined."""
        if self.identity is None:
            raise RuntimeError("the device has not joined yet: use it in 'async with'")
        return self.identity

    def _sit(self, seat: Membership) -> None:
        self.seat, self.room = seat, seat.room
        self.identity = Identity(seat.tenant, seat.subject, seat.username, seat.token)

    async def _open(self, group: asyncio.TaskGroup) -> None:
        """Connect, over TCP or else over the web port. Raises ``Refused`` or ``Unreachable``."""
        ways = self._ways()
        for way, endpoint in enumerate(ways):
            line = Line(
                endpoint,
                self.clock,
                on_message=self._incoming,
                on_up=self._up,
                on_refused=self._note_refusal,
                instrument=self._instrument,
            )
            last = way == len(ways) - 1
            try:
                self.line = line
                await line.switch(self.who, self._filters(), group, _CONNECT_S if last else _TCP_S)
            except Unreachable:
                if last:
                    raise
                log.info("no way to %s, trying %s", endpoint, ways[way + 1])
            else:
                return

    def _ways(self) -> list[Endpoint]:
        if self._endpoint is not None or self.seat is None:
            return [self._endpoint] if self._endpoint is not None else []
        ways: list[Endpoint] = []
        trusted = self._desk.tls if self._desk is not None else None
        if self.seat.mqtt_host and self.seat.mqtt_port:
            tls = (trusted or system_trust()) if self.seat.mqtt_tls else None
            ways.append(Tcp(self.seat.mqtt_host, self.seat.mqtt_port, tls))
        if self.seat.ws_url:
            ways.append(WebSocket(self.seat.ws_url, trusted if self.seat.ws_url.startswith("wss:") else None))
        if not ways:
            raise Unreachable("the service named no broker to connect to")
        return ways

    # -- sending

    async def publish_in_room(self, topic: Callable[[Room], Topic[M]], message: M) -> bool:
        """Publish to a topic of the room; False where there is no room or no connection just now."""
        if self.room is None or self.line is None:
            return False
        try:
            await self.line.publish(topic(Room(self.who.tenant, self.room)), message)
        except (NotConnected, TimeoutError):
            return False
        return True

    async def hear(self, *leaves: Leaf) -> None:
        """Subscribe to these leaves of the room, and of rooms that the device is assigned to later."""
        self._hears.update(dict.fromkeys(leaves))
        if self.line is not None:
            await self.line.subscribe(*self._room_filters())

    def _filters(self) -> list[Filter]:
        who = self.who
        own = [Filter.of(assignment(who.tenant, who.subject))] if who.subject.role is Role.DEVICE else []
        return own + self._room_filters()

    def _room_filters(self) -> list[Filter]:
        if self.room is None:
            return []
        who = self.who
        room = Room(who.tenant, self.room)
        leaves = (Leaf.TEMPO, Leaf.ROOM, *self._hears)
        return [
            Filter.of(room.clock_reply(who.subject)),
            Filter.of(room.feedback(who.subject)),
            *(Filter(leaf, who.tenant, self.room) for leaf in leaves),
        ]

    # -- what comes in

    def _incoming(self, incoming: Incoming) -> None:
        topic, message = incoming.topic, incoming.message
        if topic.room is not None and topic.room != self.room:
            return  # of the room that the device has just left
        local_us = incoming.t_received_ns // 1000
        match message:
            case m.ClockReply():
                self.keeper.reply(message, local_us)
            case m.Note() if topic.subject is not None:
                self._heard(self._hearing.note(topic.subject, message, local_us, self._server(local_us)))
            case m.Midi() if topic.subject is not None:
                self.midi.put(HeardMidi(topic.subject, message.data, self._server(local_us)))
                self._heard(self._hearing.midi(topic.subject, message, local_us, self._server(local_us)))
            case m.Beat():
                self.beats.put(HeardBeat(message, self._server(local_us)))
            case m.Tempo():
                if self.view.tempo(message):
                    self.changes.notify()
            case m.RoomInfo():
                for player in self.view.room(message):
                    self._heard(self._hearing.silence(player, Ended.DROPPED, self._server(local_us)))
                self.changes.notify()
            case m.Member() | None if topic.leaf is Leaf.MEMBER and topic.subject is not None:
                self._member(topic.subject, message, local_us)
            case m.Assignment() | None if topic.leaf is Leaf.ASSIGNMENT:
                self._assigned.put_nowait(message.room if message else None)
            case m.Feedback():
                self.feedback_ms = message.ms
            case _:
                pass

    def _server(self, local_us: int) -> int | None:
        return self.time.at(local_us) if self.time.synced else None

    def _heard(self, notes: list[HeardNote]) -> None:
        for note in notes:
            self.notes.put(note)
        if notes:
            self._hanging_due.set()

    # -- what goes on all the time

    async def _meet_the_others(self) -> None:
        """Hear of the others once the clock is set, and not before.

        Where a class of thirty joins at once, each is told of each more than once: two thousand messages, which would
        stand before the replies to the pings in every queue there is.
        """
        await self.keeper.settled.wait()
        try:
            await self.hear(Leaf.MEMBER)
        except Refused as error:
            log.info("no word of the others: %s", error)  # the room was closed, or left, this very moment

    async def _up(self) -> None:
        self._refused_since_us = None
        # Who left while the line was down was never told of: all must be told of anew.
        self._unconfirmed = set(self.view.members)
        self._roster_due.set()
        self.keeper.ask_now()

    def _note_refusal(self) -> None:
        now_us = self.clock.now_us()
        if self._refused_since_us is None:
            self._refused_since_us = now_us
            log.warning("the broker refuses this device's credential; trying the same one again for a while")
        elif now_us - self._refused_since_us >= _REFUSED_US:
            self._refused.set()

    async def _ping(self, ping: m.ClockPing) -> None:
        await self.publish_in_room(lambda room: room.clock_ping(self.who.subject), ping)

    async def _tell_error(self, error_us: int) -> None:
        if self.line is not None:
            await self.line.tell_error(error_us)

    def _is_playing(self, local_us: int) -> bool:
        tempo_map = self.view.tempo_map
        return tempo_map is not None and self.time.synced and tempo_map.running_at(self.time.at(local_us))

    async def _end_hanging(self) -> None:
        """End notes that nobody else ends."""
        while True:
            self._hanging_due.clear()
            due_us = self._hearing.next_expiry_us()
            if due_us is None:
                await self._hanging_due.wait()
            elif await sleep_until(self.clock, due_us, unless=self._hanging_due):
                now_us = self.clock.now_us()
                self._heard(self._hearing.expire(now_us, self._server(now_us)))

    async def _drop_ghosts(self) -> None:
        """Some time after the line is up again, forget members whom nobody has told of since."""
        while True:
            await self._roster_due.wait()
            self._roster_due.clear()
            if await sleep_until(self.clock, self.clock.now_us() + _ROSTER_US, unless=self._roster_due):
                for subject in list(self._unconfirmed):
                    self._member(subject, None, self.clock.now_us())

    def _member(self, subject: Subject, member: m.Member | None, local_us: int) -> None:
        self._unconfirmed.discard(subject)
        if self.view.member(subject, member):
            self._heard(self._hearing.silence(subject, Ended.LEFT, self._server(local_us)))
        self.changes.notify()

    async def _keep_seat(self, desk: JoinDesk) -> None:
        """Renew the token well before it ends; ask at the web door again once it has long been refused."""
        backoff = Backoff(cap_s=30)
        renew_us = self.clock.now_us() + self._renew_after_us()
        while True:
            if not await sleep_until(self.clock, renew_us, unless=self._refused):
                self._refused.clear()
            if await self._try_renewal(desk):
                backoff = Backoff(cap_s=30)
                renew_us = self.clock.now_us() + self._renew_after_us()
            else:
                renew_us = self.clock.now_us() + round(backoff.next_delay_s() * 1e6)

    def _renew_after_us(self) -> int:
        return round(self.seat.lifetime_s * _RENEW_AT * 1e6) if self.seat else 0

    async def _try_renewal(self, desk: JoinDesk) -> bool:
        try:
            await self.renew(desk)
        except (Unreachable, Refused) as error:
            log.info("renewing did not work yet: %s", error)
            return False
        return True

    async def renew(self, desk: JoinDesk | None = None) -> None:
        """Take a newer token and move to a connection with it, without a gap.

        Where the old one is no longer good, take a seat anew: the same one if the service remembers it. Raises
        ``DeviceError``, and leaves the device as it was then.
        """
        desk = desk or self._desk
        if desk is None or self.seat is None or self.line is None or self.group is None:
            raise DeviceError("a device that did not join by a code has nothing to renew")
        former = self.seat
        try:
            seat = await desk.renew(former)
        except JoinRefused:
            seat = await desk.join(former)
        self._sit(seat)
        try:
            await self.line.switch(self.who, self._filters(), self.group, _CONNECT_S)
        except BaseException:
            self._sit(former)
            raise

    async def _follow_assignment(self) -> None:
        """Be in the room that the device is assigned to, whichever that is."""
        wanted: RoomId | None = self.room
        backoff = Backoff()
        while True:
            if wanted == self.room:
                backoff = Backoff()
                wanted = await self._assigned.get()
            elif not await self._move(wanted):
                # Refused: the room is closed, or the gate hears of the assignment a moment later than we do.
                try:
                    async with asyncio.timeout(backoff.next_delay_s()):
                        wanted = await self._assigned.get()
                except TimeoutError:
                    continue

    async def _move(self, room: RoomId | None) -> bool:
        if self.line is None:
            return False
        await self.line.unsubscribe(*self._room_filters())
        now_us = self.clock.now_us()
        for player in list(self.view.members):
            self._heard(self._hearing.silence(player, Ended.LEFT, self._server(now_us)))
        self.room, self.view, self._unconfirmed = room, RoomView(), set()
        self.changes.notify()
        try:
            await self.line.subscribe(*self._room_filters())
        except Refused as error:
            log.warning("cannot enter %s yet: %s", room, error)
            self.room = None
            return False
        self.keeper.ask_now()
        return True
