"""How long it takes to ask a tempo map for its next beat, 10,000 rooms in turn, and how much memory a map takes.

python bench/tempo_map.py       prints one JSON line; µs a call, the best of five rounds
"""

import json
import random
import sys
import time
import tracemalloc

from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap

T0 = 1_763_800_000_000_000
ROOMS = 10_000


def room(rng: random.Random, *, ramp: bool = False) -> TempoMap:
    """A room that plays, of its own tempo."""
    m = TempoMap.initial(1, T0, rng.uniform(60, 180), Meter.of(4, 4))
    m = edits.start(m, 2, T0 + rng.randrange(1_000_000)).map
    if ramp:
        m = edits.set_tempo(m, 3, T0 + 1_000_000, 90, 0, ramp="time", over=4000).map
    return m


def best_us(maps: list[TempoMap], at_us: int) -> float:
    """µs a call of `next_beat`, the best round of five."""
    rounds: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        for m in maps:
            m.next_beat(at_us)
        rounds.append((time.perf_counter() - began) / len(maps) * 1e6)
    return min(rounds)


def main() -> None:
    """Measure and print."""
    rng = random.Random(1)
    tracemalloc.start()
    maps = [room(rng) for _ in range(1000)]
    bytes_a_map = tracemalloc.get_traced_memory()[0] / len(maps)
    tracemalloc.stop()
    maps = [room(rng) for _ in range(ROOMS)]
    later = T0 + 3_600_000_000
    figures = {
        "next_beat_us": round(best_us(maps, later), 2),
        "next_beat_on_a_ramp_us": round(best_us([room(rng, ramp=True) for _ in range(1000)], T0 + 60_000_000), 2),
        "bytes_a_map": round(bytes_a_map),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
