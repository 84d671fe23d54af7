"""Tempo from taps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from bandroom.music.units import US_PER_MINUTE

MAX_TAPS: Final = 16
MIN_TAPS: Final = 3
PAUSE_US: Final = 3_200_000
"""A gap longer than the slowest beat (3 s at 20 bpm): what follows is a new try."""


def tap_bpm(times_us: Sequence[int]) -> float | None:
    """Taps a minute, one decimal, by least squares over the last run of at most 16 taps; None for fewer than 3.

    A gap of about two intervals counts as a missed tap, one much shorter than the others as a bounce.
    """
    run: list[int] = []
    for t in times_us:
        if run and (t <= run[-1] or t - run[-1] > PAUSE_US):
            run = []
        run.append(t)
    run = run[-MAX_TAPS:]
    if len(run) < MIN_TAPS:
        return None
    gaps = sorted(b - a for a, b in pairwise(run))
    typical = gaps[len(gaps) // 2]
    places, taps = [0], [run[0]]
    for t in run[1:]:
        step = round((t - taps[-1]) / typical)
        if step >= 1:
            places.append(places[-1] + step)
            taps.append(t)
    if len(taps) < MIN_TAPS:
        return None
    mean_place, mean_t = sum(places) / len(places), sum(t - taps[0] for t in taps) / len(taps)
    above = sum((p - mean_place) * (t - taps[0] - mean_t) for p, t in zip(places, taps, strict=True))
    below = sum((p - mean_place) ** 2 for p in places)
    return round(US_PER_MINUTE * below / above, 1)


@dataclass(frozen=True, slots=True)
class Taps:
    """The taps so far (server times, µs), for whoever gets them one at a time."""

    times_us: tuple[int, ...] = ()

    def add(self, t_us: int) -> Self:
        """With one tap more; starts afresh after a pause."""
        last = self.times_us[-1] if self.times_us else t_us
        kept = self.times_us if last < t_us <= last + PAUSE_US else ()
        return type(self)((*kept, t_us)[-MAX_TAPS:])

    @property
    def bpm(self) -> float | None:
        """See `tap_bpm`."""
        return tap_bpm(self.times_us)
