"""The beat and the host's wall clock: steps cannot touch it, and after a reboot it goes on where it would be."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bandroom.clock import ServerClock
from bandroom.paths import Home
from bandroom_devices import Device

StartStack = Callable[..., Any]
WITHIN_S = 30
STEP_US = 250_000


@pytest.fixture
def wall(tmp_path: Path) -> dict[str, str]:
    """The environment of programs whose wall clock `step` steps."""
    shim, step = tmp_path / "wall_clock.so", tmp_path / "step"
    source = Path(__file__).with_name("wall_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"], check=True)
    step.write_bytes(struct.pack("q", 0))
    return {"LD_PRELOAD": str(shim), "WALL_CLOCK_STEP": str(step)}


def step(wall: dict[str, str], seconds: float) -> None:
    with Path(wall["WALL_CLOCK_STEP"]).open("r+b") as file:
        file.write(struct.pack("q", int(seconds * 1e9)))


def their_wall_s(stack: Any) -> int:
    """The service's idea of wall time: when it says that it issued a token."""
    token = stack.cli("tokens", "mint", "--tenant", "steps", "--role", "teacher", "--sub", "t-step")["token"]
    claims = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iat"])


def started_room(stack: Any) -> str:
    stack.cli("tenants", "create", "steps")
    return str(stack.cli("rooms", "create", "--tenant", "steps", "--bpm", "240", "--start")["room"])


async def beats(device: Device, count: int) -> list[tuple[int, int, int]]:
    """The next beat messages: number, time due, and when they came in by the device's clock."""
    found: list[tuple[int, int, int]] = []
    async with asyncio.timeout(WITHIN_S):
        async for heard in device.beat_messages():
            if heard.arrived_us is not None:
                found.append((heard.beat.n, heard.beat.t, heard.arrived_us))
            if len(found) == count:
                break
    return found


async def test_a_step_of_the_wall_clock_is_not_noticed(
    start_stack: StartStack, home: Home, wall: dict[str, str]
) -> None:
    """Two seconds forwards, then back to two seconds before: beats stay on their grid, none is late, the device's clock
    is as right as before, nobody loses the connection, and commands work."""
    stack = start_stack(home, **wall)
    room = await asyncio.to_thread(started_room, stack)
    truth = ServerClock.from_file(home.gate_clock)
    async with Device.join(stack.url, "steps", room) as device:
        await device.synced()
        found = await beats(device, 4)
        pids = stack.info.pids
        for seconds in (2.0, -2.0, 0.0):
            step(wall, seconds)
            off_s = await asyncio.to_thread(their_wall_s, stack) - time.time()
            assert abs(off_s - seconds) < 1.5, "the step does not reach the service"
            found += await beats(device, 6)
            assert device.connected
            assert abs(device.now_us() - truth.now_us()) < 5_000
        assert stack.info.pids == pids
        assert ServerClock.from_file(home.gate_clock) == truth
        first_n, first_t, _ = found[0]
        assert all(t == first_t + (n - first_n) * STEP_US for n, t, _ in found)
        # A beat that followed the wall clock would be two seconds off; how punctual they are is the benchmark's.
        assert all(-5_000 < arrived - t < 1_000_000 for _, t, arrived in found)
        assert [n for n, *_ in found] == sorted({n for n, *_ in found})
        asked_us = truth.now_us()
        reply = await asyncio.to_thread(stack.cli, "rooms", "set-tempo", room, "200", "--tenant", "steps")
        assert asked_us < reply["t"] < truth.now_us() + 2_000_000


async def test_after_a_reboot_the_grid_goes_on(start_stack: StartStack, home: Home) -> None:
    """Power off while it plays; back with another boot's offset on file, or none: the same beats at the same times, as
    far as the wall clock kept time."""
    stack = start_stack(home)
    room = await asyncio.to_thread(started_room, stack)
    async with Device.join(stack.url, "steps", room) as device:
        await device.synced()
        first_n, first_t, _ = (await beats(device, 2))[0]
    for left in ("00000000-0000-0000-0000-000000000000 12345\n", None):
        stack.process.kill()
        stack.process.wait()
        home.gate_clock.unlink()
        if left is not None:
            home.gate_clock.write_text(left)
        stack = start_stack(home)
        wall_us = time.time_ns() // 1000
        assert abs(ServerClock.from_file(home.gate_clock).now_us() - wall_us) < 50_000
        async with Device.join(stack.url, "steps", room) as device:
            await device.synced()
            found = await beats(device, 4)
            assert all(t == first_t + (n - first_n) * STEP_US for n, t, _ in found)
            assert all(-5_000 < arrived - t < 150_000 for _, t, arrived in found)
