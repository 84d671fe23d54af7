"""The demo's figures, picture and recording."""

from __future__ import annotations

from pathlib import Path

import mido
import pytest
from bandroom.music.edits import start
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap
from bandroom_devices.demo.observer import grid_us
from bandroom_devices.demo.recording import Recording
from bandroom_devices.demo.show import dashboard
from bandroom_devices.demo.tally import PlayerTally, Tally, nearest_rank
from bandroom_devices.score import Cue, Part
from rich.console import Console

T0 = 1_700_000_000_000_000


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (95, 10), (100, 10), (1, 1)])
def test_percentiles_are_values_that_occurred(percent: float, expected: int) -> None:
    """Nearest rank: of 1 to 10, half are at most 5, and 95 % at most 10."""
    assert nearest_rank(list(range(10, 0, -1)), percent) == expected


def tally() -> Tally:
    """Two notes heard of one player, one early and one late."""
    heard = Tally({"s-a": PlayerTally("Flute", 0, -3_000_000, 12.5, 4)})
    for position, off_us in ((0.0, -300), (960.0, 1_500)):
        heard.take(
            {"kind": "note", "player": "s-a", "begins": True, "note": 60, "off_us": off_us, "position": position}
        )
    heard.take({"kind": "beat", "n": 0, "bar": 1, "pos": 1, "bpm": 112.0, "error_us": 210})
    return heard


def test_the_demos_figures_are_in_milliseconds_with_their_sign() -> None:
    """Median and worst keep early and late apart; the 95 % figure is a distance."""
    told = tally().summary()
    assert (told["median_ms"], told["worst_ms"], told["p95_ms"]) == (0.6, 1.5, 1.5)
    assert (told["heard"], told["expected"], told["observer_error_ms"]) == (2, 4, 0.21)
    assert told["players"][0]["clock_off_s"] == -3.0
    assert Tally().summary()["median_ms"] is None


def test_the_demos_picture_fits_eighty_columns() -> None:
    """Bar, beat, who plays what, and the figures, without wrapping or cutting."""
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(dashboard(tally(), "Frère Jacques", ""))
    text = console.export_text()
    for wanted in ("bar  1", "112 bpm", "Flute", "C4", "2/4", "+0.60", "+1.50", "-3.0 s +12 ppm"):
        assert wanted in text
    assert "…" not in text


def test_a_note_between_two_eighths_counts_to_the_nearer() -> None:
    """At 120 bpm eighths lie 250 ms apart; what comes 100 ms after one is 100 ms late, 150 ms after: 100 ms early."""
    tempo_map = start(TempoMap.initial(1, T0, 120, Meter.parse("4/4")), 2, T0, "now", count_in=0).map
    first = tempo_map.time_at(0)
    assert first is not None
    assert grid_us(tempo_map, first + 100_000) == first
    assert grid_us(tempo_map, first + 150_000) == first + 250_000


def test_the_recording_keeps_notes_where_they_were_heard(tmp_path: Path) -> None:
    """Positions are not moved to the grid, and a tempo change stands where it was."""
    recording = Recording()
    recording.take({"kind": "map", "seg": [[-3840, 500_000], [960, 250_000]]})
    for position, begins in ((3.4, True), (955.2, False)):
        recording.take(
            {"kind": "note", "position": position, "begins": begins, "note": 60, "velocity": 90 * begins, "channel": 2}
        )
    recording.save(tmp_path / "heard.mid", (Part("Flute", 2, 73, (Cue(0, on=(60,)),)),))
    head, flute = mido.MidiFile(tmp_path / "heard.mid").tracks
    assert [(m.time, m.tempo) for m in head if m.type == "set_tempo"] == [(0, 500_000), (960, 250_000)]
    assert [(m.type, m.time) for m in flute if m.type.startswith("note")] == [("note_on", 3), ("note_off", 952)]
