"""A device through a lesson: its link, its clock, its filter and its scheduler, and when it really sounds."""

from collections.abc import Sequence
from typing import NamedTuple

from bandroom.music.clock_filter import ClockFilter
from bandroom.music.scheduler import Due, Scheduler
from bandroom.music.simulation.device_clock import DriftingClock, exchanges
from bandroom.music.simulation.links import Link
from bandroom.music.slew import SlewedClock
from bandroom.music.tempo_map import TempoMap

_STEP_US = 10_000
_STEER_EVERY = 10


class Onset(NamedTuple):
    """Beat `n` of revision `rev`, due at `due_us`, sounded at `at_us`: both in true server time."""

    rev: int
    n: int
    pos: int
    due_us: int
    at_us: float

    @property
    def error_us(self) -> float:
        """How late it sounded."""
        return self.at_us - self.due_us


class Published(NamedTuple):
    """A map that was sent at server time `at_us`."""

    at_us: float
    map: TempoMap


def play(
    link: Link,
    truth: DriftingClock,
    maps: Sequence[Published],
    seconds: float,
    asleep: tuple[float, float] = (0.0, 0.0),
) -> list[Onset]:
    """What a device sounds in `seconds`; from `asleep[0]` to `asleep[1]` (s) its program does not run."""
    known, clock, scheduler = ClockFilter(), SlewedClock(), Scheduler()
    replies = exchanges(link, truth, seconds, lambda t: known.bound_at(t) if known.synced else 1e9)
    reply = next(replies, None)
    waiting = [(p.at_us + link.down(0), p.map) for p in maps]
    announced: list[tuple[int, Due]] = []
    for step in range(int(seconds * 1e6 / _STEP_US)):
        local = step * _STEP_US
        if asleep[0] * 1e6 <= local < asleep[1] * 1e6:
            continue
        while reply is not None and reply.t4 <= local:
            known.add(reply.t1, reply.t2, reply.t3, reply.t4)
            reply = next(replies, None)
        if not known.synced:
            continue
        if step % _STEER_EVERY == 0 or not clock.set:
            playing = bool(announced)
            if clock.steer(local, known.offset_at(local), known.skew_ppm * 1e-6, playing=playing) == "resync":
                scheduler.rest_until_bar()
        server = local + truth.offset_at(local)
        for arrival in [w for w in waiting if w[0] <= server]:
            waiting.remove(arrival)
            gone = {e.beat for e in scheduler.set_map(arrival[1], local, clock)}
            announced = [a for a in announced if a[1].beat not in gone]
        revision = scheduler.tempo_map.rev if scheduler.tempo_map else 0
        for event in scheduler.poll(local, clock):
            if isinstance(event, Due):
                announced.append((revision, Due(event.beat, max(event.at_us, local), event.late_us)))
    return [
        Onset(rev, due.beat.n, due.beat.pos, due.beat.t, due.at_us + truth.offset_at(due.at_us))
        for rev, due in announced
    ]
