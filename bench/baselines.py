"""Other ways of keeping a beat, to compare with: each room by itself, on asyncio, publishing the same packets.

`sleep`   a task a room: publish, then `asyncio.sleep(interval)`
`remedy`  each beat schedules the next for now + interval, as the first sketch of this system proposed
`grid`    a task a room that sleeps until the next beat's own time: no drift, one timer a room

Runs as a process: `python -m bench.baselines KIND ROOMS EQUAL SECONDS SOCKET`; prints JSON. Lateness is against each
room's grid (its first beat, and whole intervals after that), in µs, taken after the publish as the worker does.
"""

import asyncio
import json
import random
import sys
import time

from bandroom.beats import spelling
from bandroom.mqtt import Credential, UnixSocket
from bandroom.mqtt.beat_writer import BeatWriter
from bandroom.music.tempo_map import Beat

from bench.home import room_of, tenant_of

INTERVAL_S = 0.5
LEAD_S = 1.0


async def beat(
    kind: str, writer: BeatWriter, key: tuple[str, str], first_s: float, end_s: float, late: list[float]
) -> None:
    """One room until `end_s`."""
    clock, n = time.monotonic, 0
    await asyncio.sleep(first_s - clock())
    while clock() < end_s:
        packet = spelling.beat_packet(key, 1, Beat(n, 1, 1, 120.0, 1_790_000_000_000_000, 500_000))
        now_s = clock()
        writer.send([packet])
        late.append((clock() - first_s - n * INTERVAL_S) * 1e6)
        n += 1
        match kind:
            case "sleep":
                await asyncio.sleep(INTERVAL_S)
            case "remedy":
                await asyncio.sleep(max(0.0, now_s + INTERVAL_S - clock()))
            case _:
                await asyncio.sleep(max(0.0, first_s + n * INTERVAL_S - clock()))


async def run(kind: str, rooms: int, equal: bool, seconds: float, path: str) -> dict[str, object]:
    writer = BeatWriter(UnixSocket(path), Credential.fixed("bandroom/tempo-0", "bandroom_tempo-0", "x"))
    while not writer.online:
        writer.step(time.monotonic())
        await asyncio.sleep(0.01)
    rng = random.Random(1)
    start_s = time.monotonic() + LEAD_S
    firsts = [start_s if equal else start_s + rng.random() * INTERVAL_S for _ in range(rooms)]
    late: list[list[float]] = [[] for _ in range(rooms)]
    cpu_s, began_s = time.process_time(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for index, first_s in enumerate(firsts):
            key = (str(tenant_of(index)), room_of(index))
            group.create_task(beat(kind, writer, key, first_s, start_s + seconds, late[index]))
    took_s = time.monotonic() - began_s
    return {
        "late_us": [round(x, 1) for one in late for x in one],
        "last_us": [round(one[-1], 1) for one in late if one],
        "cpu_percent": round(100 * (time.process_time() - cpu_s) / took_s, 1),
    }


def main() -> None:
    kind, rooms, equal, seconds, path = sys.argv[1:]
    print(json.dumps(asyncio.run(run(kind, int(rooms), equal == "equal", float(seconds), path))))


if __name__ == "__main__":
    main()
