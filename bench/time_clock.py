"""Part 3: how far a device's idea of server time is from the truth, and two devices' onsets from each other.

Thirty devices of the kit, clocks seconds off and up to ±50 ppm fast, on one host, so that the truth is known: beside
the server, on bad networks, and while somebody floods the broker. As root, server and devices are in network
namespaces of their own and every frame passes the model of the network; otherwise the devices' connections pass a
relay, where TCP has nothing to mend. "cable" passes the relay as well, without jitter: what it has more than
"loopback" comes of relay and TCP. A relay that was late itself makes its line void: see `lateness.py`.

Goals: p99 of the error 1 ms on loopback, at 10 ± 5 ms and under a flood, 2 ms with power-save and bufferbloat; two
devices' onsets apart by p95 1 ms and p99 2 ms at the scheduler. `planned` is the onset by the device's clock alone,
`woken` when the program was really called: thirty of them share this machine's cores, which `woken` shows and a device
of its own would not. Ableton Link, where `aalink` is installed, is measured on the same networks: see `link.py`.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import classes, link, netns, report
from bench.lateness import fault
from bench.stack import running

GOALS_MS = {"loopback": 1, "cable": 1, "10 ± 5 ms": 1, "power save": 2, "bufferbloat": 2, "flood": 1}
APART_P95_MS, APART_P99_MS = 1, 2
_NETWORKS = {"cable": "loopback", "10 ± 5 ms": "jitter", "power save": "power save", "bufferbloat": "bufferbloat"}


def measure(quick: bool) -> dict[str, Any]:
    """Every network in turn, each with devices that join afresh; then Ableton Link."""
    found: dict[str, Any] = {"devices": _devices(quick), "link": {}, "no_link": link.missing()}
    if found["no_link"] is None:
        found["link"] = link.compared(_NETWORKS, quick)
    else:
        report.say(f"clock: {found['no_link']}")
    return found


def _devices(quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        net = cleanup.enter_context(netns.made()) if netns.available() else None
        inside = {} if net is None else {"prefix": net.inside(net.server), "host": netns.SERVER}
        stack = cleanup.enter_context(running(folder, **inside))
        stack.cli("tenants", "create", "bench")
        for number, title in enumerate(GOALS_MS):
            report.say(f"clock: {title} …")
            room = stack.cli("rooms", "create", "--tenant", "bench", "--bpm", "120", "--start")
            noise = classes.flood(stack, "noise") if title == "flood" else None
            try:
                told = classes.play(
                    stack,
                    link=_NETWORKS.get(title),
                    count=6 if quick else 30,
                    settle_s=4 if quick else 15,
                    seconds=6 if quick else 45,
                    seed=100 * number,
                    room=room,
                    net=net,
                )
            finally:
                if noise is not None:
                    noise.kill()
                    noise.wait()
            through = "namespaces" if net is not None else "relay"
            found[title] = _judged(told, GOALS_MS[title], through if title in _NETWORKS else "straight")
    return found


def _judged(told: dict[str, Any], goal_ms: float, path: str) -> dict[str, Any]:
    error = report.summary([abs(x) for x in told["error_us"]], 0.001)
    planned = report.summary(classes.spread_us(told["onsets"], 0), 0.001)
    good = error["p99"] <= goal_ms and planned["p95"] <= APART_P95_MS and planned["p99"] <= APART_P99_MS
    void = fault(told["relay"])
    return {
        "goal_p99_ms": goal_ms,
        "path": path,
        "error": error,
        "bound": report.summary(told["bound_us"], 0.001),
        "beyond_the_bound": told["dishonest"],
        "planned": planned,
        "woken": report.summary(classes.spread_us(told["onsets"], 1), 0.001),
        "late": report.summary([max(0, w) for it in told["onsets"].values() for _, w in it], 0.001),
        "relay": told["relay"],
        "void": void,
        "verdict": f"VOID: {void}" if void else "ok" if good and not told["dishonest"] else "MISSED",
    }


def show(found: dict[str, Any]) -> str:
    rows = [
        [title, it["path"], *(it["error"][x] for x in ("p50", "p99", "max")),
         it["goal_p99_ms"], it["bound"]["p99"], f"{it['beyond_the_bound']} of {it['error']['n']}",
         it["planned"]["p95"], it["planned"]["p99"], it["woken"]["p95"], it["woken"]["p99"],
         "" if it["relay"] is None else f"{it['relay']['p99']:.2f}", it["verdict"]]
        for title, it in found["devices"].items()
    ]  # fmt: skip
    head = ["network", "path", "error p50 ms", "p99", "max", "goal p99", "bound p99", "beyond bound",
            f"apart: planned p95 (goal {APART_P95_MS})", f"p99 (goal {APART_P99_MS})", "woken p95", "p99",
            "relay late p99", "verdict"]  # fmt: skip
    said = report.table(head, rows)
    return f"{said}\n\n{found['no_link'] or link.show(found['link'])}"
