"""The protocol's rules on tempo and beats, shown on the map that a message carries."""

from __future__ import annotations

import pytest
from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.scheduler import Due, Scheduler
from bandroom.music.slew import SlewedClock
from bandroom.music.tempo_map import TempoMap
from bandroom.wire import messages as m
from bandroom.wire.tempo import from_message, to_message

T0 = 1_763_800_000_000_000
LEAD_US = 150_000


def playing() -> TempoMap:
    """Beat 0 of a 4/4 at 120 is due 150 ms from T0."""
    return edits.start(TempoMap.initial(1, T0, 120, Meter.parse("4/4")), 2, T0, count_in=0).map


def told(tempo_map: TempoMap) -> TempoMap:
    """The map as a hearer has it, by its message."""
    return from_message(m.Tempo.decode(to_message(tempo_map).encode()))


@pytest.mark.rule("TEMPO-3")
@pytest.mark.parametrize(("at", "first"), [("beat", 1), ("bar", 4), (6, 6)])
def test_edits_take_effect_at_their_boundary(at: edits.At, first: int) -> None:
    """An edit made while beat 0 sounds holds from the next beat, bar or the given beat on, not before."""
    beat_0 = playing().beat(0)
    assert beat_0 is not None
    edit = edits.set_tempo(playing(), 3, beat_0.t + 1000, 90, at)
    hearer = told(edit.map)
    assert [hearer.beat(n).bpm for n in (first - 1, first, first + 1)] == [120.0, 90.0, 90.0]  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.rule("TEMPO-3")
@pytest.mark.parametrize("at", ["beat", "bar", "now", 4])
@pytest.mark.parametrize("early_us", [1, LEAD_US - 1, LEAD_US, LEAD_US + 1, 400_000])
def test_edits_are_announced_150_ms_ahead(at: edits.At, early_us: int) -> None:
    """Whenever it is made, an edit holds no sooner than 150 ms later: everybody has heard of it by then."""
    bar = playing().beat(4)
    assert bar is not None
    now_us = bar.t - early_us
    edit = edits.set_tempo(playing(), 3, now_us, 90, at)
    assert edit.t >= now_us + LEAD_US
    before = edit.t - 1
    assert edit.map.position_at(before) == pytest.approx(playing().position_at(before))


@pytest.mark.rule("BEAT-3")
def test_each_beat_is_played_once_whatever_is_told_again() -> None:
    """The same map told again and again, and older ones, make no beat sound twice and none be missed."""
    clock, scheduler = SlewedClock(), Scheduler()
    clock.steer(0, T0)
    old, new = playing(), edits.set_tempo(playing(), 3, T0 + 600_000, 100, "bar").map
    heard: list[int] = []
    for local_us in range(0, 10_000_000, 20_000):
        scheduler.set_map(told(old if local_us < 600_000 else new), local_us, clock)
        heard += [event.beat.n for event in scheduler.poll(local_us, clock) if isinstance(event, Due)]
    assert heard == list(range(len(heard)))
    assert len(heard) > 15
