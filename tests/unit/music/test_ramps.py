"""Ramps against their definition, not against the formulas that they are computed by."""

import pytest
from bandroom.music.segment import Segment
from bandroom.music.units import PPQ
from hypothesis import given, settings
from hypothesis import strategies as st

ramps = st.builds(
    lambda uq, uq1, length, kind: Segment(0, 1_763_800_000_000_000, uq, uq1, length, kind),
    st.integers(100_000, 4_000_000),
    st.integers(100_000, 4_000_000),
    st.integers(240, 400_000),
    st.sampled_from(["time", "beats"]),
)


@settings(deadline=None, max_examples=200)
@given(ramps)
def test_the_tempo_is_linear_in_what_the_ramp_says(ramp: Segment):
    """At a quarter, half and three quarters of the time (or of the beats), the tempo is that part of the way."""
    assert ramp.len is not None
    assert ramp.uq1 is not None
    v0, v1 = PPQ / ramp.uq, PPQ / ramp.uq1
    total_us = ramp.us_at(ramp.len)
    for part in (0, 0.25, 0.5, 0.75, 0.999):
        x = ramp.ticks_at(part * total_us) if ramp.ramp == "time" else part * ramp.len
        assert PPQ / ramp.uq_at(x) == pytest.approx(v0 + part * (v1 - v0), rel=1e-6)


@settings(deadline=None, max_examples=100)
@given(ramps)
def test_position_is_the_integral_of_the_tempo(ramp: Segment):
    """Summing up the tempo over the ramp's time in a thousand steps gives its length; and so half-way through."""
    total_us = ramp.us_at(ramp.len or 0)
    for end_us in (total_us, total_us / 2):
        step = end_us / 1000
        ticks = sum(PPQ / ramp.uq_at(ramp.ticks_at((i + 0.5) * step)) * step for i in range(1000))
        assert ramp.ticks_at(end_us) == pytest.approx(ticks, rel=1e-5)


@settings(deadline=None, max_examples=200)
@given(ramps, st.floats(0, 3))
def test_time_and_position_are_each_others_inverse(ramp: Segment, part: float):
    """There and back within a thousandth of a tick, in the ramp and past its end, up to three times its length."""
    x = part * (ramp.len or 0)
    assert ramp.ticks_at(ramp.us_at(x)) == pytest.approx(x, abs=1e-3)


@settings(deadline=None, max_examples=100)
@given(ramps)
def test_past_its_end_a_ramp_holds_its_last_tempo(ramp: Segment):
    """One quarter more takes `uq1`, without a jump at the seam."""
    end = ramp.len or 0
    assert ramp.us_at(end + PPQ) - ramp.us_at(end) == pytest.approx(ramp.uq1, rel=1e-9)
    assert ramp.us_at(end + 1e-6) - ramp.us_at(end - 1e-6) == pytest.approx(2e-6 * (ramp.uq1 or 0) / PPQ, abs=0.01)


@pytest.mark.rule("TEMPO-5")
def test_a_standing_segment_may_tell_the_tempo_to_go_on_at():
    """`uq1` alone behind `uq` 0; behind any other, and every other part of a ramp alone, is refused."""
    assert Segment(0, 0, 0, 500_000).tempo_uq == 500_000
    assert Segment(0, 0, 0, 500_000).ticks_at(1e9) == 0
    for parts in (
        (600_000, 500_000, None, None),
        (600_000, None, 960, None),
        (600_000, 500_000, 960, None),
        (600_000, None, None, "time"),
        (0, 500_000, 960, "time"),
    ):
        with pytest.raises(ValueError, match="a ramp needs"):
            Segment(0, 0, *parts)  # type: ignore[arg-type]
