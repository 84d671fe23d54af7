"""A beat kept as it is often kept, for as long as it is asked to: `bench.time_drift` compares with it.

    python -m bench.drifter KIND INTERVAL_S SECONDS

`sleep`: beat, then `asyncio.sleep(interval)`; `remedy`: each beat has the loop call the next at now and an interval.
Nothing is published and nothing else runs in the process, which is the best case for both. Prints the lateness of each
beat against its grid (the first beat, and whole intervals after that), in µs.
"""

import asyncio
import json
import sys
import time


async def sleeping(interval_s: float, seconds: float) -> list[float]:
    """A loop around asyncio.sleep."""
    late_us: list[float] = []
    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + seconds:
        late_us.append((now_s - began_s - len(late_us) * interval_s) * 1e6)
        await asyncio.sleep(interval_s)
    return late_us


async def remedied(interval_s: float, seconds: float) -> list[float]:
    """Each beat schedules the next for now + interval."""
    late_us: list[float] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    began_s = loop.time()

    def beat() -> None:
        now_s = loop.time()
        late_us.append((now_s - began_s - len(late_us) * interval_s) * 1e6)
        if now_s < began_s + seconds:
            loop.call_at(now_s + interval_s, beat)
        else:
            done.set()

    beat()
    await done.wait()
    return late_us


def main() -> None:
    kind, interval_s, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    run = {"sleep": sleeping, "remedy": remedied}[kind]
    print(json.dumps([round(x, 1) for x in asyncio.run(run(interval_s, seconds))]))


if __name__ == "__main__":
    main()
