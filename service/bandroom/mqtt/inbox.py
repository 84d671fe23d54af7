"""A bounded queue of one reader, without a task for each item."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Holds at most `limit` items. What does not fit is refused, so the oldest are heard first."""

    def __init__(self, limit: int) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._arrived = asyncio.Event()

    def offer(self, item: T) -> bool:
        if len(self._items) >= self._limit:
            return False
        self._items.append(item)
        self._arrived.set()
        return True

    def __len__(self) -> int:
        return len(self._items)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()
