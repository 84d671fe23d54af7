"""Compares clock filters on simulated links; rewrites docs/clock_filters.{json,svg} and the table in docs/time.md.

    python bench/clock_filters.py [--seeds 12] [--seconds 180] [--dry]      --dry prints the table only

Simulated time and seeds alone: the figures are the same on every machine, and don't need an idle one.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bandroom.music.clock_filter import ClockFilter, MinRttFilter
from bandroom.music.simulation.device_clock import DriftingClock, run
from bandroom.music.simulation.links import LINKS
from bandroom.music.simulation.rivals import Kalman, LastSample, Median

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- bench/clock_filters.py: begin -->", "<!-- end -->"
SHARES = [10 ** (-i / 20) for i in range(51)]
FILTERS = {
    "envelope": ClockFilter,
    "min RTT": MinRttFilter,
    "last": LastSample,
    "median": Median,
    "Kalman": Kalman,
}


def part(values: Sequence[float], share: float) -> float:
    """The `share` quantile of the absolute values."""
    ordered = sorted(abs(v) for v in values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def measured(link: str, seeds: int, seconds: float) -> dict[str, Any]:
    """All filters' errors on one link, in µs, the same exchanges for each."""
    errors: dict[str, list[float]] = {name: [] for name in FILTERS}
    bounds: list[float] = []
    beyond = 0
    joined: list[float] = []
    for seed in range(seeds):
        rng = random.Random(f"{link}/{seed}")
        traces = run(LINKS[link](rng), DriftingClock(rng, seconds), seconds, [make() for make in FILTERS.values()])
        for name, trace in zip(FILTERS, traces, strict=True):
            errors[name] += trace.errors_us
        bounds += traces[0].bounds_us
        beyond += sum(abs(e) > b for e, b in zip(traces[0].errors_us, traces[0].bounds_us, strict=True))
        early = [error for at, error in traces[0].first_us.items() if at <= 300_000]
        joined += early[-1:]
    return {
        "link": link,
        "filters": {
            name: {"p50": part(e, 0.5), "p95": part(e, 0.95), "p99": part(e, 0.99), "max": part(e, 1)}
            for name, e in errors.items()
        },
        "bound": {"p50": part(bounds, 0.5), "p99": part(bounds, 0.99)},
        "beyond_bound": beyond,
        "after_300_ms_p95": part(joined, 0.95),
        "asked": len(bounds),
        "errors": {name: [part(e, 1 - share) for share in SHARES] for name, e in errors.items()},
    }


def table(results: list[dict[str, Any]]) -> str:
    """The figures as markdown."""
    heads = [*FILTERS, "bound p50", "beyond it", "300 ms after joining, p95"]
    lines = ["| link | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for r in results:
        cells = [f"{f['p50'] / 1000:.2f} / {f['p99'] / 1000:.2f}" for f in r["filters"].values()]
        cells += [f"{r['bound']['p50'] / 1000:.2f}", f"{r['beyond_bound']} of {r['asked']}"]
        cells += [f"{r['after_300_ms_p95'] / 1000:.2f}"]
        lines.append(f"| {r['link']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """One panel a link: which share of the time each filter was off by more than so much."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bandroom", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 6), sharey=True)
    styles = ["-", "--", ":", "-.", (0, (5, 1, 1, 1))]
    for axis, r in zip(axes.flat, results, strict=True):
        for (name, errors), style in zip(r["errors"].items(), styles, strict=True):
            axis.plot([max(e, 1) / 1000 for e in errors], SHARES, linestyle=style, label=name)
        axis.axvline(r["bound"]["p50"] / 1000, color="grey", linewidth=0.8)
        axis.set_title(r["link"])
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(0.001, 300)
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("error, ms")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of the time beyond it")
    axes.flat[0].legend(fontsize=8)
    figure.suptitle("Error of a device's server time from 3 s after joining (grey: the envelope's own bound, median)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Measure, print, and unless --dry write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    results = [measured(link, args.seeds, args.seconds) for link in LINKS]
    text = table(results)
    sys.stdout.write(text + "\n")
    if args.dry:
        return
    plot(results, DOCS / "clock_filters.svg")
    kept = [{key: value for key, value in r.items() if key != "errors"} for r in results]
    figures = {"unit": "µs", "seeds": args.seeds, "seconds": args.seconds, "links": kept}
    (DOCS / "clock_filters.json").write_text(json.dumps(figures, indent=1) + "\n")
    page = DOCS / "time.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
