"""What the gate costs and what it holds off, part by part; `make bench ARGS="gate --parts cost"` runs one of them.

    cost       3,000 subscribers: deliveries/s at saturation, CPU for each; bare, gate, acl_file, dynamic-security
    large      the same with 18,000 subscribers
    notes      30 players to 30 hearers in each room instead of one beat
    work       instructions and cache misses of a delivery, under valgrind
    connects   letting somebody in: tokens, device passwords, and what the others do
    flood      other tenants' beats and clocks while one client floods, and 500 of one tenant
    school     18,000 devices at 60,000 deliveries a second; kill -9 of the broker, and the way back
    log        how soon each verb of the gate log is in force
    reload     SIGHUP and new keys with thousands connected

Goals stand beside the figures, with whether they are met. Each part's figures go to `bench/results/gate-<part>.json`.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench import gate_connects, gate_cost, gate_flood, gate_log, gate_reload, gate_school, gate_work, report
from bench.gate_cost import Kind
from bench.school import available

GOAL_RATIO = 0.97
_RNG = random.Random(1)


def kinds(*also: Kind) -> list[Kind]:
    """All access controls that this machine has."""
    return [kind for kind in ("bare", "gate", "acl", "dynsec") if available(kind)] + [*also]


def verdict(met: bool | None) -> str:
    return "" if met is None else "met" if met else "NOT MET"


def middle(slices: Sequence[dict[str, Any]], kind: str, name: str) -> float:
    return median([it[name] for it in slices if it["kind"] == kind])


def ratio(slices: Sequence[dict[str, Any]], kind: str, to: str, name: str) -> tuple[float, float, float]:
    """The median of the ratios within a round, and the ends of its 95 % confidence interval."""
    value = {(it["round"], it["kind"]): it[name] for it in slices}
    pairs: dict[int, list[float]] = {}
    for it in slices:
        if it["kind"] == kind:
            pairs.setdefault(it.get("start", 0), []).append(it[name] / value[it["round"], to])
    return report.median_ci(list(pairs.values()), _RNG)


def spelled(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.3f} ({found[1]:.3f} to {found[2]:.3f})"


def show_cost(it: dict[str, Any]) -> str:
    """A table of a cost part, and the gate's goals."""
    slices = it["slices"]
    rows: list[list[object]] = []
    for kind in dict.fromkeys(s["kind"] for s in slices):
        cpu = [round(middle(slices, kind, f"{name}_cpu_percent")) for name in ("broker", "crowd", "generator")]
        no_core = round(middle(slices, kind, "broker_no_core_percent"))
        rows.append(
            [kind, round(middle(slices, kind, "deliveries_per_s")), middle(slices, kind, "us_a_delivery"),
             "" if kind == "bare" else spelled(ratio(slices, kind, "bare", "deliveries_per_s")),
             "" if kind == "bare" else spelled(ratio(slices, kind, "bare", "us_a_delivery")),
             cpu[0], no_core, cpu[1], cpu[2], round(middle(slices, kind, "lost_percent"), 1),
             it["kb_a_connection"].get(kind, 0.0)]
        )  # fmt: skip
    head = ["access", "deliveries/s", "µs CPU each", "deliveries/s to bare (95 %)", "µs to bare (95 %)",
            "broker CPU%", "no core%", "crowd CPU%", "generator", "lost%", "KB a conn."]  # fmt: skip
    lines = [report.table(head, rows), ""]
    found = ratio(slices, "gate", "bare", "deliveries_per_s")
    it["gate_to_bare"] = found
    lines.append(f"gate >= {GOAL_RATIO} of bare: {spelled(found)}: {verdict(found[0] >= GOAL_RATIO)}")
    if any(s["kind"] == "dynsec" for s in slices):
        ahead = ratio(slices, "gate", "dynsec", "deliveries_per_s")
        lines.append(f"gate ahead of dynamic-security: {spelled(ahead)}: {verdict(ahead[1] > 1)}")
    lines.append(
        "The broker is saturated where its CPU and its waiting for a core add up to 100 %; `no broker` is what"
        " generator and crowd manage with a process in its place that only copies."
    )
    return "\n".join(lines)


def show_work(it: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [line["load"], line["kind"], line["deliveries"], *(line[name] for name in gate_work.EVENTS),
         line["idle_instructions_per_s"], line["idle_l2_misses_per_s"]]
        for line in it["table"]
    ]  # fmt: skip
    head = ["load", "access", "deliveries", "instructions each", "L1 code misses", "L1 data misses", "L2 data misses",
            "idle: instructions/s", "L2 misses/s"]  # fmt: skip
    return report.table(head, rows)


def show_connects(it: dict[str, Any]) -> str:
    slices = it["slices"]
    columns = ("broker_cpu_percent", "broker_no_core_percent", "generator_cpu_percent")
    rows: list[list[object]] = [
        [kind, round(middle(slices, kind, "connects_per_s")), middle(slices, kind, "us_a_connect"),
         "" if kind == "bare" else spelled(ratio(slices, kind, "bare", "us_a_connect")),
         *(round(middle(slices, kind, name)) for name in columns)]
        for kind in dict.fromkeys(s["kind"] for s in slices)
    ]  # fmt: skip
    head = ["access", "connects/s", "µs CPU each", "µs to bare (95 %)", "broker CPU%", "no core%", "generator CPU%"]
    return report.table(head, rows)


def show_flood(it: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [line["kind"], line["windows"], *(line[f"{what}_{part}"] for what in ("beats", "clock") for part in
         ("p50", "p99", "max")), f"<= {line['goal_ms']:.1f}" if line.get("met") is not None else "",
         verdict(line.get("met"))]
        for line in it["table"]
    ]  # fmt: skip
    head = ["window", "n", "beats p50 ms", "p99", "max", "clock p50 ms", "p99", "max", "beats p99 goal", ""]
    return report.table(head, rows)


def show_school(it: dict[str, Any]) -> str:
    steady, bare = it["steady"], it["floor"]
    rows: list[list[object]] = [
        [name, line["deliveries_per_s"], *(line["late_ms"][part] for part in ("p50", "p95", "p99", "max"))]
        for name, line in (("gate", steady), ("floor", bare))
    ]
    kills: list[list[object]] = [
        [f"{k['back']:,} of {k['of']:,}", k["broker_listens_after_s"], k["let_in_s"]["p50"], k["let_in_s"]["max"],
         *(k["beat_again_s"][part] for part in ("p50", "p95", "max")), k["tries"], k["refused_or_dropped"]]
        for k in it["kills"]
    ]  # fmt: skip
    clients = f"{it['rooms'] * it['each']:,} clients in {it['rooms']} rooms at {it['bpm']:g} bpm"
    return (
        f"{clients}, CPU% {steady['cpu_percent']}, arrived {steady['arrived_of_expected']:.2%} of expected\n\n"
        + report.table(["", "deliveries/s", "late p50 ms", "p95", "p99", "max"], rows)
        + f"\np95 <= {gate_school.GOAL_P95_MS:g} ms: {verdict(steady['met'])}\n\n"
        + report.table(
            [
                "kill -9: back",
                "listens s",
                "let in p50",
                "last",
                "beat again p50 s",
                "p95",
                "last",
                "tries",
                "thrown out",
            ],
            kills,
        )
    )


def show_log(it: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [line["verb"], line["n"], line["p50"], line["p99"], line["max"],
         "-" if line["late_when_still"] is None else str(line["late_when_still"]), verdict(line["met"])]
        for line in it["table"]
    ]  # fmt: skip
    head = ["verb", "n", "p50 ms", "p99", "max", "late when still", f"<= {gate_log.GOAL_MS:g} ms"]
    return report.table(head, rows)


def show_reload(it: dict[str, Any]) -> str:
    known, stall = it["known_ms"], it["stall_ms"]
    return (
        f"{it['clients']:,} clients, {it['sighups']} SIGHUPs with new keys: {it['dropped']} dropped, {it['missing']} of"
        f" {it['deliveries']:,} deliveries missing: {verdict(it['met'])}\n"
        f"keys known after {known['p50']} ms (max {known['max']}); longest standstill {stall['p50']} ms"
        f" (max {stall['max']})"
    )


def parts(args: argparse.Namespace) -> dict[str, tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], str]]]:
    """What can be run: how it is measured and how it is shown."""
    quick, rounds, starts = args.quick, 3 if args.quick else args.rounds, 1 if args.quick else args.starts
    seconds = args.seconds
    rooms, many = (10, 20) if quick else (100, 600)
    none: Kind = "no broker"
    return {
        "cost": (lambda: gate_cost.measure(kinds(none), rooms, 30, seconds, rounds, starts), show_cost),
        "large": (lambda: gate_cost.measure(kinds(none), many, 30, seconds, rounds, max(1, starts // 4)), show_cost),
        "notes": (lambda: gate_cost.measure(kinds(), rooms, 30, seconds, rounds, starts, notes=True), show_cost),
        "work": (lambda: gate_work.measure(("bare", "gate"), rooms, 30, 2.0 if quick else 8.0), show_work),
        "connects": (lambda: gate_connects.measure(1.0 if quick else 2.5, 3 if quick else 12), show_connects),
        "flood": (
            lambda: gate_flood.measure(3.0 if quick else 12.0, 4.0 if quick else 35.0, 1 if quick else 2),
            show_flood,
        ),
        "school": (lambda: gate_school.measure(many, 30, 200, 3 if quick else 20, 1 if quick else 3), show_school),
        "log": (lambda: gate_log.measure(2 if quick else 30), show_log),
        "reload": (lambda: gate_reload.measure(rooms * 2, 30, 2 if quick else 10), show_reload),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", help="some of them, with commas between; all unless given")
    parser.add_argument("--seconds", type=float, default=0.4, help="of a slice at saturation")
    parser.add_argument("--rounds", type=int, default=12, help="of slices at saturation, one of each access control")
    parser.add_argument("--starts", type=int, default=8, help="of all brokers afresh, so many rounds each")
    parser.add_argument("--quick", action="store_true", help="few and small: shows that it works, measures nothing")
    args = parser.parse_args()
    known = parts(args)
    chosen = args.parts.split(",") if args.parts else list(known)
    if wrong := [name for name in chosen if name not in known]:
        parser.error(f"there is no part {wrong[0]!r}: choose from {', '.join(known)}")
    for name in chosen:
        measure, show = known[name]
        report.say(f"gate {name} …")
        machine, began_s = report.machine(), time.monotonic()
        found = {"bench": f"gate {name}", "machine": machine, **measure()}
        print(f"\n== {name} ({time.monotonic() - began_s:.0f} s) ==\n{report.machine_line(machine)}\n\n{show(found)}")
        print(f"\n{report.save(f'gate-{name}', found)}", flush=True)


if __name__ == "__main__":
    main()
