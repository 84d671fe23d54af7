"""A device's line to the broker: one connection at a time, and for a moment two while a token is renewed.

The new connection stands, has subscribed and is announced before the old one closes (make before break). What both
of them bring in that moment is passed on once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from bandroom.mqtt.client import (
    Connected,
    ConnectFailed,
    Connection,
    Disconnected,
    Incoming,
    NotConnected,
    SubscribeRefused,
    connect,
)
from bandroom.mqtt.credential import Credential
from bandroom.mqtt.endpoint import Endpoint
from bandroom.wire.ids import ClientId, Subject, TenantId
from bandroom.wire.instruments import Instrument
from bandroom.wire.message import Message
from bandroom.wire.messages import Presence
from bandroom.wire.topics import Filter, Topic, presence

from bandroom_devices.errors import DeviceError, Refused, Unreachable
from bandroom_devices.localclock import LocalClock, sleep_until

M = TypeVar("M", bound=Message)

_OVERLAP_US = 300_000  # what is on its way to the old connection when the new one takes over arrives within this
_GOODBYE_S = 2.0
_TELLING_S = 2.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the line is for, and the secret that proves it (kept out of the ``repr``)."""

    tenant: TenantId
    subject: Subject
    username: str
    password: str = field(repr=False)

    def credential(self, digit: int) -> Credential:
        """The credential of connection ``digit`` (0 to 9)."""
        client_id = ClientId.of(self.tenant, self.subject, digit or None)
        return Credential.fixed(self.username, client_id, self.password)


@dataclass(eq=False, slots=True)
class _Leg:
    """One connection of the line."""

    identity: Identity
    digit: int
    seen: Counter[tuple[str, object]] = field(default_factory=Counter[tuple[str, object]])
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    connection: Connection | None = None
    task: asyncio.Task[None] | None = None


class Line:
    """The connection, its presence and its subscriptions. ``on_message`` is called for each message, ``on_up`` each
    time the broker is reached (again). ``instrument`` is told with every presence.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        clock: LocalClock,
        *,
        on_message: Callable[[Incoming], None],
        on_up: Callable[[], Awaitable[None]],
        on_refused: Callable[[], None],
        instrument: Instrument | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._on_message = on_message
        self._on_up = on_up
        self._on_refused = on_refused
        self._filters: dict[Filter, None] = {}
        self._leg: _Leg | None = None
        self._legs: list[_Leg] = []
        self._overlapping = False
        self._passed_on: Counter[tuple[str, object]] = Counter()
        self._error_us: int | None = None
        self._instrument: Instrument | None = instrument

    @property
    def connected(self) -> bool:
        """Whether a message published now would be sent."""
        leg = self._leg
        return leg is not None and leg.connection is not None and leg.connection.connected

    @property
    def digit(self) -> int:
        """The digit of the present connection's client id."""
        return self._leg.digit if self._leg else 0

    async def publish(self, topic: Topic[M], message: M) -> None:
        """Publish. Raises ``NotConnected``, and ``TimeoutError`` for an unacknowledged message at QoS 1."""
        if self._leg is None or self._leg.connection is None:
            raise NotConnected("the line is not open")
        await self._leg.connection.publish(topic, message)

    async def subscribe(self, *filters: Filter) -> None:
        """Hear these from now on, reconnects and renewals included. Raises ``Refused``."""
        self._filters.update(dict.fromkeys(filters))
        if self._leg is not None and self._leg.connection is not None:
            try:
                await self._leg.connection.subscribe(*filters)
            except SubscribeRefused as error:
                for each in error.filters:
                    self._filters.pop(each, None)
                raise Refused(f"{error}. Is the room open, and this device a member of it?") from None

    async def unsubscribe(self, *filters: Filter) -> None:
        """Stop hearing these."""
        for each in filters:
            self._filters.pop(each, None)
        if self._leg is not None and self._leg.connection is not None:
            await self._leg.connection.unsubscribe(*filters)

    async def switch(
        self, identity: Identity, filters: Iterable[Filter], group: asyncio.TaskGroup, give_up_after_s: float
    ) -> None:
        """Connect as ``identity`` and hear ``filters``; then, if there was a connection before, close that.

        Raises ``Refused`` or ``Unreachable``, and leaves an older connection as it was then.
        """
        former, former_filters = self._leg, self._filters
        self._filters = dict.fromkeys(filters)
        leg = _Leg(identity, (former.digit + 1) % 10 if former else 0)
        self._legs.append(leg)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if former is not None:
            former.seen.clear()
            self._passed_on.clear()
            self._overlapping = True
        else:
            self._leg = leg  # the first one: what is retained comes in before it is announced
        leg.task = group.create_task(self._hold(leg, ready, give_up_after_s), name=f"line {leg.digit}")
        try:
            await ready
            self._leg = leg
            if former is not None:
                await sleep_until(self._clock, self._clock.now_us() + _OVERLAP_US)
                await self._part(former)
        except BaseException:
            self._leg, self._filters = former, former_filters
            raise
        finally:
            self._overlapping = False

    async def tell_error(self, error_us: int) -> None:
        """Say by how many µs the device's clock may be off: now, where there is a connection, and with each new one."""
        self._error_us = error_us
        leg = self._leg
        if leg is not None and leg.connection is not None and leg.connection.connected:
            topic = presence(leg.identity.tenant, leg.identity.subject)
            with contextlib.suppress(NotConnected, TimeoutError):
                await leg.connection.publish(topic, self._here(leg), timeout_s=_TELLING_S)

    def _here(self, leg: _Leg) -> Presence:
        return Presence("ready", leg.digit, self._error_us, self._instrument)

    async def close(self) -> None:
        """Say goodbye: presence tells that we left, the broker sends no Will."""
        leg, self._leg = self._leg, None
        if leg is not None and leg.connection is not None and leg.connection.connected:
            topic = presence(leg.identity.tenant, leg.identity.subject)
            with contextlib.suppress(NotConnected, TimeoutError):
                await leg.connection.publish(topic, Presence("disconnected", leg.digit), timeout_s=_GOODBYE_S)
            await self._part(leg)
        self.abandon()

    def abandon(self) -> None:
        """End every connection without a goodbye: one that is being tried, or was just replaced."""
        for leg in self._legs:
            if leg.task is not None:
                leg.task.cancel()

    async def _part(self, leg: _Leg) -> None:
        leg.leave.set()
        if leg.task is not None:
            await asyncio.wait((leg.task,))

    async def _hold(self, leg: _Leg, ready: asyncio.Future[None], give_up_after_s: float) -> None:
        """Keep one connection until it is to leave."""
        who, topic = leg.identity, presence(leg.identity.tenant, leg.identity.subject)
        try:
            async with connect(
                self.endpoint,
                who.credential(leg.digit),
                will=(topic, Presence("lost", leg.digit)),
                give_up_after_s=give_up_after_s,
                clock_ns=lambda: self._clock.now_us() * 1000,
            ) as connection:
                leg.connection = connection
                await connection.subscribe(*self._filters)
                tasks = [
                    asyncio.ensure_future(self._read(leg, connection)),
                    asyncio.ensure_future(self._announce(leg, connection, ready)),
                    asyncio.ensure_future(leg.leave.wait()),
                ]
                try:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                finally:
                    for task in tasks:
                        task.cancel()
        except (ConnectFailed, SubscribeRefused, DeviceError) as error:
            if ready.done():
                raise
            ready.set_exception(_plain(error))
        finally:
            self._legs.remove(leg)

    async def _read(self, leg: _Leg, connection: Connection) -> None:
        async for incoming in connection.messages:
            if self._is_new(leg, incoming):
                self._on_message(incoming)

    async def _announce(self, leg: _Leg, connection: Connection, ready: asyncio.Future[None]) -> None:
        """Publish presence each time the broker is reached: it holds nothing across its own restart."""
        topic = presence(leg.identity.tenant, leg.identity.subject)
        async for state in connection.states():
            match state:
                case Connected():
                    # First of all: what waits for the line asks for the time, while presence is on its way.
                    await self._on_up()
                    try:
                        await connection.publish(topic, self._here(leg))
                    except (NotConnected, TimeoutError):
                        continue  # lost again meanwhile: the next state tells
                    if not ready.done():
                        ready.set_result(None)
                case Disconnected(refused=True):
                    self._on_refused()
                case Disconnected():
                    pass

    def _is_new(self, leg: _Leg, incoming: Incoming) -> bool:
        if not self._overlapping:
            return leg is self._leg
        # Each connection brings every message once, so the n-th equal one of either is the n-th that there was.
        key = (incoming.topic.name, incoming.message)
        leg.seen[key] += 1
        if leg.seen[key] <= self._passed_on[key]:
            return False
        self._passed_on[key] += 1
        return True


def _plain(error: Exception) -> DeviceError:
    match error:
        case DeviceError():
            return error
        case ConnectFailed(refused=True) | SubscribeRefused():
            return Refused(f"{error}. Is the credential right and not revoked, and the room open?")
        case _:
            return Unreachable(f"{error}. Is the broker running there, and its port open?")
