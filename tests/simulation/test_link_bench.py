"""How the bench judges what peers without a server tell."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.link import apart_us, judged, together


def test_phases_are_compared_round_the_bar():
    """0.01 beats before the bar and 0.01 after it are 10 ms apart at 120 bpm, not two seconds."""
    assert round(apart_us(3.99, 0.01)) == 10_000


def test_who_is_near_nobody_has_not_joined():
    """The largest group counts; one alone is none."""
    assert together({0: 1.0, 1: 1.001, 2: 3.0}) == {0, 1}
    assert together({0: 1.0, 1: 2.0}) == set()
    assert together({}) == set()


def test_peers_have_joined_from_when_they_stay():
    """The second peer comes 0.1 s after the first and is with it 0.15 s later; a third one knows of nobody: that
    its beat lies where theirs do counts for nothing."""
    first = {"first": 100, "phase": [1.0] * 22, "others": [0] * 5 + [1] * 17}
    second = {"first": 102, "phase": [3.0] * 3 + [1.002] * 17, "others": [0] * 3 + [1] * 17}
    third = {"first": 100, "phase": [1.0] * 22, "others": [0] * 22}
    found = judged([first, second, third], seconds=0.5)
    assert (found["peers"], found["joined"]) == (3, 2)
    assert found["joined_ms"]["max"] == 250
    assert found["apart"]["p50"] == 1.0
