"""Some devices of the kit in one process, each with a clock seconds off and up to 50 ppm fast or slow; and the truth.

    python -m bench.players   < {"url", "tenant", "code", "host", "port", "count", "seed", "offset_us", "seconds",
                                 "settle_s"}

All run on one host, so their true server time is known: each device's is compared with it every 50 ms, and at each
beat. Prints one JSON line: `error_us` of the clocks for `seconds` from `settle_s` after each knew the time,
`bound_us` that the devices claimed then, `join_ms` from the join call to the first moment from which the true error
was at most 1 ms, and `onsets`: for each beat number, by how many µs each device would have been off (`planned`, its
clock alone) and was (`woken`).
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from bandroom.clock import ServerClock
from bandroom.mqtt import Tcp
from bandroom_devices.device import Device
from bandroom_devices.localclock import SkewedClock

TREE = Path(__file__).parents[1]
_EVERY_S = 0.05
_LOOK_S = 0.005  # while joining: thirty that look twice as often take the time that they measure from each other
_GOOD_US = 1_000
_STAYS_S = 2.0


class _Class:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._truth = ServerClock(int(spec["offset_us"]))
        self._settled_s: dict[Device, float] = {}
        self.error_us: list[int] = []
        self.bound_us: list[int] = []
        self.join_ms: list[float | None] = []
        self.onsets: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.dishonest = 0

    async def run(self) -> None:
        draw = random.Random(self._spec["seed"])
        async with asyncio.TaskGroup() as group:
            for number in range(self._spec["count"]):
                clock = SkewedClock.starting_now(draw.randint(-10_000_000, 10_000_000), draw.uniform(-50, 50))
                group.create_task(self._one(number, clock))

    async def _one(self, number: int, clock: SkewedClock) -> None:
        spec = self._spec
        name = f"P{spec['seed']} {number}"
        began_s = time.monotonic()
        async with Device.join(
            spec["url"],
            spec["tenant"],
            spec["code"],
            nickname=name,
            clock=clock,
            endpoint=Tcp(spec["host"], spec["port"]),
        ) as device:
            beats = asyncio.create_task(self._beats(device))
            try:
                await device.synced()
                self._settled_s[device] = settled_s = time.monotonic() + spec["settle_s"]
                self.join_ms.append(await self._until_good(device, began_s))
                await asyncio.sleep(settled_s - time.monotonic())
                while time.monotonic() - settled_s < spec["seconds"]:
                    error, bound = self._error(device), device.error_us or 0
                    self.error_us.append(error)
                    self.bound_us.append(bound)
                    self.dishonest += abs(error) > bound
                    await asyncio.sleep(_EVERY_S)
            finally:
                beats.cancel()

    def _error(self, device: Device) -> int:
        """Told minus true server time. Of a few readings the tightest: this process may be interrupted in between."""
        return min(self._reading(device) for _ in range(3))[1]

    def _reading(self, device: Device) -> tuple[int, int]:
        before = self._truth.now_us()
        told = device.now_us()
        after = self._truth.now_us()
        return after - before, told - (before + after) // 2

    async def _until_good(self, device: Device, began_s: float) -> float | None:
        """ms from the join call to the moment from which the error stayed within 1 ms; None if it never did."""
        good_s: float | None = None
        while time.monotonic() - began_s < 10:
            now_s = time.monotonic()
            if abs(self._reading(device)[1]) > _GOOD_US and abs(self._error(device)) > _GOOD_US:
                good_s = None
            elif good_s is None:
                good_s = now_s
            elif now_s - good_s > _STAYS_S:
                break
            await asyncio.sleep(_LOOK_S)
        return None if good_s is None else (good_s - began_s) * 1000

    async def _beats(self, device: Device) -> None:
        async for beat in device.beats():
            woken = self._truth.now_us() - beat.t
            # Each from its own settling on: who was long in joining is not counted before.
            if time.monotonic() >= self._settled_s.get(device, inf):
                self.onsets[beat.n].append((-self._error(device), woken))


class Players:
    """The process, seen from a bench."""

    def __init__(self, spec: Mapping[str, Any], prefix: Sequence[str] = ()) -> None:
        argv = [*prefix, sys.executable, "-m", "bench.players"]
        self._process = subprocess.Popen(argv, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the players did not start")
        self._spec = json.dumps(dict(spec)) + "\n"

    def start(self) -> None:
        """Let them join."""
        assert self._process.stdin is not None
        self._process.stdin.write(self._spec)
        self._process.stdin.close()

    def result(self) -> dict[str, Any]:
        """What they saw, when they are done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._process.wait()
        if not line:
            raise RuntimeError("the players' process ended")
        return json.loads(line)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def main() -> None:
    print("ready", flush=True)
    spec = json.loads(sys.stdin.readline())
    them = _Class(spec)
    asyncio.run(them.run())
    told = {
        "error_us": them.error_us,
        "bound_us": them.bound_us,
        "dishonest": them.dishonest,
        "join_ms": them.join_ms,
        "onsets": them.onsets,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
