"""What a delivery costs in instructions and cache misses: figures that do not depend on who else uses the machine.

The broker runs under valgrind's callgrind, with caches of the sizes in `CACHES` simulated: a few thousand deliveries
a second. What it does by the clock alone is counted while nobody sends, and taken off. The kernel's work, which is
most of a delivery, is not seen.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.gate_cost import Kind, Side, side

CACHES = ("--I1=32768,8,64", "--D1=32768,8,64", "--LL=524288,8,64")
"""First level, and a second level of 512 KB, as a core of a small server has them."""
IDLE_S, WARM_S = 4.0, 2.0
EVENTS = {
    "instructions": ("Ir",),
    "code_misses": ("I1mr",),
    "data_misses": ("D1mr", "D1mw"),
    "l2_misses": ("DLmr", "DLmw"),
}


def available() -> bool:
    """Whether this machine has valgrind."""
    return shutil.which("valgrind") is not None


def measure(kinds: Sequence[Kind], rooms: int, each: int, seconds: float) -> dict[str, Any]:
    """Each access control in turn, with beats and with notes."""
    if not available():
        raise RuntimeError("no valgrind: install the package `valgrind`")
    table: list[dict[str, Any]] = []
    for load in ("beats", "notes"):
        for kind in kinds:
            report.say(f"  {load}, {kind} …")
            with tempfile.TemporaryDirectory(prefix="bandroom-bench-") as folder:
                dumps = Path(folder)
                under = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--cache-sim=yes", *CACHES,
                         f"--callgrind-out-file={dumps}/out")  # fmt: skip
                with side(kind, rooms, each, load == "notes", under=under) as one:
                    table.append({"load": load, "kind": kind, **_counted(one, dumps, seconds)})
    return {"rooms": rooms, "each": each, "seconds": seconds, "caches": CACHES, "table": table}


def _counted(one: Side, dumps: Path, seconds: float) -> dict[str, Any]:
    _control(one.pid, "-i", "on")
    time.sleep(WARM_S)
    idle, idle_s = _window(one, dumps, IDLE_S)[:2]
    one.driver.go()
    time.sleep(WARM_S)
    busy, busy_s, octets = _window(one, dumps, seconds)
    one.driver.stop()
    _control(one.pid, "-i", "off")
    deliveries = octets / one.driver.size
    return {
        "deliveries": round(deliveries),
        **{name: round((busy[name] - idle[name] / idle_s * busy_s) / deliveries, 2) for name in EVENTS},
        **{f"idle_{name}_per_s": round(idle[name] / idle_s) for name in EVENTS},
    }


def _window(one: Side, dumps: Path, seconds: float) -> tuple[dict[str, int], float, int]:
    """What was counted in so many seconds, how long they really were, and the octets that the crowd heard."""
    _control(one.pid, "-z")
    one.crowd.mark()
    began_s = time.monotonic()
    time.sleep(seconds)
    octets, took_s = one.crowd.mark()["octets"], time.monotonic() - began_s
    _control(one.pid, "-d")
    newest = max(dumps.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    lines = dict(
        line.split(":", 1) for line in newest.read_text().splitlines() if line.startswith(("events:", "totals:"))
    )
    # What is zero at the end of a line is left out.
    of = dict(zip(lines["events"].split(), map(int, lines["totals"].split()), strict=False))
    return {name: sum(of.get(event, 0) for event in events) for name, events in EVENTS.items()}, took_s, octets


def _control(pid: int, *what: str) -> None:
    subprocess.run(
        ["callgrind_control", *what, str(pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
