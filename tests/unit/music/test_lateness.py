"""How late a note was, by the map."""

import pytest
from bandroom.music import edits
from bandroom.music.lateness import late_us
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap

BEGIN_US = 1_800_000_000_000_000


def a_map() -> TempoMap:
    """120 bpm, beat 0 at BEGIN_US + 150 ms, stopped at beat 8."""
    still = TempoMap.initial(1, BEGIN_US, 120, Meter.parse("4/4"))
    started = edits.start(still, 2, BEGIN_US, "now", count_in=0).map
    return edits.stop(started, 3, BEGIN_US, 8).map


@pytest.mark.rule("FB-1")
@pytest.mark.parametrize(
    ("after_start_us", "late"),
    [
        (0, 0),
        (-40_000, -40_000),
        (30_000, 30_000),
        (250_000, 0),
        (240_000, -10_000),
        (130_000, -120_000),
        (120_000, 120_000),
        (480_000, -20_000),
        (3_510_000, 10_000),
        (9_000_000, None),
        (-3_000_000, None),
    ],
)
def test_against_the_nearest_beat_or_the_middle_between_two(after_start_us: int, late: int | None) -> None:
    """Late is positive; nothing is said where no beat is near."""
    tempo_map = a_map()
    first = tempo_map.beat(0)
    assert first is not None
    assert late_us(tempo_map, first.t + after_start_us) == late
