"""How late beats are published, at 100, 1,000 and 10,000 rooms at 120 bpm, against other ways of keeping a beat.

    python -m bench.engine [--rooms 100 1000 10000] [--seconds 10] [--phases random equal]
    python -m bench.engine --spin 0 60 120 200 --kinds worker --rooms 1000 --phases random     to tune `SPIN_US`

Goal: p99 < 1 ms at 1,000 rooms at random phases.

A bare broker without subscribers takes the packets, so what is measured is the keeping of time and the writing. The
worker runs as in service; the Erlang processes publish nothing, only their timers are measured. `last` is the median
lateness of each room's last beat (of the worker: of all beats of two more seconds): what drifts, shows there. Only the
worker drops what is too late (`dropped`, beyond 100 ms or half a beat); the others publish it all the same.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import home as data
from bench import report
from bench.broker import running
from bench.classroom import published, watch, worker
from bench.school import School

_LAST_S = 2.0
GOAL_P99_MS = 1.0
TREE = Path(__file__).parents[1]
KINDS = ("worker", "sleep", "remedy", "grid", "erlang relative", "erlang absolute")


def measure_worker(folder: Path, rooms: int, equal: bool, seconds: float, spin_us: int | None = None) -> dict[str, Any]:
    """This project's worker; `spin_us`: how long before a beat it stays awake (None: as in service)."""
    options = [] if spin_us is None else ["--spin-us", str(spin_us)]
    with ExitStack() as stack:
        home, clock = data.make(folder / "home")
        broker = stack.enter_context(running(folder / "broker"))
        home.broker_socket.symlink_to(broker.socket_path)
        school = School(home, clock, broker, [])
        empty = worker(school)
        time.sleep(1)
        base_kb = report.rss_kb(empty.pid)
        empty.terminate()
        empty.wait()
        data.add_rooms(home, data.bench_rooms(rooms, clock.now_us(), equal=equal))
        process = worker(school, options=options)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        time.sleep(3)
        cpu, began_s = report.cpu_s(process.pid), time.monotonic()
        broker_cpu = report.cpu_s(broker.pid)
        first, last, largest = watch(school, seconds)
        took_s = time.monotonic() - began_s
        late = published(first, last, largest)
        at_the_end = published(*watch(school, _LAST_S))
        counts = {
            name: last[name] - first[name] for name in ("published", "batches", "send_ns", "dropped_late", "unsent")
        }
        return {
            "late": late,
            "last_ms": at_the_end["p50"],
            "cpu_percent": round(100 * (report.cpu_s(process.pid) - cpu) / took_s, 1),
            "broker_cpu_percent": round(100 * (report.cpu_s(broker.pid) - broker_cpu) / took_s, 1),
            "per_room_bytes": round((report.rss_kb(process.pid) - base_kb) * 1024 / rooms),
            "beats_a_batch": round(counts["published"] / max(1, counts["batches"]), 2),
            "send_us_a_beat": round(counts["send_ns"] / 1000 / max(1, counts["published"]), 2),
            **counts,
        }


def measure_asyncio(kind: str, folder: Path, rooms: int, equal: bool, seconds: float) -> dict[str, Any]:
    """One of `baselines`."""
    with running(folder / "broker") as broker:
        argv = [kind, str(rooms), "equal" if equal else "random", str(seconds), broker.socket_path]
        return _told([sys.executable, "-m", "bench.baselines", *argv])


def measure_erlang(kind: str, rooms: int, equal: bool, seconds: float) -> dict[str, Any]:
    """A process per room on the Erlang virtual machine."""
    argv = [kind, str(rooms), "equal" if equal else "random", str(round(seconds))]
    return _told(["escript", str(TREE / "bench" / "metronome.escript"), *argv])


def _told(argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(argv, cwd=TREE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[:3]}: {done.stderr[-500:]}")
    told = json.loads(done.stdout)
    last = sorted(told["last_us"])
    return {
        "late": report.summary(told["late_us"], 0.001),
        "last_ms": round(report.percentile(last, 0.5) / 1000, 3),
        "cpu_percent": told["cpu_percent"],
    }


def one(kind: str, rooms: int, equal: bool, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as name:
        if kind.startswith("worker"):
            spin_us = int(kind.removeprefix("worker spin ")) if " " in kind else None
            figures = measure_worker(Path(name), rooms, equal, seconds, spin_us)
            if rooms == 1000 and not equal:
                figures["goal_p99_ms"], figures["met"] = GOAL_P99_MS, figures["late"]["p99"] < GOAL_P99_MS
        elif kind.startswith("erlang"):
            figures = measure_erlang(kind.split()[1], rooms, equal, seconds)
        else:
            figures = measure_asyncio(kind, Path(name), rooms, equal, seconds)
    return {"kind": kind, "rooms": rooms, "phases": "equal" if equal else "random", **figures}


def run(args: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"bench": "engine", "machine": report.machine(), "options": vars(args), "runs": []}
    kinds = [k for k in args.kinds if not k.startswith("erlang") or shutil.which("escript")]
    if args.spin:
        kinds = [each for k in kinds for each in ([f"worker spin {us}" for us in args.spin] if k == "worker" else [k])]
    for rooms in args.rooms:
        for phases in args.phases:
            for kind in kinds:
                report.say(f"engine: {rooms} rooms, {phases}, {kind} …")
                result["runs"].append(one(kind, rooms, phases == "equal", args.seconds))
    return result


def show(result: dict[str, Any]) -> str:
    rows = [
        [it["rooms"], it["phases"], it["kind"], *(it["late"][x] for x in ("n", "p50", "p99", "max")), it["last_ms"],
         it["cpu_percent"], str(it.get("per_room_bytes", "-")), str(it.get("beats_a_batch", "-")),
         str(it.get("dropped_late", "-")), {True: "yes", False: "NO"}.get(it.get("met"), "")]
        for it in result["runs"]
    ]  # fmt: skip
    head = ["rooms", "phases", "kind", "n", "p50 ms", "p99 ms", "max ms", "last ms", "CPU%", "B/room", "beats/turn",
            "dropped", f"p99 < {GOAL_P99_MS:g} ms"]  # fmt: skip
    erlang = "" if shutil.which("escript") else "\nErlang is not installed: its two lines are left out."
    return f"{report.machine_line(result['machine'])}\n\n{report.table(head, rows)}{erlang}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.engine", description=__doc__)
    parser.add_argument("--rooms", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--phases", nargs="+", choices=("random", "equal"), default=["random", "equal"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--spin", type=int, nargs="+", metavar="US", help="run the worker with each of these --spin-us")
    result = run(parser.parse_args())
    print(show(result))
    print(f"\n{report.save('engine', result)}")


if __name__ == "__main__":
    main()
