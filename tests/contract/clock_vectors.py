"""Makes clock.json: clock exchanges as they were recorded on simulated links, and what the filter made of them.

    python tests/contract/clock_vectors.py          writes the file
    python tests/contract/clock_vectors.py --check  fails where the file is not what this would write

Each case: {link, exchanges: [[t1, t2, t3, t4]], asked: [{after, t, offset, bound, skew_ppm, restarts, ignored}]}, where
`after` is how many exchanges had been added. Offset and bound may be off by 1 µs, the skew by 0.01 ppm.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from bandroom.music.clock_filter import ClockFilter

FILE = Path(__file__).with_name("clock.json")
SEED = 4
LINKS = ("good", "jitter", "one side", "stall", "step", "step back", "small step", "reordered", "coarse", "impossible",
         "sleep", "busy")  # fmt: skip


def delay(rng: random.Random, link: str, up: bool) -> float:
    """One way's delay in µs."""
    match link:
        case "jitter" | "reordered":
            return rng.gammavariate(4, 2500)
        case "one side":
            return rng.gammavariate(4, 2500) if up else 1000 + rng.expovariate(1 / 200)
        case "stall":
            return 2000 + rng.expovariate(1 / 3000) + (200_000 if rng.random() < 0.05 else 0)
        case _:
            return 800 + rng.expovariate(1 / 300)


def recorded(rng: random.Random, link: str) -> list[list[int]]:
    """The exchanges of some minutes: bursts of eight, 30 ms apart."""
    skew, offset = rng.uniform(-50e-6, 50e-6), rng.randrange(10**15, 2 * 10**15)
    bursts = [0, 1, 2, 4, 6, 10, 14, 20, 30, 40, 50, 70, 90, 110, 140]
    if link == "busy":
        bursts = list(range(90))
    out: list[list[int]] = []
    start = rng.randrange(10**9)
    for burst in bursts:
        step = {"step": 350_000, "step back": -350_000, "small step": 4_000}.get(link, 0) if burst >= 40 else 0
        slept = 3_000_000_000 if link == "sleep" and burst >= 90 else 0
        for i in range(8):
            local = start + burst * 1_000_000 + i * 30_000 + slept
            up, down = delay(rng, link, True), delay(rng, link, False)
            arrived = local + up
            server = offset + step + arrived + skew * (arrived - start)
            t1, t2, t4 = local, int(server), int(arrived + down)
            if link == "coarse":
                t1, t4 = t1 // 100 * 100, t4 // 100 * 100
            if link == "impossible" and rng.random() < 0.1:
                t4 = t1 - 5
            out.append([t1, t2, t2, t4])
    if link == "reordered":
        for i in range(0, len(out), 4):
            out[i : i + 4] = sorted(out[i : i + 4], key=lambda e: e[3])
    return out


def answers(clock: ClockFilter, after: int, t: int) -> dict[str, Any]:
    """All that the filter says about local time `t`."""
    return {
        "after": after, "t": t, "offset": round(clock.offset_at(t), 2), "bound": round(clock.bound_at(t), 3),
        "skew_ppm": round(clock.skew_ppm, 5), "restarts": clock.restarts, "ignored": clock.ignored,
    }  # fmt: skip


def case(rng: random.Random, link: str) -> dict[str, Any]:
    """Exchanges of one link, and the answers on the way."""
    resolution = 100 if link == "coarse" else 1
    clock = ClockFilter(resolution_us=resolution)
    exchanges = recorded(rng, link)
    asked: list[dict[str, Any]] = []
    for i, (t1, t2, t3, t4) in enumerate(exchanges, start=1):
        clock.add(t1, t2, t3, t4)
        telling = i in (1, 3) or i % 24 == 8 or (link in ("step", "small step") and i % 8 == 2)
        if telling and clock.synced:
            asked += [answers(clock, i, t) for t in (t4, t4 + 7_000_000)]
    return {"link": link, "resolution_us": resolution, "exchanges": exchanges, "asked": asked}


def made() -> str:
    """The file's text."""
    rng = random.Random(SEED)
    lines = ",\n".join(json.dumps(case(rng, link), separators=(",", ":")) for link in LINKS)
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if FILE.read_text() == made() else f"{FILE.name} is not what {Path(__file__).name} makes: run it")
    FILE.write_text(made())
