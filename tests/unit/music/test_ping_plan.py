"""When pings are sent."""

import pytest
from bandroom.music.ping_plan import PingPlan


def sent(plan: PingPlan, until_us: int, bound_us: float) -> list[int]:
    times: list[int] = []
    while (at := plan.next_us) is not None and at < until_us:
        if plan.due(at, bound_us):
            times.append(at)
    return times


def test_a_burst_at_once_then_ever_more_rarely():
    """Eight pings in the first quarter of a second; then 8/s, 4/s, and 0.8/s once the link proves good."""
    plan = PingPlan()
    plan.start(5)
    times = sent(plan, 300_000_000, 800)
    assert times[:8] == [5 + i * 30_000 for i in range(8)]
    assert sum(t < 10_000_000 for t in times) == 80
    assert sum(10_000_000 <= t < 60_000_000 for t in times) <= 208
    assert sum(100_000_000 <= t < 200_000_000 for t in times) == 80


def test_a_jittery_link_is_asked_more_often():
    """While the bound is above 2 ms: 16 pings a second for the first minute, then 4."""
    plan = PingPlan()
    plan.start(0)
    times = sent(plan, 200_000_000, 5_000)
    assert sum(t < 60_000_000 for t in times) == 960
    assert 396 <= sum(t >= 100_000_000 for t in times) <= 404


def test_the_pace_follows_the_bound():
    """A link that turns bad is asked more often from the next burst on, one that proves good less often."""
    plan = PingPlan()
    plan.start(0)
    assert len(sent(plan, 2_000_000, 5_000)) == 32
    assert len(sent(plan, 6_000_000, 800)) == 32
    assert len(sent(plan, 8_000_000, 5_000)) == 32


@pytest.mark.parametrize("bound_us", [800, 5_000])
def test_the_plan_fits_what_the_gate_allows(bound_us: int):
    """20 pings a second and 40 at once (`clock_msgs`): with two minutes on one connection, and with one that is lost
    and comes back every second five times, not one ping is too many."""
    for starts in ([0], [i * 1_000_000 for i in range(6)]):
        plan, tokens, at_us = PingPlan(), 40.0, 0
        for start, end in zip(starts, [*starts[1:], starts[-1] + 120_000_000], strict=True):
            plan.start(start)
            for t in sent(plan, end, bound_us):
                tokens = min(40.0, tokens + (t - at_us) * 20e-6) - 1
                at_us = t
                assert tokens >= 0, (starts, t)


def test_a_stall_is_not_made_up_for():
    """A device that was stopped in a burst does not send the rest in one go, nor after `stop`."""
    plan = PingPlan()
    plan.start(0)
    assert plan.due(0, 1.0)
    assert plan.due(50_000_000, 1.0)
    assert not plan.due(50_000_001, 1.0)
    plan.stop()
    assert plan.next_us is None
    assert not plan.due(90_000_000, 1.0)
