"""What all benches share: percentiles, the machine, tables, and where the results go."""

import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"


def percentile(ordered: Sequence[float], part: float) -> float:
    """Nearest-rank percentile of values in rising order; `part` from 0 to 1. NaN for none."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, -(-int(part * len(ordered) * 1_000_000) // 1_000_000) - 1))]


def summary(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """n, p50, p95, p99, max of `values`, multiplied by `scale`."""
    ordered = sorted(values)
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {"n": len(ordered), **{name: round(percentile(ordered, p) * scale, 4) for name, p in parts.items()}}


def of_histogram(bounds: Sequence[int], counts: Sequence[int], largest: float) -> dict[str, float]:
    """The same of a histogram in µs, in ms: within a bucket the values are taken as evenly spread."""
    total = sum(counts)
    result: dict[str, float] = {"n": total}
    for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        want, seen, low = part * total, 0, 0
        value = float(largest)
        for bound, count in zip(bounds, counts, strict=False):
            if count and seen + count >= want:
                value = low + (min(bound, largest) - low) * (want - seen) / count
                break
            seen, low = seen + count, bound
        result[name] = round(value / 1000, 4)
    result["max"] = round(largest / 1000, 4)
    return result


def median_ci(groups: Sequence[Sequence[float]], rng: random.Random) -> tuple[float, float, float]:
    """The median of all values, and the ends of its 95 % confidence interval.

    By bootstrap, first of groups, then within each: values of one group may have an error in common.
    """

    def again() -> Iterator[float]:
        for group in rng.choices(groups, k=len(groups)):
            yield from rng.choices(group, k=len(group))

    medians = sorted(median(list(again())) for _ in range(2000))
    return median([it for group in groups for it in group]), percentile(medians, 0.025), percentile(medians, 0.975)


def machine() -> dict[str, Any]:
    """What it was measured on, as far as it matters."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "mosquitto": mosquitto_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def mosquitto_version() -> str:
    from bench.broker import MOSQUITTO

    if MOSQUITTO is None:
        return "none"
    said = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].removeprefix("mosquitto version ") if said else "unknown"


def machine_line(it: dict[str, Any]) -> str:
    quiet = "" if it["load_before"] < 0.5 else "  ** not idle: figures are worth little **"
    return (
        f"{it['cpu']}, {it['cores']} cores, {it['memory_gb']} GB, Linux {it['kernel']}, Python {it['python']}, "
        f"mosquitto {it['mosquitto']}; load before {it['load_before']}{quiet}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned, numbers to the right."""

    def text(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(head[i]), *(len(row[i]) for row in cells)) if cells else len(head[i]) for i in range(len(head))]
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, cells)])


def save(name: str, result: dict[str, Any]) -> Path:
    """Write `bench/results/<name>.json`; where it is."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, all its living threads, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def busy_s(pid: int) -> tuple[float, float]:
    """CPU seconds that a process has used, and seconds that it had something to do and no core to do it on."""
    used = waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        words = (thread / "schedstat").read_text().split()
        used, waited = used + int(words[0]), waited + int(words[1])
    return used / 1e9, waited / 1e9


def rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def say(text: str) -> None:
    """Progress, on stderr: stdout is for the table."""
    print(text, file=sys.stderr, flush=True)
