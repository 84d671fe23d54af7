"""One peer of Ableton Link in a process, watched on the host's own clock. Needs `aalink`, which is GPL: bench only.

    python -m bench.link_peer WAIT_MS

Its beat runs from when it is made, WAIT_MS after the start: so who has not joined is seen to be elsewhere. Says
"ready", waits for a line with a time (CLOCK_BOOTTIME, µs), joins at 120 bpm, and at that time prints one JSON line.
`first` is the number of the first 50 ms of the host's clock at which it looked, `phase` the beat, modulo a bar, that
it would have had at time 0, and `others` how many peers it knew.
"""

import asyncio
import json
import sys
import time
from typing import Any, cast

import aalink  # pyright: ignore[reportMissingImports]

from bench.link import BPM, EVERY_US, QUANTUM


def _boot_us() -> float:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1000


def _phase(link: Any) -> float:
    """Of a few readings the tightest: this process may be interrupted in between."""

    def reading() -> tuple[float, float]:
        before = _boot_us()
        beat = float(link.beat)
        after = _boot_us()
        return after - before, beat - (before + after) / 2 * BPM / 60e6

    return min(reading() for _ in range(3))[1] % QUANTUM


async def watched(wait_ms: float) -> dict[str, Any]:
    await asyncio.sleep(wait_ms / 1000)
    link = cast(Any, aalink).Link(BPM)
    link.quantum = QUANTUM
    print("ready", flush=True)
    until_us = float(await asyncio.to_thread(sys.stdin.readline))
    first = int(_boot_us() / EVERY_US) + 1
    link.enabled = True
    phases: list[float] = []
    others: list[int] = []
    while (next_us := (first + len(phases)) * EVERY_US) <= until_us:
        await asyncio.sleep(max(0.0, next_us - _boot_us()) / 1e6)
        phases.append(round(_phase(link), 7))
        others.append(int(link.num_peers))
    link.enabled = False
    return {"first": first, "phase": phases, "others": others}


def main() -> None:
    print(json.dumps(asyncio.run(watched(float(sys.argv[1])))), flush=True)


if __name__ == "__main__":
    main()
