"""Handing one stream of events to several readers, none of which can hold up the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Generator
from typing import Generic, TypeVar

from bandroom_devices.localclock import Flag

T = TypeVar("T")

MAX_WAITING = 1000
"""Events that may wait for one reader; after that the oldest are dropped: late music is no music."""


class Queue(Generic[T]):
    """The events that wait for one reader."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[T] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self.dropped = 0

    def put(self, event: T) -> None:
        """Append ``event``, dropping the oldest where there is no room."""
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(event)
        self._arrived.set()

    async def get(self) -> T:
        """The next event, once there is one. For one reader."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


class Listeners(Generic[T]):
    """The readers of a stream. ``put`` gives an event to all that read at that time."""

    def __init__(self) -> None:
        self._queues: set[Queue[T]] = set()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, event: T) -> None:
        """Give ``event`` to every reader."""
        for queue in self._queues:
            queue.put(event)

    @contextlib.contextmanager
    def reading(self, limit: int = MAX_WAITING) -> Generator[Queue[T]]:
        """A queue of one's own for the length of the block."""
        queue: Queue[T] = Queue(limit)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


class Changes:
    """Tells waiters that something is different now. What it is they look up themselves."""

    def __init__(self) -> None:
        self._next = Flag()

    def notify(self) -> None:
        """Wake everybody who waits."""
        self._next.set()
        self._next = Flag()

    @property
    def following(self) -> Flag:
        """Is set by the next ``notify``. Take it before looking, so that nothing falls in between."""
        return self._next
