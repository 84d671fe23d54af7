"""What a worker measures of itself, and how others read it: a small JSON file, replaced once a second."""

import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOUNDS_US = (
    10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000,
    7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000, 100_000,
)  # fmt: skip
"""Upper ends of the lateness buckets, in µs; one more bucket holds what is later. Fixed, so that workers add up."""


class Histogram:
    """Counts of values by bucket, with their sum and largest."""

    __slots__ = ("bounds", "counts", "largest", "recent", "total")

    def __init__(self, bounds: Sequence[int] = BOUNDS_US) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0
        self.largest = 0
        self.recent = 0

    def add(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if value > self.recent:
            self.recent = value
            if value > self.largest:
                self.largest = value

    def quantile(self, part: float) -> int:
        """An upper bound of the value below which `part` (0 to 1) of the values lie; 0 while there are none."""
        want = part * sum(self.counts)
        seen = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen >= want:
                return min(bound, self.largest)
        return self.largest

    def as_json(self) -> dict[str, Any]:
        """For the meters file; `recent_max` begins anew with each call."""
        recent, self.recent = self.recent, 0
        return {
            "bounds": list(self.bounds),
            "counts": self.counts,
            "sum": self.total,
            "max": self.largest,
            "recent_max": recent,
        }


class MetersFile:
    """`DIR/metrics/tempo-<n>.json`. Readers see the old text or the new one, never half of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f".{path.name}.new")
        path.parent.mkdir(mode=0o700, exist_ok=True)

    def write(self, values: dict[str, Any]) -> None:
        # No fsync: after a crash of the machine these figures are worth nothing, and a sync takes milliseconds.
        handle = os.open(self._next, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, json.dumps(values, separators=(",", ":")).encode() + b"\n")
        finally:
            os.close(handle)
        os.replace(self._next, self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
