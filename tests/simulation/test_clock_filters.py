"""The clock filter on every link that a classroom may have, against the true time. Seeded: a failure names its run."""

import importlib.util
import random
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from bandroom.music.clock_filter import ClockFilter, MinRttFilter
from bandroom.music.simulation.device_clock import DriftingClock, Trace, run
from bandroom.music.simulation.links import LINKS, Ordered
from bandroom.music.simulation.rivals import Estimator, Kalman, LastSample, Median

SEEDS = range(4)
SECONDS = 150
BOARDS = Path(__file__).parents[2] / "devices/micropython/bandroom/clock_filter.py"
GOALS_US = {
    "loopback": 1_000,
    "good": 1_000,
    "jitter": 1_000,
    "campus": 2_000,
    "power save": 2_000,
    "bufferbloat": 2_000,
    "stall up": 2_000,
}


def p(values: Sequence[float], part: float) -> float:
    ordered = sorted(abs(v) for v in values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def simulated(link: str, seed: int, filters: Sequence[Estimator], *, step_us: float = 0, **clock: float) -> list[Trace]:
    """One run; with `step_us` the server comes back after 60 s with its time moved by that much."""
    rng = random.Random(f"{link}/{seed}")
    truth = DriftingClock(rng, SECONDS, **clock)
    if step_us:
        truth.step_at_us, truth.step_us = 60_000_000, step_us
    return run(LINKS[link](rng), truth, SECONDS, filters, warm_us=0, restart=step_us != 0)


def assert_honest(trace: Trace, what: str) -> None:
    """The bound is never exceeded."""
    assert trace.errors_us, what
    worst = max(abs(e) - b for e, b in zip(trace.errors_us, trace.bounds_us, strict=True))
    assert worst <= 0, f"{what}: the error exceeds the bound by {worst:.1f} µs"


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_true_error_never_exceeds_the_bound(link: str, seed: int):
    """From the first reply on, at every moment: server time is within the bound, on every link."""
    (trace,) = simulated(link, seed, [ClockFilter()])
    assert_honest(trace, f"{link}, seed {seed}")


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("step_us", [-350_000, 2_000_000, 3_600_000_000])
def test_a_server_that_comes_back_at_another_time(link: str, step_us: int):
    """The host was rebooted: the bound holds again from the first reply on, and everything before is thrown away."""
    clock = ClockFilter()
    (trace,) = simulated(link, 1, [clock], step_us=step_us)
    assert_honest(trace, f"{link}, seed 1, step {step_us}")
    assert clock.restarts == 1


@pytest.mark.parametrize("link", ["jitter", "bufferbloat", "power save"])
def test_a_broken_connection_forgets_nothing(link: str):
    """Broker or service restarted, WiFi gone: server time is the same, so the filter goes on with what it knows. In the
    second after coming back it is as good as in the second before, where one that begins afresh is worse."""
    kept, fresh = list[float](), list[float]()
    for seed in range(12):
        rng = random.Random(f"{link}/{seed}")
        truth = DriftingClock(rng, 62)
        truth.step_at_us = 60_000_000
        clock = ClockFilter()
        (trace,) = run(LINKS[link](rng), truth, 61.3, [clock], warm_us=60_300_000, every_us=50_000, restart=True)
        assert_honest(trace, f"{link}, seed {seed}")
        assert clock.restarts == 0
        kept += trace.errors_us
        rng = random.Random(f"{link}/{seed}/fresh")
        (trace,) = run(LINKS[link](rng), DriftingClock(rng, 2), 1, [ClockFilter()], warm_us=0, every_us=50_000)
        fresh += trace.errors_us
    assert p(kept, 0.95) <= min(GOALS_US[link], p(fresh, 0.95) / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crystal_that_wanders(seed: int):
    """Ten times the usual wandering (0.2 ppm a root second, over a whole lesson's warming up) stays in the bound."""
    (trace,) = simulated("good", seed, [ClockFilter(wander=4e-6)], wander_ppm=0.2)
    assert_honest(trace, f"good, wandering, seed {seed}")


@pytest.mark.parametrize("link", GOALS_US)
def test_the_goals_are_met(link: str):
    """From 3 s after joining: p99 of the error <= 1 ms on loopback and at 10 ± 5 ms, <= 2 ms on bad WiFi."""
    errors: list[float] = []
    for seed in SEEDS:
        rng = random.Random(f"{link}/{seed}")
        (trace,) = run(LINKS[link](rng), DriftingClock(rng, SECONDS), SECONDS, [ClockFilter()])
        errors += trace.errors_us
    assert p(errors, 0.99) <= GOALS_US[link], f"{link}, seeds {list(SEEDS)}"


@pytest.mark.parametrize("link", ["jitter", "power save", "bufferbloat"])
def test_the_goals_are_met_through_tcp(link: str):
    """As devices have it: nothing overtakes, and each loss holds up what is behind it. From 5 s after joining, while
    the skew is still being learned, within the same goals; the bound is honest there, too."""
    errors: list[float] = []
    for seed in range(24):
        rng = random.Random(f"{link}/{seed}/tcp")
        clock = DriftingClock(rng, 40)
        (trace,) = run(Ordered(rng, LINKS[link](rng)), clock, 40, [ClockFilter()], warm_us=5_000_000)
        assert_honest(trace, f"{link} through TCP, seed {seed}")
        errors += trace.errors_us
    assert p(errors, 0.99) <= GOALS_US[link], f"{link} through TCP"


def test_two_devices_are_within_a_millisecond_of_each_other():
    """At 10 ± 5 ms through TCP, 5 to 40 s after joining: p95 of what two devices are apart <= 1 ms, p99 <= 2 ms."""
    traces: list[list[float]] = []
    for seed in range(16):
        rng = random.Random(f"apart/{seed}")
        clock = DriftingClock(rng, 40)
        (trace,) = run(Ordered(rng, LINKS["jitter"](rng)), clock, 40, [ClockFilter()], warm_us=5_000_000)
        traces.append(trace.errors_us)
    apart = [a - b for i, one in enumerate(traces) for other in traces[:i] for a, b in zip(one, other, strict=False)]
    assert p(apart, 0.95) <= 1_000
    assert p(apart, 0.99) <= 2_000


@pytest.mark.parametrize("link", LINKS)
def test_no_rival_is_much_better_and_each_fails_somewhere(link: str):
    """The envelope's p99 is at most half a ms, or twice the best rival's, on every link; the worst one's is above."""
    envelope: list[float] = []
    rivals: dict[str, list[float]] = {"last": [], "median": [], "min rtt": [], "kalman": []}
    for seed in SEEDS[:3]:
        rng = random.Random(f"{link}/{seed}")
        filters = [ClockFilter(), LastSample(), Median(), MinRttFilter(), Kalman()]
        traces = run(LINKS[link](rng), DriftingClock(rng, SECONDS), SECONDS, filters)
        envelope += traces[0].errors_us
        for name, trace in zip(rivals, traces[1:], strict=True):
            rivals[name] += trace.errors_us
    best = min(p(errors, 0.99) for errors in rivals.values())
    assert p(envelope, 0.99) <= max(500, 2 * best), f"{link}: the best rival is at {best:.0f}"
    worst = max(p(errors, 0.99) for errors in rivals.values())
    assert worst > p(envelope, 0.99)


def test_a_clock_to_play_by_within_300_ms():
    """On a good link the first burst is enough: p95 of the error 300 ms after joining is below 1 ms."""
    last: list[float] = []
    for seed in range(40):
        rng = random.Random(f"join/{seed}")
        (trace,) = run(LINKS["good"](rng), DriftingClock(rng, 1), 1, [ClockFilter()])
        last.append([error for at, error in trace.first_us.items() if at <= 300_000][-1])
    assert p(last, 0.95) <= 1_000


def boards() -> ModuleType:
    """The boards' module, which this Python can run too."""
    spec = importlib.util.spec_from_file_location("boards_clock_filter", BOARDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Board:
    """The boards' filter, fed from a µs counter that stands at `first` at local time 0 and wraps at 2**30."""

    def __init__(self, first: int) -> None:
        module = boards()
        self.filter = module.ClockFilter()
        self._counter = module.Unwrapped(2**30)
        self._first = first
        self._zero: int | None = None

    @property
    def synced(self) -> bool:
        return self.filter.synced

    def add(self, t1: int, t2: int, t3: int, t4: int) -> bool:
        # What the board calls 0 is when it first looked at its counter.
        self._zero = t4 if self._zero is None else self._zero
        local = self._counter.us((t4 + self._first) % 2**30)
        return self.filter.add(local - (t4 - t1), t2, t3, local)

    def offset_at(self, t: float) -> float:
        assert self._zero is not None
        return self.filter.offset_at(int(t) - self._zero) - self._zero


@pytest.mark.parametrize("first", [0, 2**30 - 5_000_000, 2**30 - 1])
def test_a_counter_that_wraps(first: int):
    """A board's µs counter wraps every 18 minutes: unwrapped, it makes one time that the filter never trips over."""
    rng = random.Random(f"wrap/{first}")
    plain, board = ClockFilter(), Board(first)
    traces = run(LINKS["good"](rng), DriftingClock(rng, 60), 60, [plain, board])
    assert board.filter.restarts == 0
    assert traces[1].errors_us == pytest.approx(traces[0].errors_us, abs=1.5)
