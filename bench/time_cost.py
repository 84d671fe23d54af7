"""Part 6: what a room costs in a worker: bytes, and CPU for a beat, which falls the more beats are due together.

Goals: at most 1 KB a room, at a thousand rooms as at ten thousand; the cost of a beat falls as more are due together.
A thousand rooms at 120 bpm in 1,000, 100, 10 and one groups of equal phase, and nothing
running at all: a stopped room must cost nothing. Bytes are what the worker's resident memory grows by, which is whole
pages: a repeat may differ by 50 bytes a room at a thousand.
"""

import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap

from bench import home as data
from bench import report
from bench.broker import running
from bench.classroom import meters, worker
from bench.school import School

_ROOMS = 1000
GOAL_BYTES = 1024
GROUPS = (1000, 100, 10, 1)
Rooms = list[tuple[str, str, TempoMap]]


def _one(make: Any, seconds: float) -> dict[str, float]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        home, clock = data.make(folder / "home")
        broker = stack.enter_context(running(folder / "broker"))
        home.broker_socket.symlink_to(broker.socket_path)
        school = School(home, clock, broker, [])
        data.add_rooms(home, make(clock.now_us()))
        process = worker(school)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        time.sleep(2.5)
        first, cpu_s = meters(school), report.cpu_s(process.pid)
        time.sleep(seconds)
        used_s, last = report.cpu_s(process.pid) - cpu_s, meters(school)
        beats = max(1, last["published"] - first["published"])
        return {
            "rss_kb": report.rss_kb(process.pid),
            "cpu_percent": round(100 * used_s / seconds, 2),
            "us_a_beat": round(used_s * 1e6 / beats, 2) if last["running"] else 0.0,
            "beats_a_write": round(beats / max(1, last["batches"] - first["batches"]), 1),
        }


def grouped(groups: int, now_us: int) -> Rooms:
    """A thousand rooms in so many groups of equal phase."""
    meter = Meter.parse("4/4")
    return [
        (data.tenant_of(i), data.room_of(i), data.running_map(now_us - 500_000 * (i % groups) // groups, 120, meter))
        for i in range(_ROOMS)
    ]


def stopped(count: int, now_us: int) -> Rooms:
    """Rooms that stand still."""
    still = TempoMap.initial(1, now_us, 120, Meter.parse("4/4"))
    return [(data.tenant_of(i), data.room_of(i), still) for i in range(count)]


def measure(quick: bool) -> dict[str, Any]:
    seconds = 3.0 if quick else 15.0
    found: dict[str, Any] = {}
    report.say("cost: no room …")
    found["no room"] = _one(lambda now_us: [], seconds)
    report.say("cost: stopped rooms …")
    found["10,000 stopped"] = _one(lambda now_us: stopped(10_000, now_us), seconds)
    for groups in GROUPS:
        report.say(f"cost: {_ROOMS} rooms in {groups} groups …")
        found[f"{_ROOMS:,} in {groups} phases"] = _one(lambda now_us, g=groups: grouped(g, now_us), seconds)
    report.say("cost: 10,000 rooms …")
    found["10,000 random"] = _one(lambda now_us: data.bench_rooms(10_000, now_us), seconds)
    base_kb = found["no room"]["rss_kb"]
    for name, rooms in (("10,000 stopped", 10_000), ("10,000 random", 10_000), (f"{_ROOMS:,} in 1000 phases", _ROOMS)):
        found[name]["bytes_a_room"] = round((found[name]["rss_kb"] - base_kb) * 1024 / rooms)
    costs = [found[f"{_ROOMS:,} in {groups} phases"]["us_a_beat"] for groups in GROUPS]
    found["goals"] = {
        "bytes_a_room": GOAL_BYTES,
        "bytes_met": all(it.get("bytes_a_room", 0) <= GOAL_BYTES for it in found.values()),
        "falling": all(more > less for more, less in pairwise(costs)),
    }
    return found


def show(found: dict[str, Any]) -> str:
    rows = [
        [name, it["cpu_percent"], it["us_a_beat"], it["beats_a_write"], str(it.get("bytes_a_room", "-"))]
        for name, it in found.items()
        if name != "goals"
    ]
    goals = found["goals"]
    return (
        report.table(["rooms", "CPU%", "µs CPU a beat", "beats a turn", "bytes a room"], rows)
        + f"\nat most {GOAL_BYTES} bytes a room: {'yes' if goals['bytes_met'] else 'NO'}"
        + f"\nthe cost of a beat falls: {'yes' if goals['falling'] else 'NO'}"
    )
