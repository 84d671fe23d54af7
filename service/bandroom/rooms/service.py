"""The rooms service: carries what comes over MQTT into the control plane, and what follows from it out again.

All of the control plane runs in one thread of its own, so that a commit that waits for the disk holds up nobody
else, and nothing in it needs a lock. It is the one writer of the store.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import structlog

from bandroom.auth.keys import RETIRE_AFTER_S, KeyRing, add_keys, load_keys
from bandroom.auth.service_credential import service_credential
from bandroom.clock import Clock, ServerClock
from bandroom.mqtt import Connected, Connection, Incoming, UnixSocket, connect
from bandroom.paths import Home
from bandroom.rooms import upkeep
from bandroom.rooms.commands import Commands
from bandroom.rooms.control import Actor, Control, Limits, Refused, Teacher, name_of
from bandroom.rooms.effects import Effect, Publish, TellGate
from bandroom.rooms.entrance import Entrance
from bandroom.rooms.figures import Figures
from bandroom.rooms.gate_log import GateLog, GateLogFailed, has_read, known_keys
from bandroom.rooms.outbox import Outbox
from bandroom.rooms.unreadable import Unreadable
from bandroom.runstate import NotRunning, RunInfo
from bandroom.store import Store, StoreError, Unavailable
from bandroom.wire.ids import Role, RoomId, TenantId
from bandroom.wire.messages import Command, Presence, Reply
from bandroom.wire.topics import Filter, Leaf, Room, Topic

log = structlog.stdlib.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
MAX_QUEUED = 50_000  # a whole district's presences after a restart of the broker
SETTLE_S = 2.0
GATE_READS_WITHIN_S = 0.5  # it looks at least every 100 ms
KEYS_READ_WITHIN_S = 5.0
MAX_GENERATIONS = 8
"""Of signing keys, for people and service each: the gate holds 16, and refuses to start with more."""
_LOOK_EVERY_S = 0.005


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether each part that the service leans on works now; a text says what is wrong."""

    broker: str | None
    store: str | None
    gate: str | None

    @property
    def ready(self) -> bool:
        """Whether all of them do."""
        return self.broker is None and self.store is None and self.gate is None


class RoomsService:
    """Open it, then ``run`` it. ``call`` is the way into the control plane from the event loop."""

    def __init__(self, home: Home, limits: Limits, clock: Clock | None = None) -> None:
        """Opens the store and writes the gate log anew. Raises ``StoreError``, ``BadKeys``, ``GateLogFailed``."""
        self.home = home
        self.outbox = Outbox(self._tell_gate, self._stalled)
        self.connected = asyncio.Event()
        self.connection: Connection | None = None
        self.figures = Figures()
        self._unreadable = Unreadable()
        self.entrance = Entrance(self)
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._group: asyncio.TaskGroup | None = None
        self._stale = False
        self._tried: tuple[float, str | None] | None = None
        keys = load_keys(home)
        store = Store.open(home.database)
        try:
            clock = clock or ServerClock.from_file(home.gate_clock)
            self.control = Control(store, GateLog(home.gate_log), keys, clock, limits, self._emit)
            self.commands = Commands(self.control)
            self.control.compact_gate()
        except BaseException:
            store.close()
            raise

    # -- into the control plane

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of the control plane in its thread."""
        return await self._loop.run_in_executor(self._writer, lambda: function(*args, **kwargs))

    async def command(self, actor: Actor, tenant: TenantId, room: RoomId, command: Command) -> Reply:
        """Handle a command; it is in force when the reply is given."""
        reply = await self._handle(actor, tenant, room, command, None)
        await self.in_force()
        return reply

    async def _handle(
        self, actor: Actor, tenant: TenantId, room: RoomId, command: Command, last_word: Topic[Reply] | None
    ) -> Reply:
        with self.figures.command_seconds.time():
            reply = await self.call(self.commands.handle, actor, tenant, room, command, last_word)
        cmd = command.root.cmd
        self.figures.commands.labels(cmd, reply.err or "ok").inc()
        log.info("command", tenant=tenant, room=room, actor=name_of(actor), cmd=cmd, ok=reply.ok, err=reply.err)
        return reply

    async def in_force(self) -> None:
        """Return when what was done so far has gone out and the gate has read of it; soon, if there is no broker."""
        await self.outbox.settled(SETTLE_S)
        wanted = self.control.gate.position
        deadline = self._loop.time() + GATE_READS_WITHIN_S
        while self.connected.is_set() and not has_read(self.home.gate_status, *wanted):
            if self._loop.time() > deadline:
                log.warning("the gate has not read its log yet", seq=wanted[1])
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def readiness(self) -> Readiness:
        """How it stands, honestly: the store is written to, once a second at most, whoever asks."""
        now_s = self._loop.time()
        if self._tried is None or now_s - self._tried[0] > 1.0:
            self._tried = (now_s, await self._try_store())
        return Readiness(
            broker=None if self.connected.is_set() else "no connection to the broker: it is being tried again",
            store=self._tried[1],
            gate="the gate log cannot be written: is the disk full?" if self.control.gate.broken else None,
        )

    async def _try_store(self) -> str | None:
        try:
            await self.call(self.control.store.check_writable)
        except StoreError as error:
            return str(error)
        return None

    async def rotate_keys(self, *, masters: bool) -> KeyRing:
        """New signing keys (or a new master key for devices), in use once the gate knows them; nobody is thrown out.

        Raises ``Unavailable`` if the broker does not take them: the old ones then go on being used. ``Refused``
        if there are as many keys as the gate holds.
        """
        living = [new for new in self.control.keys.people[1:] if int(new.kid, 16) + RETIRE_AFTER_S >= time.time()]
        if not masters and len(living) >= MAX_GENERATIONS - 1:
            wait_h = (int(living[0].kid, 16) + RETIRE_AFTER_S - time.time()) / 3600
            raise Refused(
                "limit",
                f"keys were rotated {len(living)} times within half a day, as often as the broker holds:"
                f" again in {wait_h:.1f} hours",
            )
        ring = await self.call(add_keys, self.home, masters=masters)
        hang_up(self.home)
        wanted = {key.kid for key in (*ring.people, *ring.service)} | {f"master-{ring.masters[-1][0]}"}
        deadline = self._loop.time() + KEYS_READ_WITHIN_S
        while not wanted <= known_keys(self.home.gate_status):
            if self._loop.time() > deadline:
                raise Unavailable("the broker has not taken the new keys yet: send it SIGHUP, or restart it")
            await asyncio.sleep(_LOOK_EVERY_S)
        self.control.keys = ring
        log.info("keys rotated", masters=masters, signs=ring.signs_people.kid)
        return ring

    # -- running

    async def run(self) -> None:
        """Serve until cancelled."""
        credential = service_credential(self.home, Role.ROOMS)
        endpoint = UnixSocket(str(self.home.broker_socket))
        async with connect(endpoint, credential, will=None, wait=False, max_queued=MAX_QUEUED) as connection:
            self.connection = connection
            connection.on_unreadable = self._answer_unreadable
            await connection.subscribe(
                Filter(Leaf.PRESENCE, None),
                Filter(Leaf.CONTROL, None),
                Filter(Leaf.MEMBER, None),
                Filter(Leaf.ROOM, None),
            )
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self.outbox.run(connection), name="outbox")
                group.create_task(self._follow(connection), name="connection")
                group.create_task(self._listen(connection), name="listen")
                group.create_task(self._make_good(), name="make good")
                group.create_task(self._keep(1.0, upkeep.each_second), name="each second")
                group.create_task(self._keep(5.0, upkeep.every_few_seconds), name="every few seconds")
                group.create_task(self._keep(60.0, upkeep.each_minute), name="each minute")

    async def close(self) -> None:
        """Close store and gate log, after what was begun is done."""
        await self._loop.run_in_executor(self._writer, self.control.gate.close)
        await self._loop.run_in_executor(self._writer, self.control.store.close)
        self._writer.shutdown()

    async def _follow(self, connection: Connection) -> None:
        async for state in connection.states():
            if isinstance(state, Connected):
                if state.refused:
                    log.error("the broker refused subscriptions", filters=[f.name for f in state.refused])
                await self.call(self._republish)
                await self.outbox.settled(60.0)
                self.connected.set()
                log.info("connected to the broker", session=state.session)
            else:
                if self.connected.is_set():
                    log.warning("the broker is gone", reason=state.reason)
                    await self.call(lambda: self.control.roster.broker_lost(self.control.now_us()))
                self.connected.clear()

    async def _listen(self, connection: Connection) -> None:
        async for incoming in connection.messages:
            try:
                await self._hear(incoming)
            except (StoreError, Refused) as error:
                # One message fails alone; the next may find the disk mended.
                self.figures.dropped.labels("store").inc()
                log.error("a message was dropped", topic=incoming.topic.name, error=str(error))

    async def _hear(self, incoming: Incoming) -> None:
        topic, message = incoming.topic, incoming.message
        match topic.leaf:
            case Leaf.PRESENCE if topic.subject is not None:
                said = message if isinstance(message, Presence) else None
                await self.call(self.control.hear, topic.tenant, topic.subject, said)
            case Leaf.CONTROL if isinstance(message, Command) and not incoming.retained:
                if topic.subject is not None and topic.room is not None:
                    await self._obey(Teacher(topic.tenant, topic.subject), topic.tenant, topic.room, message)
            case Leaf.MEMBER if incoming.retained and message is not None:
                if topic.subject is not None and topic.room is not None:
                    tenant, room, sub = topic.tenant, topic.room, topic.subject
                    await self.call(lambda: self.control.roster.stray(tenant, room, sub, self.control.now_us()))
            case Leaf.ROOM if incoming.retained and message is not None and topic.room is not None:
                await self.call(self.control.found, Room(topic.tenant, topic.room))
            case _:
                pass

    async def _obey(self, teacher: Teacher, tenant: TenantId, room: RoomId, command: Command) -> None:
        topic = Room(tenant, room).control_reply(teacher.sub)
        last_word = topic if command.root.cmd == "close" else None
        reply = await self._handle(teacher, tenant, room, command, last_word)
        if last_word is None or not reply.ok:
            # In a task of its own: the next message need not wait until the gate has read.
            assert self._group is not None  # noqa: S101  (run made it)
            self._group.create_task(self._answer(Publish(topic, reply)), name="answer")

    def _answer_unreadable(self, name: str, payload: bytes, why: str) -> None:
        answer = self._unreadable.answer(name, payload, why, self._loop.time())
        if answer is not None:
            self.outbox.put([answer])

    async def _answer(self, answer: Publish) -> None:
        await self.in_force()
        self.outbox.put([answer])

    async def _keep(self, every_s: float, task: Callable[[Control], None]) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.call(task, self.control)
            except (StoreError, Refused) as error:
                log.error("upkeep could not be done", error=str(error))

    # -- out of the control plane

    def _republish(self) -> None:
        self.control.emit(self.control.retained())

    def _emit(self, effects: Iterable[Effect]) -> None:
        batch = list(effects)
        if batch:
            self._loop.call_soon_threadsafe(self.outbox.put, batch)

    async def _tell_gate(self, told: TellGate) -> None:
        try:
            await self.call(self.control.tell_gate, told)
        except GateLogFailed as error:
            log.error("the gate log cannot be written", error=str(error))

    def _stalled(self) -> None:
        # What was dropped while it did not answer is made good as soon as it does, even if the connection stood all
        # the time and nothing else would have us publish anew.
        if not self._stale:
            log.warning("the broker does not answer")
        self._stale = True

    async def _make_good(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self._stale and self.connected.is_set():
                self._stale = False
                await self.call(self._republish)
                await self.outbox.settled(60.0)


def hang_up(home: Home) -> None:
    """Have the broker read its keys again, through the supervisor: it knows when the broker can hear that.

    One that starts just now reads them anyway, and one that runs elsewhere looks for new ones by itself.
    """
    try:
        os.kill(RunInfo.read(home).pids.supervisor, signal.SIGHUP)
    except (NotRunning, OSError) as error:
        log.warning("the broker was not told to read its keys", error=str(error))
