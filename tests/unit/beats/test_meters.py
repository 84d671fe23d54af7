"""The worker's histogram and its file."""

import json
from pathlib import Path

from bandroom.beats.meters import Histogram, MetersFile
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.99, 1.0]))
def test_a_quantile_is_never_understated(values: list[int], part: float) -> None:
    """At least that part of the values lies at or below what `quantile` says, and never above the largest."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    bound = histogram.quantile(part)
    assert sum(value <= bound for value in values) >= part * len(values)
    assert bound <= max(values)


def test_counts_sum_and_largest() -> None:
    """A value on a bound belongs to that bucket; what is later than all bounds has a bucket; recent begins anew."""
    histogram = Histogram((10, 20))
    for value in (0, 10, 11, 20, 21, 5000):
        histogram.add(value)
    assert histogram.as_json() == {
        "bounds": [10, 20], "counts": [2, 2, 2], "sum": 5062, "max": 5000, "recent_max": 5000,
    }  # fmt: skip
    histogram.add(7)
    assert histogram.as_json()["recent_max"] == 7
    assert histogram.largest == 5000
    assert Histogram().quantile(0.99) == 0


def test_the_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """Each write replaces the file; nothing else stays in the folder; other users cannot read it."""
    path = tmp_path / "metrics" / "tempo-0.json"
    meters = MetersFile(path)
    for number in range(3):
        meters.write({"n": number})
        assert json.loads(path.read_text()) == {"n": number}
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o077 == 0
    meters.remove()
    meters.remove()
    assert not path.exists()
