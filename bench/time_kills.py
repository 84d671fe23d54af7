"""Part 5: kill -9 of worker, service and broker, SIGSTOP of the worker for 3 s: what becomes of the beat.

For each: beats due later than 0.6 s after it that are missing (goal: none; after the broker's death clients come back
with their own back-off, so there it is what is missing once this client is back, and a stopped worker is reckoned from
where it goes on; `due > 0.6 s` counts without either excuse); the beat's place against the grid before and after; beats
doubled, out of order or late by more than the contract's limit, before and after the client's deduplication on
(rev, n).
"""

import asyncio
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bandroom.mqtt import Connected, Credential, Tcp, connect
from bandroom.testing import wait_until_async
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Room

from bench import report
from bench.stack import Stack, running

_GRACE_US = 600_000
_LATE_US = 100_000
_BPM = 240


@dataclass(slots=True)
class _Heard:
    at_us: int
    beat: Beat


class _Ear:
    """Hears a room, with the time of each beat and of each connection."""

    def __init__(self, offset_us: int) -> None:
        self.offset_us = offset_us
        self.heard: list[_Heard] = []
        self.connected_us: list[int] = []

    @staticmethod
    def boot_ns() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now_us(self) -> int:
        return self.boot_ns() // 1000 + self.offset_us

    async def listen(self, where: Tcp, who: Credential, room: Room) -> None:
        async with connect(where, who, will=None, clock_ns=self.boot_ns, max_queued=100_000) as connection:
            await connection.subscribe(Filter.of(room.beat()))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._states(connection.states()))
                async for incoming in connection.messages:
                    assert isinstance(incoming.message, Beat)
                    at_us = incoming.t_received_ns // 1000 + self.offset_us
                    self.heard.append(_Heard(at_us, incoming.message))

    async def _states(self, states: Any) -> None:
        async for state in states:
            if isinstance(state, Connected):
                self.connected_us.append(self.now_us())


def _judge(ear: _Ear, hurt_us: int, was_back_us: int, end_us: int, before: list[_Heard]) -> dict[str, Any]:
    """What the ear heard from the blow to the end, against the grid that the beats before it lie on."""
    first = before[0].beat
    step_us = round(60e6 / first.bpm)
    grid = {first.n + i: first.t + i * step_us for i in range(10_000)}
    after = [x for x in ear.heard if x.at_us >= hurt_us]
    numbers = [x.beat.n for x in after]
    must_us = max(hurt_us + _GRACE_US, was_back_us)
    due = {n for n, t_us in grid.items() if must_us < t_us < end_us - 500_000}
    due_at_once = {n for n, t_us in grid.items() if hurt_us + _GRACE_US < t_us < end_us - 500_000}
    seen: set[tuple[int, int]] = set()
    kept: list[_Heard] = []
    newest: tuple[int, int] = (-1, -(10**9))
    for x in after:
        # The contract's client: a lower revision is stale, and (rev, n) is heard once.
        if (x.beat.rev, x.beat.n) in seen or x.beat.rev < newest[0]:
            continue
        seen.add((x.beat.rev, x.beat.n))
        newest = (x.beat.rev, x.beat.n)
        kept.append(x)
    back = next((x for x in after if x.at_us > hurt_us + 1000 and x.beat.t > hurt_us), None)
    return {
        "first_after_ms": None if back is None else round((back.at_us - hurt_us) / 1000, 1),
        "missing": len(due - set(numbers)),
        "missing_after_grace": len(due_at_once - set(numbers)),
        "off_grid_us": max((abs(x.beat.t - grid.get(x.beat.n, 0)) for x in after), default=0),
        "late_before": report.summary([x.at_us - x.beat.t for x in before], 0.001),
        "late_after": report.summary([x.at_us - x.beat.t for x in after], 0.001),
        "too_late": sum(x.at_us - x.beat.t > _LATE_US for x in after),
        "doubled": len(numbers) - len(set(numbers)),
        "out_of_order": sum(b < a for a, b in pairwise(numbers)),
        "doubled_after_dedup": len(kept) - len({x.beat.n for x in kept}),
        "out_of_order_after_dedup": sum(b.beat.n < a.beat.n for a, b in pairwise(kept)),
    }


async def _hurt(stack: Stack, ear: _Ear, what: str) -> dict[str, Any]:
    """Wait for some beats, strike, wait for it to be well again, and judge."""
    mark = len(ear.heard)
    await asyncio.sleep(3)
    before = ear.heard[mark:]
    pid = stack.pid_of("tempo" if what == "stopped worker" else what)
    connections = len(ear.connected_us)
    hurt_us = ear.now_us()
    if what == "stopped worker":
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(3)
        os.kill(pid, signal.SIGCONT)
        was_back_us = ear.now_us() + 50_000
    else:
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(stack.wait_new, what, pid)
        was_back_us = hurt_us
        if what == "broker":
            await wait_until_async(lambda: len(ear.connected_us) > connections, timeout_s=30, what="back again")
            was_back_us = ear.connected_us[-1] + _GRACE_US
    await asyncio.sleep(4)
    return _judge(ear, hurt_us, was_back_us, ear.now_us(), before)


async def _all(stack: Stack, repeats: int) -> dict[str, list[dict[str, Any]]]:
    stack.cli("tenants", "create", "bench")
    room = stack.cli("rooms", "create", "--tenant", "bench", "--bpm", str(_BPM), "--start")["room"]
    told = stack.cli("tokens", "mint", "--tenant", "bench", "--role", "teacher", "--sub", "t-ear")
    who = Credential.fixed(told["username"], told["client_id"], told["token"])
    address = stack.info.mqtt
    ear = _Ear(stack.clock.offset_us)
    listening = asyncio.create_task(
        ear.listen(Tcp(address.host, address.port), who, Room(TenantId("bench"), RoomId(room)))
    )
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        await wait_until_async(lambda: len(ear.heard) >= 5, timeout_s=30, what="five beats")
        for what in ("tempo", "stopped worker", "service", "broker"):
            found[what] = []
            for turn in range(repeats):
                report.say(f"kills: {what}, {turn + 1} of {repeats} …")
                found[what].append(await _hurt(stack, ear, what))
    finally:
        listening.cancel()
    return found


def measure(quick: bool) -> dict[str, Any]:
    """Each blow several times, on a room at 240 bpm: a beat every 250 ms."""
    with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as name, running(Path(name)) as stack:
        return dict(asyncio.run(_all(stack, 1 if quick else 5)))


def show(found: dict[str, Any]) -> str:
    names = ("missing", "missing_after_grace", "off_grid_us", "too_late", "doubled", "out_of_order",
             "doubled_after_dedup", "out_of_order_after_dedup")  # fmt: skip
    rows: list[list[object]] = []
    for what, runs in found.items():
        back = sorted(r["first_after_ms"] for r in runs if r["first_after_ms"] is not None)
        late = [max(r[x]["p50"] for r in runs) for x in ("late_before", "late_after")]
        rows.append(
            [what, len(runs), back[-1] if back else float("nan"), *(sum(r[x] for r in runs) for x in names), *late]
        )
    head = ["hurt", "times", "first beat after, worst ms", "missing", "due > 0.6 s", "off grid µs", "too late",
            "doubled", "out of order", "doubled after dedup", "out of order after", "late before ms",
            "late after ms"]  # fmt: skip
    return report.table(head, rows)
