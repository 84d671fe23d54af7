"""Time, measured: lateness, drift, device clocks on bad networks, joining, kills, cost.

    python -m bench.time [--parts engine drift clock join kills cost] [--quick]

Each part stands in a file of its own (`time_*.py`) and can be run alone. `--quick` takes a tenth of the time, to see
that everything runs; its figures are worth little.
"""

import argparse
import importlib
from typing import Any

from bench import report

PARTS = ("engine", "drift", "clock", "join", "kills", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.time", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    result: dict[str, Any] = {"bench": "time", "machine": report.machine(), "quick": args.quick, "parts": {}}
    print(report.machine_line(result["machine"]))
    for part in args.parts:
        module = importlib.import_module(f"bench.time_{part}")
        found = result["parts"][part] = module.measure(args.quick)
        # After each part, so that what was measured is not lost with what comes after it.
        report.save("time", result)
        print(f"\n== {part}\n{module.show(found)}", flush=True)
    print(f"\n{report.save('time', result)}")


if __name__ == "__main__":
    main()
