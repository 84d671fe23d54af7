"""What checking costs: the broker's CPU for each delivery, bare, with the gate, and with Mosquitto's own two.

    python -m bench.gate [--rooms 100] [--each 30] [--seconds 8] [--repeats 7] [--rate 1000]

Each repeat runs all kinds in an order that rotates, so that whatever else the machine does falls on all alike; what
is compared is the ratio to `bare` within a repeat: its median, and that median's 95 % confidence interval (bootstrap).
With --rate 0 the broker is driven as hard as it goes, and `deliveries/s` is what it managed.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bandroom.wire.topics import Leaf

from bench import report
from bench.load import Crowd
from bench.pump import MOST_ROOMS, SIZE
from bench.school import PUMP_PASSWORD, Access, available, opened

TREE = Path(__file__).parents[1]
KINDS: tuple[Access, ...] = ("bare", "gate", "acl", "dynsec")


def one(access: Access, args: argparse.Namespace) -> dict[str, Any]:
    """One run: deliveries, and the broker's CPU meanwhile."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        school = stack.enter_context(opened(folder, access, args.rooms, args.each, leaves=(Leaf.BEAT,)))
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins, timed=False)
        stack.callback(crowd.kill)
        argv = [sys.executable, "-m", "bench.pump", str(school.home.root), school.broker.socket_path]
        argv += [str(args.rooms), str(args.rate), *([PUMP_PASSWORD] if access == "dynsec" else [])]
        pump = subprocess.Popen(argv, cwd=TREE, stdout=subprocess.PIPE, text=True)
        stack.callback(pump.wait)
        stack.callback(pump.kill)
        assert pump.stdout is not None
        if pump.stdout.readline() != "ready\n":
            raise RuntimeError(f"the pump was not let in ({access})")
        time.sleep(1)
        crowd.begin()
        cpu_s, began_s = report.cpu_s(school.broker.pid), time.monotonic()
        time.sleep(args.seconds)
        cpu_s, took_s = report.cpu_s(school.broker.pid) - cpu_s, time.monotonic() - began_s
        rss_kb = report.rss_kb(school.broker.pid)
        heard = crowd.end()
        deliveries = heard["octets"] / SIZE
        if deliveries < 1:
            raise RuntimeError(f"nothing arrived ({access})")
        return {
            "kind": access,
            "deliveries_per_s": deliveries / heard["seconds"],
            "us_a_delivery": cpu_s * 1e6 / (deliveries / heard["seconds"] * took_s),
            "broker_cpu_percent": 100 * cpu_s / took_s,
            "crowd_cpu_percent": 100 * heard["cpu_s"] / heard["seconds"],
            "broker_rss_kb": rss_kb,
        }


def run(args: argparse.Namespace) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if available(kind)]
    result: dict[str, Any] = {"bench": "gate", "machine": report.machine(), "options": vars(args), "runs": []}
    for turn in range(args.repeats):
        for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
            report.say(f"gate: repeat {turn + 1} of {args.repeats}, {kind} …")
            result["runs"].append({"repeat": turn, **one(kind, args)})
    result["table"] = compare(result["runs"], kinds)
    return result


def compare(runs: list[dict[str, Any]], kinds: list[Access]) -> list[dict[str, Any]]:
    """Median cost a delivery, and its ratio to bare with a confidence interval, for each kind."""
    rng = random.Random(1)
    cost = {(r["repeat"], r["kind"]): r["us_a_delivery"] for r in runs}
    repeats = sorted({r["repeat"] for r in runs})
    lines: list[dict[str, Any]] = []
    for kind in kinds:
        mine = [r for r in runs if r["kind"] == kind]
        ratio, low, high = report.median_ci([cost[n, kind] / cost[n, "bare"] for n in repeats], rng)
        middle: dict[str, float] = {
            name: report.median_ci([r[name] for r in mine], rng, 1)[0]
            for name in ("us_a_delivery", "deliveries_per_s", "broker_cpu_percent", "crowd_cpu_percent")
        }
        plus = {"plus_percent": 100 * (ratio - 1), "low": 100 * (low - 1), "high": 100 * (high - 1)}
        lines.append({"kind": kind, **middle, **plus, "broker_rss_kb": mine[0]["broker_rss_kb"]})
    return lines


def show(result: dict[str, Any]) -> str:
    rows = [
        [it["kind"], round(it["us_a_delivery"], 3), round(it["deliveries_per_s"]), round(it["broker_cpu_percent"], 1),
         round(it["crowd_cpu_percent"], 1), it["broker_rss_kb"],
         "" if it["kind"] == "bare" else f"{it['plus_percent']:+.1f} % ({it['low']:+.1f} to {it['high']:+.1f})"]
        for it in result["table"]
    ]  # fmt: skip
    head = ["access", "µs a delivery", "deliveries/s", "broker CPU%", "crowd CPU%", "broker KB", "to bare (95 %)"]
    options = result["options"]
    return (
        f"{options['rooms']} rooms x {options['each']} subscribers, {options['repeats']} repeats of "
        f"{options['seconds']:g} s, medians\n{report.machine_line(result['machine'])}\n\n{report.table(head, rows)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.gate", description=__doc__)
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--each", type=int, default=30, help="subscribers a room")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rate", type=float, default=1000.0, help="publishes a second; 0: as fast as it goes")
    args = parser.parse_args()
    if not 1 <= args.rooms <= MOST_ROOMS:
        parser.error(f"--rooms is 1 to {MOST_ROOMS}, not {args.rooms}")
    result = run(args)
    print(show(result))
    print(f"\n{report.save('gate', result)}")


if __name__ == "__main__":
    main()
