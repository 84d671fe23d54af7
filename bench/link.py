"""Ableton Link on the same networks: how far apart its peers' beats are, when they have joined, and how many do.

Link has no server, so there is no truth to compare with: peers that share this host's clock are compared with each
other, each by the beat that it has at one moment. Unlike our devices they all have the same clock, neither off nor
skewed, since Link reads the machine's own. Link (GPL) is no part of bandroom: `pip install aalink` to compare.
"""

import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from bench import hub, netns, report
from bench.lateness import fault

TREE = Path(__file__).parents[1]
PEERS = 5
BPM, QUANTUM, EVERY_US = 120, 4, 50_000
_TOGETHER_US = 20_000
_BEAT_US = 60e6 / BPM


def missing() -> str | None:
    """Why there is nothing to compare with; None where there is."""
    if importlib.util.find_spec("aalink") is None:
        return "aalink is not installed, so there is NO comparison with Ableton Link: pip install aalink"
    return None if netns.available() else "NO comparison with Ableton Link: its namespaces need root and `ip`"


def apart_us(a: float, b: float) -> float:
    """How far two phases, in beats modulo a bar, are from each other."""
    beats = (a - b) % QUANTUM
    return min(beats, QUANTUM - beats) * _BEAT_US


def together(phases: Mapping[int, float]) -> set[int]:
    """The largest group of peers that are within 20 ms of one of them; empty where nobody is near anybody."""
    groups = [{j for j, b in phases.items() if apart_us(a, b) <= _TOGETHER_US} for a in phases.values()]
    largest = max(groups, key=len, default=set[int]())
    return largest if len(largest) > 1 else set()


def judged(told: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """What the peers' phases come to; how far apart those are that have joined, over the last `seconds`."""
    starts = sorted(one["first"] for one in told)
    end = min(one["first"] + len(one["phase"]) for one in told)
    moments = [
        # Who knows of nobody has joined nobody, wherever its beat may happen to be.
        {
            i: one["phase"][k - one["first"]]
            for i, one in enumerate(told)
            if k >= one["first"] and one["others"][k - one["first"]]
        }
        for k in range(starts[0], end)
    ]
    groups = [together(moment) for moment in moments]
    final = groups[-1]
    joined_ms: list[float] = []
    for peer in final:
        since = starts[0] + next((k for k in range(len(groups), 0, -1) if peer not in groups[k - 1]), 0)
        # The first one has nobody to join before the second is there.
        joined_ms.append((since - max(told[peer]["first"], starts[1])) * EVERY_US / 1000)
    last = round(seconds * 1e6 / EVERY_US)
    apart = [
        apart_us(moment[a], moment[b])
        for moment, group in zip(moments[-last:], groups[-last:], strict=True)
        for a, b in combinations(sorted(group & final), 2)
    ]
    return {
        "peers": len(told),
        "joined": len(final),
        "joined_ms": report.summary(joined_ms),
        "apart": report.summary(apart, 0.001),
    }


def measure(space: hub.Hub, link: str, seed: int, *, each_s: float, settle_s: float, seconds: float) -> dict[str, Any]:
    """The peers of `space` join over `link`, one every `each_s` (0: all at once), and have `settle_s` to settle."""
    draw = random.Random(seed)
    space.link(link, seed)
    processes: list[subprocess.Popen[str]] = []
    try:
        for name in space.peers:
            argv = [sys.executable, "-m", "bench.link_peer", str(draw.uniform(0, QUANTUM * _BEAT_US / 1000))]
            process = subprocess.Popen(
                space.inside(name, *argv), cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("a peer of Ableton Link did not start")
        lasts_s = each_s * len(processes) + settle_s + seconds
        until_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 + round(lasts_s * 1e6)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{until_us}\n")
            process.stdin.flush()
            time.sleep(each_s)
        told = [json.loads(process.communicate(timeout=lasts_s + 30)[0]) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        late = space.cut()
    return {**judged(told, seconds), "relay": late, "void": fault(late)}


def compared(links: Mapping[str, str], quick: bool) -> dict[str, Any]:
    """Peers that join one after the other, and all at once, on each of `links` (title to model)."""
    found: dict[str, Any] = {}
    with hub.made(PEERS) as space:
        for number, (title, link) in enumerate(links.items()):
            for how, each_s in (("in turn", 1.0), ("at once", 0.0)):
                report.say(f"clock: Ableton Link, {title}, {how} …")
                found[f"{title}, {how}"] = measure(
                    space, link, number, each_s=each_s, settle_s=3 if quick else 8, seconds=3 if quick else 12
                )
    return found


def show(found: Mapping[str, Any]) -> str:
    head = ["Ableton Link", "joined", "of", "joined after: p50 ms", "max", "apart: p50 ms", "p95", "p99", "set-up"]
    rows = [
        [title, it["joined"], it["peers"], it["joined_ms"]["p50"], it["joined_ms"]["max"],
         *(it["apart"][p] for p in ("p50", "p95", "p99")), it["void"] or "ok"]
        for title, it in found.items()
    ]  # fmt: skip
    return report.table(head, rows)
