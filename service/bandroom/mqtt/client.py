"""The one MQTT client of service and devices: typed topics in and out, and it comes back by itself.

    async with connect(Tcp("127.0.0.1", 1883), credential, will=(topic, message)) as connection:
        await connection.subscribe(Filter.of(room.tempo()))
        async for incoming in connection.messages:
            ...

A lost or refused connection is tried again after the contract's back-off, with the same credential (its password
asked anew); subscriptions are renewed; nothing that was published meanwhile is kept. Sessions are clean, queues are
bounded, and what cannot be decoded is counted instead of raised: anybody may send us anything.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from bandroom.mqtt.backoff import Backoff
from bandroom.mqtt.credential import Credential
from bandroom.mqtt.endpoint import Endpoint
from bandroom.mqtt.events import (
    Connected,
    ConnectFailed,
    Counters,
    Disconnected,
    Incoming,
    NotConnected,
    State,
    SubscribeRefused,
)
from bandroom.mqtt.inbox import Inbox
from bandroom.mqtt.link import Link
from bandroom.wire.message import BadMessage, Message
from bandroom.wire.topics import SHAPES, Filter, Topic, parse_topic

__all__ = [
    "ConnectFailed",
    "Connected",
    "Connection",
    "Counters",
    "Disconnected",
    "Incoming",
    "NotConnected",
    "State",
    "SubscribeRefused",
    "Will",
    "connect",
]

log = logging.getLogger("bandroom.mqtt")

M = TypeVar("M", bound=Message)
Will = tuple[Topic[M], M]

MAX_QUEUED = 2000
KEEPALIVE_S = 20
TIMEOUT_S = 5.0
_COMPLAIN_EVERY_S = 60.0
_REFUSED = 0x80
_UNAVAILABLE = (3, 0x88, 0x89)  # CONNACK: the server cannot serve now (3.1.1; as paho translates it to 5.0; busy)


@dataclass(eq=False, slots=True)
class Connection:
    """What `connect()` gives. All of it is for one event loop."""

    endpoint: Endpoint
    credential: Credential
    _will: aiomqtt.Will | None
    _backoff: Backoff
    _clock_ns: Callable[[], int]
    _max_queued: int
    _keepalive_s: int
    counters: Counters = field(default_factory=Counters)
    on_unreadable: Callable[[str, bytes, str], None] | None = None
    """Told of each message that its topic does not carry: the topic's name, the payload, and what is wrong."""
    _link: Link | None = None
    _filters: dict[Filter, None] = field(default_factory=dict[Filter, None])
    _state: State = field(default_factory=lambda: Disconnected("not tried yet"))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _watchers: set[Inbox[State]] = field(default_factory=set["Inbox[State]"])
    _complained_at: float = float("-inf")
    _inbox: Inbox[Incoming] = field(init=False)

    def __post_init__(self) -> None:
        self._inbox = Inbox(self._max_queued)

    # -- what a program uses

    @property
    def messages(self) -> AsyncIterator[Incoming]:
        """Messages as they come, across reconnects, without end. One reader; at most `max_queued` wait."""
        return self._inbox

    @property
    def state(self) -> State:
        """How it stands now."""
        return self._state

    @property
    def connected(self) -> bool:
        """Whether a message published now would be sent."""
        return isinstance(self._state, Connected)

    async def states(self) -> AsyncIterator[State]:
        """The present state, then every change. A reader that falls 100 changes behind misses the newest."""
        inbox: Inbox[State] = Inbox(100)
        inbox.offer(self._state)
        self._watchers.add(inbox)
        try:
            async for state in inbox:
                yield state
        finally:
            self._watchers.discard(inbox)

    async def wait_connected(self) -> Connected:
        """Wait until the connection stands (again)."""
        while not isinstance(self._state, Connected):
            self._changed.clear()
            await self._changed.wait()
        return self._state

    async def publish(self, topic: Topic[M], message: M, *, timeout_s: float = TIMEOUT_S) -> None:
        """Publish with the topic's QoS and retain. At QoS 1, returns once the broker has acknowledged it.

        Raises NotConnected while there is no connection (nothing is kept for later), when it breaks first, or when
        the broker did not read for `timeout_s`; TimeoutError when a QoS 1 message was not acknowledged by then.
        """
        await self._publish(topic.name, message.encode(), topic.qos, topic.retain, timeout_s)

    async def clear(self, topic: Topic[M], *, timeout_s: float = TIMEOUT_S) -> None:
        """Delete a retained topic. Raises as `publish` does, and ValueError for a topic that is not retained."""
        if not topic.retain:
            raise ValueError(f"{topic.name} is not retained, so there is nothing to clear")
        await self._publish(topic.name, b"", topic.qos, True, timeout_s)

    async def subscribe(self, *filters: Filter) -> None:
        """Hear these topics, now and after each reconnect.

        While there is no connection they are only noted. Raises SubscribeRefused where the broker says no (the
        refused ones are forgotten, the others kept).
        """
        wanted = [f for f in filters if f not in self._filters]
        self._filters.update(dict.fromkeys(wanted))
        link = self._link
        if link is None or not wanted:
            return
        try:
            refused = await self._subscribe_on(link, wanted)
        except (aiomqtt.MqttError, OSError) as error:
            log.debug("subscribing was cut short (%s); it is repeated with the next connection", error)
            return
        if refused:
            for each in refused:
                self._filters.pop(each, None)
            raise SubscribeRefused(refused)

    async def unsubscribe(self, *filters: Filter) -> None:
        """Stop hearing these. Those not subscribed to are ignored."""
        known = [f for f in filters if f in self._filters]
        for each in known:
            del self._filters[each]
        if self._link is not None and known:
            try:
                await self._link.unless_lost(self._link.unsubscribe([f.name for f in known]))
            except (aiomqtt.MqttError, OSError) as error:
                log.debug("unsubscribing was cut short (%s): the next connection begins without them", error)

    # -- how it works

    async def _publish(self, name: str, payload: bytes, qos: int, retain: bool, timeout_s: float) -> None:
        link = self._link
        if link is None or not self.connected:
            raise NotConnected(f"not connected to {self.endpoint}: {self._why()}")
        try:
            if qos:
                async with asyncio.timeout(timeout_s):
                    await link.unless_lost(link.publish(name, payload, qos, retain, timeout=float("inf")))
            else:
                await link.publish(name, payload, qos, retain, timeout=timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{self.endpoint} did not take {name} within {timeout_s:g} s") from None
        except (aiomqtt.MqttError, OSError) as error:
            raise NotConnected(f"the connection to {self.endpoint} broke: {error}") from error

    async def _run(self) -> None:
        """Connect, stay, connect again: for ever."""
        while True:
            began: float | None = None
            link: Link | None = None
            try:
                link = Link(
                    self.endpoint,
                    self.credential,
                    will=self._will,
                    deliver=self._deliver,
                    keepalive_s=self._keepalive_s,
                    timeout_s=TIMEOUT_S,
                )
                await link.__aenter__()
                began = time.monotonic()
                await self._stay(link)
            except (aiomqtt.MqttError, OSError) as error:
                self._note_loss(error)
            finally:
                self._link = None
                if link is not None:
                    if began is not None:
                        await link.close()
                    link.abandon()
            if began is not None:
                self._backoff.connected_for(time.monotonic() - began)
            await asyncio.sleep(self._backoff.next_delay_s())

    async def _stay(self, link: Link) -> None:
        self._link = link
        # What was noted while this very renewal runs subscribes by itself: _link is already set.
        refused = await self._subscribe_on(link, list(self._filters))
        self.counters.connects += 1
        self._set_state(Connected(self.counters.connects, refused))
        await link.until_lost()

    async def _subscribe_on(self, link: Link, filters: list[Filter]) -> tuple[Filter, ...]:
        """Subscribe; the filters that the broker refused."""
        refused: list[Filter] = []
        for start in range(0, len(filters), 16):
            part = filters[start : start + 16]
            codes = await link.unless_lost(link.subscribe([(f.name, SHAPES[f.leaf].qos) for f in part]))
            numbers = [code if isinstance(code, int) else code.value for code in codes]
            refused += [f for f, code in zip(part, numbers, strict=True) if code >= _REFUSED]
        return tuple(refused)

    def _note_loss(self, error: Exception) -> None:
        self.counters.failures += 1
        self._set_state(Disconnected(str(error) or type(error).__name__, _is_refusal(error)))

    def _set_state(self, state: State) -> None:
        self._state = state
        self._changed.set()
        for watcher in self._watchers:
            watcher.offer(state)

    def _why(self) -> str:
        return self._state.reason if isinstance(self._state, Disconnected) else "just lost"

    def _deliver(self, name: str, payload: bytes, retained: bool) -> None:
        now_ns = self._clock_ns()
        self.counters.received += 1
        try:
            topic = _parse_cached(name)
            message = topic.model.decode(payload) if payload or not topic.retain else None
        except (BadMessage, ValueError) as error:
            self.counters.undecodable += 1
            if self.on_unreadable is not None:
                self.on_unreadable(name, payload, str(error))
            self._complain(
                "cannot read %d message(s) so far, the last on %.100r: %s", self.counters.undecodable, name, error
            )
            return
        if not self._inbox.offer(Incoming(topic, message, retained, now_ns)):
            self.counters.overflowed += 1
            self._complain("more messages than are being read: %d dropped so far", self.counters.overflowed)

    def _complain(self, text: str, *values: object) -> None:
        # Whoever floods us with rubbish must not flood the log as well.
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning(text, *values)


def _is_refusal(error: Exception) -> bool:
    """Whether the broker judged the credential; 'unavailable' is no judgement."""
    if not isinstance(error, MqttConnectError):
        return False
    code = error.rc if isinstance(error.rc, int) else getattr(error.rc, "value", 0)
    return code not in _UNAVAILABLE


@lru_cache(maxsize=4096)
def _parse_cached(name: str) -> Topic[Message]:
    return parse_topic(name)


@asynccontextmanager
async def connect(
    endpoint: Endpoint,
    credential: Credential,
    *,
    will: Will[M] | None,
    backoff: Backoff | None = None,
    wait: bool = True,
    give_up_after_s: float | None = None,
    max_queued: int = MAX_QUEUED,
    keepalive_s: int = KEEPALIVE_S,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> AsyncGenerator[Connection]:
    """A connection for the length of the block, made anew whenever it breaks.

    Enters once it stands; at once with `wait=False`. With `give_up_after_s` raises ConnectFailed when it does not
    stand by then (not a limit for later reconnects). A device must have a Will (ValueError): without one nobody
    would learn that it has gone. Leaving the block says goodbye to the broker; cancelling does as well.
    """
    if credential.is_device and will is None:
        raise ValueError(f"the device {credential.username} needs a Will, so that its loss is noticed")
    connection = Connection(endpoint, credential, _will(will), backoff or Backoff(), clock_ns, max_queued, keepalive_s)
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        runner = group.create_task(connection._run(), name=f"mqtt {credential.client_id}")  # pyright: ignore[reportPrivateUsage]
        try:
            if wait:
                await _first(connection, give_up_after_s)
            yield connection
        except Exception as error:
            # Raised again below: out of the group it would come wrapped in an ExceptionGroup.
            failure = error
        finally:
            runner.cancel()
    if failure is not None:
        raise failure


async def _first(connection: Connection, give_up_after_s: float | None) -> None:
    try:
        async with asyncio.timeout(give_up_after_s):
            await connection.wait_connected()
    except TimeoutError:
        state = connection.state
        reason = state.reason if isinstance(state, Disconnected) else ""
        refused = isinstance(state, Disconnected) and state.refused
        raise ConnectFailed(
            f"no connection to {connection.endpoint} as {connection.credential.username} "
            f"within {give_up_after_s:g} s: {reason}",
            refused=refused,
        ) from None


def _will(will: Will[M] | None) -> aiomqtt.Will | None:
    if will is None:
        return None
    topic, message = will
    return aiomqtt.Will(topic.name, message.encode(), topic.qos, topic.retain)
