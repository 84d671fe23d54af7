"""A class plays together through tempo changes, on links as they are. Seeded: a failure names its run."""

import random
from itertools import pairwise

import pytest
from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.simulation.device_clock import DriftingClock
from bandroom.music.simulation.lesson import Onset, Published, play
from bandroom.music.simulation.links import LINKS
from bandroom.music.tempo_map import TempoMap

SECONDS = 60
T0 = 1_763_800_001_500_000


def lesson() -> list[Published]:
    """Start, a change at the bar, a ramp, 3/4, a pause, and on; sent as a teacher would, seconds apart."""
    m = TempoMap.initial(1, T0, 100, Meter.parse("4/4"))
    out = [Published(T0, m)]

    def edited(after_s: float, edit: edits.Edit) -> TempoMap:
        out.append(Published(T0 + after_s * 1e6, edit.map))
        return edit.map

    m = edited(2, edits.start(m, 2, T0 + 2_000_000))
    m = edited(12, edits.set_tempo(m, 3, T0 + 12_000_000, 140))
    m = edited(20, edits.set_tempo(m, 4, T0 + 20_000_000, 80, ramp="beats", over=12))
    m = edited(33, edits.set_meter(m, 5, T0 + 33_000_000, Meter.parse("3/4")))
    m = edited(41, edits.stop(m, 6, T0 + 41_000_000))
    edited(45, edits.continue_(m, 7, T0 + 45_000_000))
    return out


def heard(link: str, seed: int, asleep: tuple[float, float] = (0, 0)) -> list[Onset]:
    """A lesson's onsets on one device that joined 1 s before it."""
    rng = random.Random(f"lesson/{link}/{seed}")
    truth = DriftingClock(rng, SECONDS)
    maps = lesson()
    shift = truth.offset_at(1_000_000) + 1_000_000 - T0  # the server's time is what this device's clock says it is
    moved = [Published(p.at_us + shift, shifted(p.map, round(shift))) for p in maps]
    return play(LINKS[link](rng), truth, moved, SECONDS, asleep)


def shifted(m: TempoMap, by_us: int) -> TempoMap:
    """The same map at another time."""
    seg = tuple(type(s)(s.k, s.t + by_us, s.uq, s.uq1, s.len, s.ramp) for s in m.seg)
    return TempoMap(m.rev, seg, m.met)


@pytest.mark.parametrize(("link", "goal_us"), [("loopback", 1_000), ("good", 1_000), ("power save", 2_000),
                                               ("bufferbloat", 2_000), ("jitter", 2_000)])  # fmt: skip
def test_a_class_of_eight_plays_every_beat_once_and_together(link: str, goal_us: int):
    """Eight devices, seconds and ppm apart: all sound the same beats, in order; p99 of how far off is within goal."""
    onsets = [heard(link, seed) for seed in range(8)]
    numbers = [[o.n for o in device] for device in onsets]
    for seed, device in enumerate(numbers):
        assert device == list(range(device[0], device[-1] + 1)), f"{link}, seed {seed}"
        # Numbers go on through the ramp, the other meter and the pause; nothing of the lesson is missing.
        assert device[0] == -4, f"{link}, seed {seed}"
        assert device[-1] >= 79, f"{link}, seed {seed}"
    errors = sorted(abs(o.error_us) for device in onsets for o in device)
    assert errors[int(len(errors) * 0.99)] <= goal_us, f"{link}: {errors[-5:]}"


@pytest.mark.parametrize("seed", range(4))
def test_a_device_that_slept_comes_back_at_a_bar(seed: int):
    """A tablet asleep from 15 to 23.3 s replays nothing and comes in at the first beat of a bar, on the grid."""
    onsets = heard("good", seed, (15, 23.3))
    gap = max(pairwise(onsets), key=lambda pair: pair[1].due_us - pair[0].due_us)
    before = [o for o in onsets if o.due_us <= gap[0].due_us]
    after = [o for o in onsets if o.due_us >= gap[1].due_us]
    assert len(before) + len(after) == len(onsets)
    # The pause of the lesson is shorter than this sleep.
    assert gap[1].due_us - gap[0].due_us > 8_000_000
    assert gap[1].pos == 1
    assert max(abs(o.error_us) for o in after) < 2_000
