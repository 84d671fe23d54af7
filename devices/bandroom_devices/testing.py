"""A device's clock that is moved by hand: for tests, ours and our users'."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class ManualLocalClock:
    """A ``LocalClock`` that stands still until ``advance`` is called; sleepers wake as it passes their time."""

    def __init__(self, now_us: int = 1_000_000) -> None:
        self._now_us = now_us
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_us(self) -> int:
        """What it was last set to."""
        return self._now_us

    @property
    def sleepers(self) -> int:
        """How many wait for it."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def sleep_until(self, local_us: int) -> None:
        """See ``LocalClock``."""
        if local_us > self._now_us:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (local_us, next(self._order), woken))
            await woken

    async def advance(self, us: int) -> None:
        """Move on by ``us`` µs, waking sleepers in order, each at its own time, and letting it run."""
        await settle()
        target = self._now_us + us
        while self._sleepers and self._sleepers[0][0] <= target:
            due_us, _, woken = heapq.heappop(self._sleepers)
            self._now_us = max(self._now_us, due_us)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._now_us = target
        await settle()


async def settle() -> None:
    """Let every task run until all of them wait. (Each turn of the loop runs what the turn before made ready.)"""
    for _ in range(20):
        await asyncio.sleep(0)
