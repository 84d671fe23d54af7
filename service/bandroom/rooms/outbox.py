"""Effects on their way out: published in order, many at a time, and dropped while there is no broker.

Nothing is kept for a broker that is away: whatever is retained is published anew when the connection stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from bandroom.mqtt import Connection, NotConnected
from bandroom.rooms.effects import Clear, Effect, Publish, TellGate

log = structlog.stdlib.get_logger(__name__)

AT_ONCE = 32


@dataclass(slots=True)
class Counters:
    """What happened to effects since the start."""

    published: int = 0
    dropped: int = 0


class Outbox:
    """A queue of effects and the task that works through it. For one event loop."""

    def __init__(self, tell_gate: Callable[[TellGate], Awaitable[None]], stalled: Callable[[], None]) -> None:
        self.counters = Counters()
        self._queue: asyncio.Queue[list[Effect] | asyncio.Event] = asyncio.Queue()
        self._tell_gate = tell_gate
        self._stalled = stalled

    def put(self, effects: Iterable[Effect]) -> None:
        """Add effects behind all others."""
        batch = list(effects)
        if batch:
            self._queue.put_nowait(batch)

    async def settled(self, timeout_s: float) -> None:
        """Return when all that is in the queue now has gone out or was dropped, or when the time is over."""
        event = asyncio.Event()
        self._queue.put_nowait(event)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            log.warning("the broker is slow: effects are still on their way")

    async def run(self, connection: Connection) -> None:
        """Work through the queue, for ever."""
        while True:
            item = await self._queue.get()
            if isinstance(item, asyncio.Event):
                item.set()
                continue
            for group in _groups(item):
                if isinstance(group, TellGate):
                    await self._tell_gate(group)
                else:
                    await asyncio.gather(*(self._send(connection, effect) for effect in group))

    async def _send(self, connection: Connection, effect: Publish | Clear) -> None:
        try:
            if isinstance(effect, Publish):
                await connection.publish(effect.topic, effect.message)
            else:
                await connection.clear(effect.topic)
            self.counters.published += 1
        except NotConnected:
            self.counters.dropped += 1
        except TimeoutError:
            self.counters.dropped += 1
            self._stalled()


def _groups(effects: list[Effect]) -> Iterable[TellGate | list[Publish | Clear]]:
    """Effects in order, those that may go out together as one list: never two of one topic."""
    group: list[Publish | Clear] = []
    topics: set[str] = set()
    for effect in effects:
        if isinstance(effect, TellGate):
            if group:
                yield group
            yield effect
            group, topics = [], set()
            continue
        if len(group) >= AT_ONCE or effect.topic.name in topics:
            yield group
            group, topics = [], set()
        group.append(effect)
        topics.add(effect.topic.name)
    if group:
        yield group
