"""A hundred rooms of eight: how late beats are when published and when they arrive, with the gate and without.

    python -m bench.classroom [--rooms 100] [--each 8] [--seconds 20] [--repeats 3] [--notes 1.0]

The same worker, the same crowd and the same load run against a broker with the gate and a bare one, in turn. A third
kind, `floor`, has no broker at all: a process writes the beats straight into the crowd's sockets, which shows what the
crowd itself adds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bandroom.wire.topics import Leaf

from bench import home as data
from bench import report
from bench.floor import Floor
from bench.load import Crowd
from bench.school import Access, School, login, opened, pupils

SETTLE_S = 2.0


def worker(school: School, index: int = 0, count: int = 1, options: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A tempo worker on the school's data folder that has said that it is ready."""
    argv = [sys.executable, "-P", "-m", "bandroom.beats.worker", "--home", str(school.home.root)]
    process = subprocess.Popen(
        [*argv, "--index", str(index), "--count", str(count), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        raise RuntimeError("the worker did not start")
    return process


def meters(school: School, index: int = 0) -> dict[str, Any]:
    """The worker's figures, at most a second old."""
    return json.loads((school.home.root / "metrics" / f"tempo-{index}.json").read_text())


def watch(school: School, seconds: float) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Sleep for `seconds`; the worker's figures at both ends, and its largest lateness in between (µs)."""
    first = last = meters(school)
    end_s = time.monotonic() + seconds
    while first["time_us"] == last["time_us"] and time.monotonic() < end_s:
        time.sleep(0.05)
        first = meters(school)
    largest, last = 0, first
    while time.monotonic() < end_s or last["time_us"] == first["time_us"]:
        time.sleep(0.2)
        now = meters(school)
        if now["time_us"] != last["time_us"]:
            last, largest = now, max(largest, now["lateness_us"]["recent_max"])
    return first, last, largest


def published(first: dict[str, Any], last: dict[str, Any], largest: int) -> dict[str, float]:
    """Lateness at publishing between two readings of the meters, in ms."""
    a, b = first["lateness_us"], last["lateness_us"]
    return report.of_histogram(b["bounds"], [y - x for x, y in zip(a["counts"], b["counts"], strict=True)], largest)


def one(access: Access, args: argparse.Namespace) -> dict[str, Any]:
    """One run against one kind of broker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        school = stack.enter_context(opened(folder, access, args.rooms, args.each))
        data.add_rooms(school.home, data.bench_rooms(args.rooms, school.clock.now_us(), bpm=args.bpm))
        beats = worker(school)
        stack.callback(beats.wait)
        stack.callback(beats.terminate)
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins, notes_hz=args.notes)
        stack.callback(crowd.kill)
        time.sleep(SETTLE_S)
        crowd.begin()
        cpu = {"worker": report.cpu_s(beats.pid), "broker": report.cpu_s(school.broker.pid)}
        began_s = time.monotonic()
        first, last, largest = watch(school, args.seconds)
        took_s = time.monotonic() - began_s
        used = {
            "worker": report.cpu_s(beats.pid) - cpu["worker"],
            "broker": report.cpu_s(school.broker.pid) - cpu["broker"],
        }
        heard = crowd.end()
        expected = args.rooms * args.each * args.bpm / 60 * took_s
        return {
            "kind": access,
            "published": published(first, last, largest),
            "arrived": report.summary(heard["late_us"], 0.001),
            "notes": report.summary(heard["note_us"], 0.001),
            "deliveries_per_s": round(heard["messages"] / heard["seconds"]),
            "arrived_of_expected": round(len(heard["late_us"]) / expected, 4),
            "dropped_late": last["dropped_late"],
            "unsent": last["unsent"],
            "cpu_percent": {
                **{name: round(100 * s / took_s, 1) for name, s in used.items()},
                "crowd": round(100 * heard["cpu_s"] / heard["seconds"], 1),
            },
            "broker_rss_kb": report.rss_kb(school.broker.pid),
            "worker_rss_kb": report.rss_kb(beats.pid),
            "arrived_us": heard["late_us"] if args.raw else [],
        }


def floor(args: argparse.Namespace) -> dict[str, Any]:
    """The crowd without a broker: what it adds by itself."""
    with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as name:
        home, clock = data.make(Path(name) / "home")

        logins = [login(p, "x", (Leaf.BEAT,)) for p in pupils(args.rooms, args.each)]
        source = Floor(home.root, args.rooms, args.each, args.bpm, clock.offset_us)
        try:
            crowd = Crowd(("127.0.0.1", source.port), clock.offset_us, logins)
            time.sleep(SETTLE_S)
            crowd.begin()
            time.sleep(min(args.seconds, 10))
            heard = crowd.end()
        finally:
            source.kill()
        return {"kind": "floor", "arrived": report.summary(heard["late_us"], 0.001),
                "deliveries_per_s": round(heard["messages"] / heard["seconds"]),
                "cpu_percent": {"crowd": round(100 * heard["cpu_s"] / heard["seconds"], 1)}}  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"bench": "classroom", "machine": report.machine(), "options": vars(args), "runs": []}
    for turn in range(args.repeats):
        order: list[Access] = ["gate", "bare"] if turn % 2 == 0 else ["bare", "gate"]
        for access in order:
            report.say(f"classroom: run {turn + 1} of {args.repeats}, {access} …")
            result["runs"].append(one(access, args))
    report.say("classroom: the floor, without a broker …")
    result["runs"].append(floor(args))
    return result


def show(result: dict[str, Any]) -> str:
    rows: list[list[object]] = []
    for it in result["runs"]:
        for what in ("published", "arrived", "notes"):
            figures = it.get(what)
            if figures and figures["n"]:
                cpu = it["cpu_percent"]
                used = [str(cpu.get(part, "-")) for part in ("worker", "broker", "crowd")]
                figures = [figures[name] for name in ("n", "p50", "p99", "max")]
                rows.append([it["kind"], what, *figures, it["deliveries_per_s"], *used])
    head = ["broker", "late when", "n", "p50 ms", "p99 ms", "max ms", "deliveries/s", "CPU% worker", "broker", "crowd"]
    options = result["options"]
    return (
        f"{options['rooms']} rooms x {options['each']} clients at {options['bpm']:g} bpm, each playing "
        f"{options['notes']:g} notes/s, {options['seconds']:g} s a run\n{report.machine_line(result['machine'])}\n\n"
        + report.table(head, rows)
    )


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="bench.classroom", description=__doc__)
    made.add_argument("--rooms", type=int, default=100)
    made.add_argument("--each", type=int, default=8, help="clients a room")
    made.add_argument("--bpm", type=float, default=120.0)
    made.add_argument("--notes", type=float, default=1.0, help="notes a second that each client plays")
    made.add_argument("--seconds", type=float, default=20.0)
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--raw", action="store_true", help="keep every arrival in the JSON")
    return made


def main() -> None:
    result = run(parser().parse_args())
    print(show(result))
    print(f"\n{report.save('classroom', result)}")


if __name__ == "__main__":
    main()
