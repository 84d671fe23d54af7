"""What /metrics tells of the tempo workers, from the files that they write."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bandroom.beats.meters import Histogram, MetersFile
from bandroom.paths import Home
from bandroom.web.api import metrics


def told(folder: Path, workers: int) -> dict[tuple[str, str, str | None], float]:
    """Every sample by its name, its worker and its `le`."""
    site: Any = SimpleNamespace(
        state=SimpleNamespace(tempo_workers=workers), service=SimpleNamespace(home=Home(folder))
    )
    families = metrics._workers(site)  # pyright: ignore[reportPrivateUsage]
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, s.labels["worker"], s.labels.get("le")): s.value for s in samples}


def test_lateness_is_a_histogram_in_seconds_and_drops_and_rooms_stand_beside_it(tmp_path: Path) -> None:
    """Buckets add up and end at +Inf, whose count is that of the beats; a worker that wrote nothing is left out."""
    late = Histogram((10, 1_000, 100_000))
    for us in (5, 10, 700, 1_000, 70_000, 250_000):
        late.add(us)
    figures = {"rooms": 7, "running": 3, "connected": True, "dropped_late": 4, "lateness_us": late.as_json()}
    figures |= {"unsent": 5, "send_ns": 250_000_000, "stalls": 1, "lanes_lost": 2}
    MetersFile(tmp_path / "metrics" / "tempo-1.json").write(figures)
    found = told(tmp_path, workers=3)
    assert {worker for _, worker, _ in found} == {"tempo-1"}
    name = "bandroom_beat_lateness_seconds"
    buckets = [(le, value) for (it, _, le), value in found.items() if it == f"{name}_bucket"]
    assert [(float(le or "nan"), value) for le, value in buckets] == [
        (1e-5, 2), (1e-3, 4), (0.1, 5), (float("inf"), 6),
    ]  # fmt: skip
    assert found[f"{name}_count", "tempo-1", None] == 6
    assert round(found[f"{name}_sum", "tempo-1", None], 9) == 0.321715
    assert found["bandroom_beats_total", "tempo-1", None] == 6
    assert found["bandroom_beats_dropped_late_total", "tempo-1", None] == 4
    assert found["bandroom_worker_rooms", "tempo-1", None] == 7
    assert found["bandroom_worker_running", "tempo-1", None] == 3
    assert found["bandroom_beats_unsent_total", "tempo-1", None] == 5
    assert found["bandroom_beats_write_seconds_total", "tempo-1", None] == 0.25
    assert found["bandroom_worker_stalls_total", "tempo-1", None] == 1
    assert found["bandroom_worker_lanes_lost_total", "tempo-1", None] == 2
