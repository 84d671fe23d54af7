"""The entrance: joins that come together are done together.

A commit waits for the disk, one to two milliseconds and more; a class of thirty that joins in the same moment would
wait for thirty of them, one after the other. So whoever comes while the writer is busy waits for its next turn, and
all who waited are let in with one commit. Each reply still comes only after the commit that holds its seat.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from bandroom.rooms.control import Control
from bandroom.rooms.join import Joined, JoinRequest, Seat, seat_all, sign

AT_ONCE = 16
"""Most joins of one commit: a teacher's command waits for no more than these."""

P = ParamSpec("P")
T = TypeVar("T")


class Writer(Protocol):
    """What runs functions of the control plane in its one thread."""

    control: Control

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` there."""
        ...


class Entrance:
    """All joins pass here. For one event loop."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[tuple[JoinRequest, asyncio.Future[Seat]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def join(self, request: JoinRequest) -> Joined:
        """Let a pupil in. Raises ``NoSuchRoom``, ``Refused`` for a name that cannot be shown, and ``StoreError``."""
        seat: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, seat))
        if self._working is None:
            self._working = asyncio.create_task(self._work(), name="entrance")
        # Signing takes a third of a millisecond and lets go of the interpreter meanwhile.
        return await asyncio.to_thread(sign, self._writer.control, await seat)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                await self._seat(batch)
        finally:
            self._working = None

    async def _seat(self, batch: list[tuple[JoinRequest, asyncio.Future[Seat]]]) -> None:
        found: list[Seat | Exception]
        try:
            found = [*await self._writer.call(seat_all, self._writer.control, [request for request, _ in batch])]
        except Exception as error:  # theirs, whatever it is: each of them must hear of it
            found = [error] * len(batch)
        for (_, seat), outcome in zip(batch, found, strict=True):
            if seat.done():
                continue  # gone meanwhile; the seat stays, as it does for one who is cut off a moment later
            if isinstance(outcome, Exception):
                seat.set_exception(outcome)
            else:
                seat.set_result(outcome)
