"""Part 3: how far a device's idea of server time is from the truth, and two devices' onsets from each other.

Thirty devices of the kit, clocks seconds off and up to ±50 ppm fast, on one host, so that the truth is known: over the
plain loopback, on bad networks, and while somebody floods the broker. As root, server and devices are in network
namespaces of their own and every frame passes the model of the network; otherwise the devices' connections pass a
relay, where TCP has nothing to mend. Goals, p99 of the error:
1 ms on loopback, at 10 ± 5 ms and under a flood, 2 ms with power-save and bufferbloat.

`planned` is the onset by the device's clock alone, `woken` when the program was really called: thirty of them share
this machine's cores, which `woken` shows and a device of its own would not.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import classes, netns, report
from bench.stack import running

GOALS_MS = {"loopback": 1, "10 ± 5 ms": 1, "power save": 2, "bufferbloat": 2, "flood": 1}
_LINKS = {
    "loopback": None,
    "10 ± 5 ms": "jitter",
    "power save": "power save",
    "bufferbloat": "bufferbloat",
    "flood": None,
}


def measure(quick: bool) -> dict[str, Any]:
    """Every network in turn, each with devices that join afresh."""
    found: dict[str, Any] = {}
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        net = cleanup.enter_context(netns.made()) if netns.available() else None
        inside = {} if net is None else {"prefix": net.inside(net.server), "host": netns.SERVER}
        stack = cleanup.enter_context(running(folder, **inside))
        stack.cli("tenants", "create", "bench")
        for number, (title, link) in enumerate(_LINKS.items()):
            report.say(f"clock: {title} …")
            room = stack.cli("rooms", "create", "--tenant", "bench", "--bpm", "120", "--start")
            noise = classes.flood(stack, "noise") if title == "flood" else None
            try:
                told = classes.play(
                    stack,
                    link=link,
                    count=6 if quick else 30,
                    settle_s=4 if quick else 15,
                    seconds=6 if quick else 60,
                    seed=100 * number,
                    room=room,
                    net=net,
                )
            finally:
                if noise is not None:
                    noise.kill()
                    noise.wait()
            found[title] = {
                "goal_p99_ms": GOALS_MS[title],
                "path": "relay" if net is None else "namespaces",
                "error": report.summary([abs(x) for x in told["error_us"]], 0.001),
                "bound": report.summary(told["bound_us"], 0.001),
                "beyond_the_bound": told["dishonest"],
                "planned": report.summary(classes.spread_us(told["onsets"], 0), 0.001),
                "woken": report.summary(classes.spread_us(told["onsets"], 1), 0.001),
                "late": report.summary([max(0, w) for it in told["onsets"].values() for _, w in it], 0.001),
            }
    return found


def show(found: dict[str, Any]) -> str:
    rows = [
        [title, it["path"], *(it["error"][x] for x in ("p50", "p99", "max")),
         str(it["goal_p99_ms"]), it["bound"]["p99"], f"{it['beyond_the_bound']} of {it['error']['n']}",
         it["planned"]["p95"], it["planned"]["p99"], it["woken"]["p95"], it["woken"]["p99"]]
        for title, it in found.items()
    ]  # fmt: skip
    head = ["network", "path", "error p50 ms", "p99", "max", "goal p99", "bound p99", "beyond bound",
            "apart: planned p95", "p99", "woken p95", "p99"]  # fmt: skip
    return report.table(head, rows)
