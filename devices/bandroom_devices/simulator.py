"""Many virtual devices in one process, each with a clock of its own: a class to try things on.

python -m bandroom_devices.simulator --url http://127.0.0.1:8080 --tenant lincoln --code MUSIC-1234 --count 30
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from dataclasses import dataclass, field

from bandroom.music.tempo_map import Beat

from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError
from bandroom_devices.localclock import LocalClock, SkewedClock

_PENTATONIC = (0, 2, 4, 7, 9)
MAX_DEVICES = 400


@dataclass(frozen=True, slots=True)
class Tick:
    """What one device did at one beat."""

    device: int
    beat: Beat
    sent: bool


@dataclass(slots=True)
class Simulator:
    """``count`` devices that join a room by its code and play a note on every beat.

    ``seed`` decides clocks and notes, so a run can be repeated. ``ticks`` collects what they did.
    """

    url: str
    tenant: str
    code: str
    count: int
    seed: int = 1
    ticks: list[Tick] = field(default_factory=list[Tick])

    def clocks(self) -> list[LocalClock]:
        """A clock for each device: up to 10 s off, and up to 50 ppm fast or slow."""
        draw = random.Random(self.seed)  # noqa: S311  (no secret hangs on it)
        return [
            SkewedClock.starting_now(draw.randint(-10_000_000, 10_000_000), draw.uniform(-50, 50))
            for _ in range(self.count)
        ]

    async def run(self, beats: int) -> None:
        """Join, play ``beats`` beats with each device, and leave. Raises ``DeviceError`` if one of them cannot."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, clock in enumerate(self.clocks()):
                    group.create_task(self._one(number, clock, beats))
        except ExceptionGroup as group:
            # One refusal cancels the others; they all have the same cause, so the first one tells it.
            raise group.exceptions[0] from None

    async def _one(self, number: int, clock: LocalClock, beats: int) -> None:
        note = 48 + 12 * (number // 5 % 4) + _PENTATONIC[number % 5]
        nickname = f"Virtual {number + 1}"
        async with Device.join(self.url, self.tenant, self.code, nickname=nickname, clock=clock) as device:
            async for beat in device.beats():
                sent = await device.play(note, t_us=beat.t, length_s=beat.d / 2e6 or 0.2)
                self.ticks.append(Tick(number, beat, sent))
                beats -= 1
                if beats <= 0:
                    break


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bandroom_devices.simulator", description="A class of virtual devices."
    )
    parser.add_argument("--url", required=True, help="the web address that `bandroom up` prints")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--code", required=True)
    parser.add_argument("--count", type=int, default=10, help=f"1 to {MAX_DEVICES} (10)")
    parser.add_argument("--beats", type=int, default=64, help="how many beats each plays (64)")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(arguments)
    if not 1 <= wanted.count <= MAX_DEVICES or wanted.beats < 1:
        parser.error(f"--count is 1 to {MAX_DEVICES}, --beats at least 1")
    simulator = Simulator(wanted.url, wanted.tenant, wanted.code, wanted.count, wanted.seed)
    try:
        asyncio.run(simulator.run(wanted.beats))
    except KeyboardInterrupt:
        return 130
    except (DeviceError, ValueError) as error:
        print(f"bandroom: {error}", file=sys.stderr)
        return 1
    sent = sum(tick.sent for tick in simulator.ticks)
    print(f"{wanted.count} devices played {sent} notes, {len(simulator.ticks) - sent} were not sent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
