"""Part 2: does lateness add up? The first hundred beats against the last hundred.

In simulation: 7,200 beats of the engine on a clock set by hand, woken up to 5 ms late each time. For real: the worker
at 400 bpm for ten minutes, heard by a client through a bare broker. Beside each, in the same run, what others do:
"now + interval", where each beat schedules the next, and a loop around `asyncio.sleep(interval)`; in the simulation
these come to the same.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from bandroom.beats import spelling
from bandroom.beats.engine import Engine
from bandroom.mqtt import Credential, Tcp, connect
from bandroom.music.meter import Meter
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Leaf

from bench import home as data
from bench import report
from bench.broker import running
from bench.classroom import worker
from bench.school import School

_EDGE = 100
_BPM = 400
_BASELINES = {"remedy": "now + interval", "sleep": "asyncio.sleep(interval)"}


def simulated(beats: int = 7200) -> dict[str, Any]:
    """Lateness of the first and the last hundred beats, in ms."""
    rng, t0_us = random.Random(1), 1_790_000_000_000_000
    engine = Engine(spelling.beat_packet)
    engine.set_map(("t", "AA-0001"), data.running_map(t0_us, 120, Meter.parse("4/4")), t0_us)
    late_us: list[float] = []
    while len(late_us) < beats:
        due_us = engine.next_due_us()
        assert due_us is not None
        now_us = due_us + rng.randrange(5_000)
        late_us += [now_us - room.due_us for room in engine.take_due(now_us)]
        engine.prepare()
    return _edges(late_us)


def simulated_remedy(beats: int = 7200) -> dict[str, Any]:
    """The same wakings, each beat scheduling the next for now and an interval."""
    rng, at_us, late_us = random.Random(1), 0, list[float]()
    for n in range(beats):
        at_us += rng.randrange(5_000)
        late_us.append(at_us - n * 500_000)
        at_us += 500_000
    return _edges(late_us)


def _edges(late_us: list[float]) -> dict[str, Any]:
    return {
        "beats": len(late_us),
        "first": report.summary(late_us[:_EDGE], 0.001),
        "last": report.summary(late_us[-_EDGE:], 0.001),
    }


async def _hear(school: School, seconds: float) -> list[tuple[int, int]]:
    """(n, lateness in µs) of one room's beats."""
    heard: list[tuple[int, int]] = []
    where, who = Tcp(*school.tcp), Credential.fixed("lincoln/s-ear", "lincoln_s-ear", "x")
    boot_ns = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # noqa: E731
    async with connect(where, who, will=None, clock_ns=boot_ns) as connection:
        await connection.subscribe(Filter(Leaf.BEAT, None))
        try:
            async with asyncio.timeout(seconds):
                async for incoming in connection.messages:
                    if isinstance(incoming.message, Beat):
                        at_us = incoming.t_received_ns // 1000 + school.clock.offset_us
                        heard.append((incoming.message.n, at_us - incoming.message.t))
        except TimeoutError:
            return heard
    return heard


def real(seconds: float) -> dict[str, Any]:
    """The worker at 400 bpm; beside it the other ways, each a process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        home, clock = data.make(folder / "home")
        broker = stack.enter_context(running(folder / "broker"))
        home.broker_socket.symlink_to(broker.socket_path)
        school = School(home, clock, broker, [])
        data.add_rooms(home, data.bench_rooms(1, clock.now_us(), bpm=_BPM))
        process = worker(school)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        others = {title: _drifter(kind, seconds) for kind, title in _BASELINES.items()}
        for other in others.values():
            stack.callback(other.kill)
        heard = asyncio.run(_hear(school, seconds))
        told = {title: _edges(json.loads(other.communicate(timeout=30)[0])) for title, other in others.items()}
    numbers = [n for n, _ in heard]
    gaps = sum(b != a + 1 for a, b in pairwise(numbers))
    return {"worker": {**_edges([late for _, late in heard]), "gaps": gaps}, **told}


def _drifter(kind: str, seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "bench.drifter", kind, str(60 / _BPM), str(seconds)]
    return subprocess.Popen(argv, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)


def measure(quick: bool) -> dict[str, Any]:
    report.say("drift: ten minutes at 400 bpm …")
    found = {"simulated: worker": simulated(), "simulated: now + interval": simulated_remedy()}
    for title, it in real(60 if quick else 600).items():
        found[f"real: {title}"] = it
    return found


def show(found: dict[str, Any]) -> str:
    rows = [
        [kind, it["beats"], *(it[edge][x] for edge in ("first", "last") for x in ("p50", "p99", "max"))]
        for kind, it in found.items()
    ]
    head = ["run", "beats", "first 100: p50 ms", "p99", "max", "last 100: p50 ms", "p99", "max"]
    return report.table(head, rows) + f"\nnumbers missing in the real run: {found['real: worker']['gaps']}"
