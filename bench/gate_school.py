"""18,000 devices in 600 rooms: how late their beats are at 60,000 deliveries a second, and the way back after kill -9.

A real worker, a real clock, the gate; every other client of a room is a pupil with a token, the rest are devices with
passwords. The broker is started again at once, as the supervisor does; the clients come back with the back-off that our
devices have. Lateness holds the crowd's own reading time: `floor` is what it is without a broker.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bandroom.wire.topics import Leaf

from bench import home as data
from bench import report
from bench.classroom import SETTLE_S, worker
from bench.floor import Floor
from bench.load import Crowd
from bench.school import School, login, opened, pupils

GOAL_P95_MS = 10.0
_BACK_WITHIN_S = 60.0


def measure(rooms: int, each: int, bpm: float, seconds: float, kills: int) -> dict[str, Any]:
    """Lateness for so many seconds, so many kills after that, and the floor at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        report.say(f"  {rooms * each:,} credentials …")
        school = stack.enter_context(opened(folder, "gate", rooms, each, leaves=(Leaf.BEAT,), tokens=True))
        data.add_rooms(school.home, data.bench_rooms(rooms, school.clock.now_us(), bpm=bpm))
        report.say(f"  {rooms * each:,} clients connect …")
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins, program="bench.returning")
        stack.callback(crowd.kill)
        beats = worker(school)
        stack.callback(beats.wait)
        stack.callback(beats.terminate)
        time.sleep(SETTLE_S)
        found = {"steady": _steady(school, crowd, beats.pid, rooms * each, bpm, seconds), "kills": []}
        for _ in range(kills):
            found["kills"].append(_kill(school, crowd, rooms * each))
    found["floor"] = _floor(rooms, each, bpm, min(seconds, 8))
    return {"rooms": rooms, "each": each, "bpm": bpm, "seconds": seconds, **found}


def _steady(school: School, crowd: Crowd, worker_pid: int, clients: int, bpm: float, seconds: float) -> dict[str, Any]:
    pids = {"broker": school.broker.pid, "crowd": crowd.pid, "worker": worker_pid}
    crowd.mark()
    before, began_s = {name: report.cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(seconds)
    heard, took_s = crowd.mark(), time.monotonic() - began_s
    late = report.summary(heard["late_us"], 0.001)
    return {
        "late_ms": late,
        "deliveries_per_s": round(heard["messages"] / heard["seconds"]),
        "arrived_of_expected": round(heard["messages"] / (clients * bpm / 60 * heard["seconds"]), 4),
        "cpu_percent": {n: round(100 * (report.cpu_s(pid) - before[n]) / took_s, 1) for n, pid in pids.items()},
        "met": late["p95"] <= GOAL_P95_MS,
    }


def _kill(school: School, crowd: Crowd, clients: int) -> dict[str, Any]:
    crowd.mark()
    killed_us = school.clock.now_us()
    school.broker.kill()
    school.broker.restart()
    listening_us = school.clock.now_us()
    back: list[int] = []
    let_in: list[int] = []
    tries = turned_away = 0
    deadline = time.monotonic() + _BACK_WITHIN_S
    while len(back) < clients and time.monotonic() < deadline:
        time.sleep(1)
        said = crowd.mark()
        back, let_in = back + said["back_us"], said["in_us"]
        tries, turned_away = tries + said["tries"], turned_away + said["turned_away"]
    it = {
        "back": len(back),
        "of": clients,
        "broker_listens_after_s": round((listening_us - killed_us) / 1e6, 3),
        "let_in_s": report.summary([at - killed_us for at in let_in if at > killed_us], 1e-6),
        "beat_again_s": report.summary([at - killed_us for at in back], 1e-6),
        "tries": tries,
        "refused_or_dropped": turned_away,
    }
    report.say(
        f"  kill -9: {it['back']} of {clients} have their beat again, the last after {it['beat_again_s']['max']} s"
    )
    time.sleep(3)
    return it


def _floor(rooms: int, each: int, bpm: float, seconds: float) -> dict[str, Any]:
    """The crowd without a broker: what it adds by itself."""
    report.say("  the floor, without a broker …")
    with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as name:
        home, clock = data.make(Path(name) / "home")
        logins = [login(p, "x", (Leaf.BEAT,)) for p in pupils(rooms, each)]
        source = Floor(home.root, rooms, each, bpm, clock.offset_us)
        try:
            crowd = Crowd(("127.0.0.1", source.port), clock.offset_us, logins)
            try:
                time.sleep(SETTLE_S)
                crowd.begin()
                time.sleep(seconds)
                heard = crowd.end()
            finally:
                crowd.kill()
        finally:
            source.kill()
        return {
            "late_ms": report.summary(heard["late_us"], 0.001),
            "deliveries_per_s": round(heard["messages"] / heard["seconds"]),
            "crowd_cpu_percent": round(100 * heard["cpu_s"] / heard["seconds"], 1),
        }
