"""What the demo's processes share: told what to do by one JSON line on stdin, they report in JSON lines on stdout.

A child ends when its stdin closes, so that none is left over when the demo itself is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from bandroom_devices.errors import DeviceError
from bandroom_devices.localclock import SkewedClock


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a child joins, as whom, and how wrong its clock is."""

    url: str
    tenant: str
    code: str
    nickname: str
    offset_us: int
    ppm: float
    score: str = ""
    part: int = 0
    instrument: str | None = None

    def line(self) -> bytes:
        """As it goes to the child's stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def clock(self) -> SkewedClock:
        """The child's clock."""
        return SkewedClock.starting_now(self.offset_us, self.ppm)


def report(kind: str, **values: Any) -> None:
    """Tell the demo something."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def run(work: Callable[[Seat], Awaitable[None]]) -> int:
    """Run a child's work; its exit code."""
    seat = Seat(**json.loads(sys.stdin.buffer.readline()))
    try:
        asyncio.run(_until_stdin_closes(work(seat)))
    except (DeviceError, OSError) as error:
        report("error", text=str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _until_stdin_closes(work: Awaitable[None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    stdin = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            task.cancel()

    loop.add_reader(stdin, readable)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
