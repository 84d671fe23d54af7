"""Part 4: thirty join at once; from the join call to a clock whose true error is, and stays, within 1 ms.

Goal: p95 <= 300 ms. The call includes the HTTP join, the connection and the first pings. The thirty run in three
processes beside broker and service, on this machine's cores, and join a room that nobody has been in. One whose clock
was not good within ten seconds counts as ten seconds.
"""

import tempfile
from pathlib import Path
from typing import Any

from bench import classes, report
from bench.stack import running

GOAL_P95_MS = 300
NEVER_MS = 10_000.0


def measure(quick: bool) -> dict[str, Any]:
    """Thirty at once, several times; and one alone, for what is not crowding."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as name, running(Path(name)) as stack:
        stack.cli("tenants", "create", "bench")
        for title, count, repeats in (("one alone", 1, 10), ("thirty at once", 30, 7)):
            joins: list[float | None] = []
            for turn in range(2 if quick else repeats):
                report.say(f"join: {title}, {turn + 1} …")
                room = stack.cli("rooms", "create", "--tenant", "bench", "--bpm", "120", "--start")
                told = classes.play(stack, link=None, count=count, settle_s=0, seconds=0.1, seed=turn, room=room)
                joins += told["join_ms"]
            ms = report.summary([NEVER_MS if x is None else x for x in joins])
            found[title] = {"ms": ms, "never": joins.count(None), "goal_p95_ms": GOAL_P95_MS}
            found[title]["met"] = ms["p95"] <= GOAL_P95_MS
    return found


def show(found: dict[str, Any]) -> str:
    rows = [
        [title, *(it["ms"][x] for x in ("n", "p50", "p95", "max")), it["never"], "yes" if it["met"] else "NO"]
        for title, it in found.items()
    ]
    return report.table(["who", "n", "p50 ms", "p95 ms", "max ms", "never", f"p95 <= {GOAL_P95_MS} ms"], rows)
