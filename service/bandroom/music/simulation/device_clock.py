"""A device's clock and its exchanges with a server, as they would have been; true time is known here."""

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

from bandroom.music.clock_filter import ClockFilter
from bandroom.music.ping_plan import BURST, STEP_US, PingPlan
from bandroom.music.simulation.links import Link
from bandroom.music.simulation.rivals import Estimator

_GRID_US: Final = 100_000
_BURST_US: Final = (BURST - 1) * STEP_US
_SERVER_EPOCH_US: Final = 1_763_800_000_000_000


class DriftingClock:
    """Server minus local time at any local time: an offset, a skew up to ±50 ppm that wanders, and one step."""

    def __init__(self, rng: random.Random, seconds: float, *, wander_ppm: float = 0.02) -> None:
        self.step_at_us = float("inf")
        self.step_us = 0.0
        skew = rng.uniform(-50e-6, 50e-6)
        offset = _SERVER_EPOCH_US + rng.uniform(0, 1e9)
        self._offsets = [offset]
        for _ in range(int(seconds * 1e6 / _GRID_US) + 20):
            skew += rng.gauss(0, wander_ppm * 1e-6) * sqrt(_GRID_US / 1e6)
            skew = min(max(skew, -60e-6), 60e-6)
            offset += skew * _GRID_US
            self._offsets.append(offset)

    def offset_at(self, local_us: float) -> float:
        """Server minus local time, exactly."""
        i = min(int(local_us / _GRID_US), len(self._offsets) - 2)
        part = local_us / _GRID_US - i
        step = self.step_us if local_us >= self.step_at_us else 0.0
        return self._offsets[i] + part * (self._offsets[i + 1] - self._offsets[i]) + step


@dataclass(frozen=True, slots=True)
class Exchange:
    """One clock exchange, in whole µs as programs read their clocks."""

    t1: int
    t2: int
    t3: int
    t4: int


@dataclass(slots=True)
class Trace:
    """How one filter did: at each moment asked, its error and its bound (µs), after the warm-up."""

    errors_us: list[float] = field(default_factory=lambda: [])
    bounds_us: list[float] = field(default_factory=lambda: [])
    first_us: dict[int, float] = field(default_factory=lambda: {})
    """Error at some ms after joining."""


def exchanges(
    link: Link, clock: DriftingClock, seconds: float, bound_us: Callable[[float], float], restart_us: float = -1.0
) -> Iterator[Exchange]:
    """The exchanges of a device that pings by plan, in the order in which the replies arrive.

    `restart_us`: the connection breaks then and is back 300 ms later.
    """
    plan = PingPlan()
    plan.start(0)
    flying: list[tuple[float, int, int]] = []
    reconnected = restart_us < 0
    # The plan looks at the bound when a burst ends; asking for it at each ping would be most of the work.
    asked_us, known_us = -_BURST_US, 0.0
    while (now := plan.next_us) is not None and (now < seconds * 1e6 or not reconnected):
        while flying and flying[0][0] <= now:
            arrives, t1, t2 = heapq.heappop(flying)
            yield Exchange(t1, t2, t2, int(arrives))
        if not reconnected and now >= restart_us:
            reconnected = True
            flying.clear()
            plan.start(int(restart_us) + 300_000)
            continue
        if now - asked_us >= _BURST_US:
            asked_us, known_us = now, bound_us(now)
        if not plan.due(now, known_us):
            continue
        at_server = now + link.up(now)
        server = at_server + clock.offset_at(at_server)
        arrives = at_server + link.down(at_server)
        if not link.lost():
            heapq.heappush(flying, (arrives, now, int(server)))


def run(
    link: Link,
    clock: DriftingClock,
    seconds: float,
    filters: Sequence[Estimator],
    *,
    warm_us: float = 3_000_000,
    every_us: int = 250_000,
    restart: bool = False,
) -> list[Trace]:
    """Feed one run's exchanges to all `filters`; the first one's bound steers the pings. A trace for each."""
    traces = [Trace() for _ in filters]
    lead = filters[0]

    def bound(now: float) -> float:
        return lead.bound_at(now) if isinstance(lead, ClockFilter) and lead.synced else 1e9

    asked = 0
    first_known = float("inf")
    restart_us = clock.step_at_us if restart else -1.0
    unknown = (clock.step_at_us, float("inf"))
    for e in exchanges(link, clock, seconds, bound, restart_us):
        while asked <= e.t4:
            _ask(traces, filters, clock, asked, warm_us, unknown)
            asked += every_us
        for f in filters:
            f.add(e.t1, e.t2, e.t3, e.t4)
        if e.t1 >= clock.step_at_us and unknown[1] == float("inf"):
            unknown = (clock.step_at_us, e.t4)
        first_known = min(first_known, e.t4)
        for f, trace in zip(filters, traces, strict=True):
            _note(trace, f, clock, e.t4)
    return traces


def _ask(
    traces: list[Trace],
    filters: Sequence[Estimator],
    clock: DriftingClock,
    t: int,
    warm_us: float,
    unknown: tuple[float, float],
) -> None:
    if unknown[0] <= t < unknown[1]:
        return  # the server's time is another than it was, and nobody could know yet
    for f, trace in zip(filters, traces, strict=True):
        if f.synced and t >= warm_us:
            trace.errors_us.append(f.offset_at(t) - clock.offset_at(t))
            if isinstance(f, ClockFilter):
                trace.bounds_us.append(f.bound_at(t))


def _note(trace: Trace, f: Estimator, clock: DriftingClock, t: int) -> None:
    # By local time since joining: the error just after each reply of the first half second.
    if t <= 600_000:
        trace.first_us[t] = f.offset_at(t) - clock.offset_at(t)
