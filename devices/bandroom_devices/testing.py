"""A device's clock that is moved by hand: for tests, ours and our users'."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from bandroom_devices.localclock import Waiter, wake


class ManualLocalClock:
    """A ``LocalClock`` that stands still until ``advance`` is called; sleepers wake as it passes their time."""

    def __init__(self, now_us: int = 1_000_000) -> None:
        self._now_us = now_us
        self._sleepers: list[tuple[int, int, Waiter]] = []
        self._order = itertools.count()

    def now_us(self) -> int:
        """What it was last set to."""
        return self._now_us

    def wake_at(self, local_us: int, waiter: Waiter) -> None:
        """See ``LocalClock``."""
        heapq.heappush(self._sleepers, (local_us, next(self._order), waiter))

    async def advance(self, us: int) -> None:
        """Move on by ``us`` µs, waking sleepers in order, each at its own time, and letting it run."""
        await settle()
        target = self._now_us + us
        while self._sleepers and self._sleepers[0][0] <= target:
            due_us, _, waiter = heapq.heappop(self._sleepers)
            self._now_us = max(self._now_us, due_us)
            wake(waiter)
            await settle()
        self._now_us = target
        await settle()

    async def suspend(self, us: int) -> None:
        """Move on by ``us`` µs as on a machine that sleeps: whoever was to wake meanwhile wakes afterwards."""
        await settle()
        self._now_us += us
        await self.advance(0)


async def settle() -> None:
    """Let every task run until all of them wait. (Each turn of the loop runs what the turn before made ready.)"""
    for _ in range(20):
        await asyncio.sleep(0)
