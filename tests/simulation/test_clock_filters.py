"""The clock filter on every link that a classroom may have, against the true time. Seeded: a failure names its run."""

import importlib.util
import random
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from bandroom.music.clock_filter import ClockFilter, MinRttFilter
from bandroom.music.simulation.device_clock import DriftingClock, Trace, run
from bandroom.music.simulation.links import LINKS, Ordered
from bandroom.music.simulation.rivals import Estimator, Kalman, LastSample, Median

SEEDS = range(4)
SECONDS = 150
BOARDS = Path(__file__).parents[2] / "devices/micropython/bandroom"
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
    """From the first reply on, asked four times a second: server time is within the bound, on every link."""
    (trace,) = simulated(link, seed, [ClockFilter()])
    assert_honest(trace, f"{link}, seed {seed}")


class Watched(ClockFilter):
    """Asked after each exchange too, when its bound is at its tightest; `worst_us` is the error beyond the bound."""

    def __init__(self, truth: DriftingClock) -> None:
        super().__init__()
        self._truth = truth
        self.worst_us = -inf
        self.asked = 0

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        added = super().add(t1, t2, t3, t4)
        error_us = abs(self.offset_at(t4) - self._truth.offset_at(t4))
        self.worst_us = max(self.worst_us, error_us - self.bound_at(t4))
        self.asked += 1
        return added


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("tcp", [False, True])
def test_the_bound_holds_right_after_every_reply(link: str, tcp: bool):
    """Where it is tightest, on every link as it is and through TCP: not one reply leaves an error beyond the bound."""
    for seed in range(2):
        rng = random.Random(f"{link}/{seed}/{tcp}")
        truth = DriftingClock(rng, 40)
        clock = Watched(truth)
        way = LINKS[link](rng)
        (trace,) = run(Ordered(rng, way) if tcp else way, truth, 40, [clock], warm_us=0)
        assert_honest(trace, f"{link}, seed {seed}")
        assert clock.asked > 150
        assert clock.worst_us <= 0, f"{link}, seed {seed}: the error exceeds the bound by {clock.worst_us:.1f} µs"


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
    """Ten times the usual wandering (0.2 ppm a root second, as while warming up) stays in the bound of a filter that is
    told to allow for it."""
    (trace,) = simulated("good", seed, [ClockFilter(wander=4e-6)], wander_ppm=0.2)
    assert_honest(trace, f"good, wandering, seed {seed}")


@pytest.mark.parametrize("link", GOALS_US)
def test_the_goals_are_met(link: str):
    """From 3 s after joining: p99 of the error <= 1 ms on loopback and at 10 ± 5 ms, <= 2 ms on bad WiFi."""
    errors: list[float] = []
    for seed in SEEDS:
        rng = random.Random(f"{link}/{seed}")
        (trace,) = run(LINKS[link](rng), DriftingClock(rng, SECONDS), SECONDS, [ClockFilter()])
        assert_honest(trace, f"{link}, seed {seed}")
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
        assert_honest(trace, f"jitter through TCP, seed {seed}")
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
        assert_honest(traces[0], f"{link}, seed {seed}")
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
        (trace,) = run(LINKS["good"](rng), DriftingClock(rng, 1), 1, [ClockFilter()], warm_us=0, every_us=20_000)
        assert_honest(trace, f"good, seed {seed}")
        last.append([error for at, error in trace.first_us.items() if at <= 300_000][-1])
    assert p(last, 0.95) <= 1_000


def boards(name: str) -> ModuleType:
    """A module of the boards', which this Python can run too."""
    if "boards" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "boards", BOARDS / "__init__.py", submodule_search_locations=[str(BOARDS)]
        )
        assert spec is not None
        sys.modules["boards"] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"boards.{name}")


class Board:
    """The boards' clock and filter, on a µs counter that stands at `first` at local time 0 and wraps at 2**30."""

    PERIOD = 2**30

    def __init__(self, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ticks = first
        device = boards("device")
        half = self.PERIOD // 2
        ticks = SimpleNamespace(
            ticks_us=lambda: self.ticks, ticks_diff=lambda a, b: (a - b + half) % self.PERIOD - half
        )
        monkeypatch.setattr(device, "time", ticks)
        self.clock = device.LocalClock()
        self.filter = boards("clock_filter").ClockFilter()
        self._first = first

    @property
    def synced(self) -> bool:
        return self.filter.synced

    def add(self, t1: int, t2: int, t3: int, t4: int) -> bool:
        self.ticks = (self._first + t4) % self.PERIOD
        local = self.clock.us()
        return self.filter.add(local - (t4 - t1), t2, t3, local)

    def offset_at(self, t: float) -> float:
        return self.filter.offset_at(int(t))


@pytest.mark.parametrize("first", [0, 2**30 - 5_000_000, 2**30 - 1])
def test_a_counter_that_wraps(first: int, monkeypatch: pytest.MonkeyPatch):
    """A board's µs counter wraps every 18 minutes: its clock makes one time of it that the filter never trips over."""
    rng = random.Random(f"wrap/{first}")
    plain, board = ClockFilter(), Board(first, monkeypatch)
    traces = run(LINKS["good"](rng), DriftingClock(rng, 60), 60, [plain, board])
    assert board.filter.restarts == 0
    assert traces[1].errors_us == pytest.approx(traces[0].errors_us, abs=1.5)


@pytest.mark.parametrize("first", [0, 2**30 - 5_000_000])
def test_a_boards_clock_goes_on_through_many_wraps(first: int, monkeypatch: pytest.MonkeyPatch):
    """An hour and a half, asked every ten seconds: as much has passed as has passed."""
    board = Board(first, monkeypatch)
    for local in range(0, 5_400_000_000, 10_000_000):
        board.ticks = (first + local) % Board.PERIOD
        assert board.clock.us() == local


@pytest.mark.parametrize("gap", [-29_000, -3_000, 700, 29_000])
@pytest.mark.parametrize("skew_ppm", [-100, 0, 60])
def test_a_boards_clock_is_slewed_and_never_runs_backwards(gap: int, skew_ppm: int):
    """A gap of up to 30 ms is made good by 5 ms a second at most beside the skew, and no beat tells; wider: at once.

    What is left of it is known meanwhile.
    """
    clock, skew = boards("device").Steered(), skew_ppm * 1e-6
    assert not clock.steer(1_000_000, 5_000_000_000, skew, 100, True)
    assert not clock.steer(2_000_000, clock.offset_at(2_000_000) + gap, skew, 100, True)
    target = clock.offset_at(2_000_000) + gap
    last = 2_000_000 + clock.offset_at(2_000_000)
    for local in range(2_010_000, 10_000_000, 10_000):
        now = local + clock.offset_at(local)
        assert abs(now - last - 10_000) <= 10_000 * (0.005 + abs(skew)) + 2
        last = now
        off = abs(target + skew * (local - 2_000_000) - clock.offset_at(local))
        assert clock.remaining(local) == pytest.approx(off, abs=2), "what is told of it"
    assert last == pytest.approx(9_990_000 + target + skew * 7_990_000, abs=2)
    assert clock.steer(10_000_000, clock.offset_at(10_000_000) + 31_000, skew, 100, True)
