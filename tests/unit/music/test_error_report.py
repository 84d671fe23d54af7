"""When a device tells of its clock's error bound."""

import itertools
from math import inf

import pytest
from bandroom.music.error_report import AGAIN_US, EVERY_US, WIDEST_US, ErrorReport
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.rule("PRES-4")
def test_the_first_bound_is_told_and_then_what_has_doubled_or_halved() -> None:
    """At once when it is known; later only past a factor of two, and not within 10 s of the last report."""
    report = ErrorReport()
    assert report.due(0, inf) is None
    assert report.due(300_000, 850.2) == 851
    assert report.due(5_000_000, 100.0) is None
    assert report.due(300_000 + EVERY_US, 425.5) is None
    assert report.due(300_000 + EVERY_US, 425.0) == 425
    assert report.due(30_000_000, 850.0) is None
    assert report.due(30_000_000, 850.1) == 851
    assert report.due(60_000_000, 1e9) == WIDEST_US
    assert report.due(90_000_000, 0.0) == 1


@pytest.mark.rule("PRES-5")
def test_what_is_no_news_is_told_again_after_twenty_seconds() -> None:
    """So that one that falls silent is known to have gone; with bursts every 10 s, at least every 30 s."""
    report = ErrorReport()
    told = [now_us for now_us in range(0, 600_000_000, 10_000_000) if report.due(now_us + now_us % 7, 850.0)]
    gaps = {later - earlier for earlier, later in itertools.pairwise(told)}
    assert gaps <= {AGAIN_US, 30_000_000}


@pytest.mark.rule("PRES-4")
@given(st.lists(st.tuples(st.integers(0, 5_000_000), st.floats(0, 2e7) | st.just(inf)), max_size=60))
def test_reports_are_seldom_and_what_was_told_last_is_never_long_wrong(steps: list[tuple[int, float]]) -> None:
    """Never two within 10 s; 10 s after a report, what stands as told is within a factor of two of the bound."""
    report, now_us, told = ErrorReport(), 0, list[tuple[int, int]]()
    for passed_us, bound_us in steps:
        now_us += passed_us
        error_us = report.due(now_us, bound_us)
        if error_us is not None:
            assert not told or now_us - told[-1][0] >= EVERY_US
            assert 1 <= error_us <= WIDEST_US
            told.append((now_us, error_us))
        if bound_us < inf and (now_us - told[-1][0] >= EVERY_US or error_us is not None):
            limited_us = min(max(bound_us, 1), WIDEST_US)
            assert told[-1][1] / 2 - 1 <= limited_us <= told[-1][1] * 2
