"""Makes tempo.json: maps after random edits, and what every client must read from them.

    python tests/contract/tempo_vectors.py          writes the file
    python tests/contract/tempo_vectors.py --check  fails where the file is not what this would write

Each case: {map: as on the wire, at: [{t, k, running, bpm, next, last}], beats: [{n, bar, pos, bpm, t, d}],
none: [n], times: [{k, t}]}. k may be off by what a microsecond is in ticks, t and d by 1 µs, bpm by 0.001.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap

FILE = Path(__file__).with_name("tempo.json")
SEED = 2
CASES = 60
T0 = 1_763_800_000_000_000
METERS = ("4/4", "3/4", "6/8", "7/8:2+2+3", "5/4:3+2", "2/2", "12/8", "6/8@8", "9/8:3+3+3", "1/4")


def wire(m: TempoMap) -> dict[str, Any]:
    """The map as it travels, parts that are not there left out."""
    seg = [
        {key: v for key in ("k", "t", "uq", "uq1", "len", "ramp") if (v := getattr(s, key)) is not None} for s in m.seg
    ]
    met = [
        {"n": c.n, "k": c.k, "bar": c.bar, "num": c.meter.num, "den": c.meter.den, "q": c.meter.q}
        | ({"grp": list(c.meter.grp)} if c.meter.grp else {})
        for c in m.met
    ]
    return {"rev": m.rev, "seg": seg, "met": met}


def edited(rng: random.Random, m: TempoMap, now: int) -> TempoMap:
    """`m` after one random edit, or as it was where that one is refused."""
    at = rng.choice(["bar", "beat", "now", rng.randrange(-4, 60)])
    ramp = rng.choice([None, "time", "beats"])
    over = None if ramp is None else rng.choice([0.5, 1, 4, 7, 16, 64])
    bpm = rng.choice([20, 400, 120, 133.33, round(rng.uniform(40, 240), 2)])
    try:
        match rng.choice(["start", "stop", "continue", "tempo", "tempo", "tempo", "meter", "meter", "cancel"]):
            case "start":
                m = edits.start(m, m.rev + 1, now, count_in=rng.randrange(3), pickup=rng.choice([0, 0, 1])).map
            case "stop":
                m = edits.stop(m, m.rev + 1, now, at).map
            case "continue":
                m = edits.continue_(m, m.rev + 1, now).map
            case "tempo":
                m = edits.set_tempo(m, m.rev + 1, now, bpm, at, ramp=ramp, over=over).map
            case "meter":
                m = edits.set_meter(m, m.rev + 1, now, Meter.parse(rng.choice(METERS)), at).map
            case _:
                m = edits.cancel(m, m.rev + 1, now, rng.choice([None, rng.randrange(0, 60)])).map
    except edits.EditError:
        pass
    return m


def case(rng: random.Random, m: TempoMap, now: int) -> dict[str, Any]:
    """A map and what to read from it."""
    edges = [t for s in m.seg for t in (s.t - 1, s.t, s.t + 1)]
    span = m.seg[-1].t - m.seg[0].t + 20_000_000
    asked = [*edges, now, *(m.seg[0].t + rng.randrange(-1_000_000, span) for _ in range(8)), now + 3_600_000_000]
    at = []
    for t in sorted(max(t, 0) for t in asked):
        following, last = m.next_beat(t), m.beat_at_or_before(t)
        at.append({
            "t": t, "k": round(m.position_at(t), 6), "running": m.running_at(t), "bpm": m.bpm_at(t),
            "next": following.n if following else None, "last": last.n if last else None,
        })  # fmt: skip
    numbers = sorted({*range(-9, 70, 2), *(m.beat_number(s.k) for s in m.seg), 7200})
    beats = [m.beat(n) for n in numbers]
    ends = (k for s in m.seg for k in (s.k, s.k + (s.len or 0)))
    ticks = sorted({*ends, *(rng.randrange(-4000, 90_000) for _ in range(6))})
    return {
        "map": wire(m),
        "at": at,
        "beats": [b._asdict() for b in beats if b][:24],
        "none": [n for n, b in zip(numbers, beats, strict=True) if b is None][:10],
        "times": [{"k": k, "t": m.time_at(k)} for k in ticks],
    }


def made() -> str:
    """The file's text."""
    rng = random.Random(SEED)
    cases: list[dict[str, Any]] = []
    while len(cases) < CASES:
        now = T0 + rng.randrange(10**9)
        m = TempoMap.initial(1, now, rng.choice([120, 90, 133.3, 61]), Meter.parse(rng.choice(METERS)))
        if not cases:
            cases.append(case(rng, m, now))
        m = edits.start(m, 2, now).map
        for _ in range(rng.randrange(1, 12)):
            now += rng.choice([0, 0, 200_000, 4_000_000]) + rng.randrange(900_000)
            m = edited(rng, m, now)
        cases.append(case(rng, m, now))
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if FILE.read_text() == made() else f"{FILE.name} is not what {Path(__file__).name} makes: run it")
    FILE.write_text(made())
