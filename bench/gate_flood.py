"""A flood by one client, and by 500 of one tenant: what becomes of other tenants' beats, and of their clocks.

The victims' beats come from a real worker to 100 rooms of eight; eight more of their devices ask for the time 16 times
a second. Windows without a flood and with one alternate, and each flood has tenants and devices that the gate has not
put out yet. Everybody in the flooders' rooms listens: what the limits let through is delivered. Who is put out comes
back about a second later, as MQTT libraries do; or at once, for which there is no goal.
"""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bandroom.wire.topics import Leaf

from bench import home as data
from bench import report
from bench.classroom import SETTLE_S, worker
from bench.flooders import Flooders
from bench.load import Crowd, Login
from bench.school import School, opened, pupils

_ROOMS, _EACH, _PINGERS, _BPM = 100, 8, 8, 120
_PINGS_HZ = 16.0
_WILD_ROOMS, _WILD_EACH = 17, 30
MANY = 500
_SOON_S, _AT_ONCE_S = 1.0, 0.02
FLOODS: list[tuple[str, int, float]] = [
    ("1 client floods", 1, _AT_ONCE_S),
    (f"{MANY} clients flood", MANY, _SOON_S),
    (f"{MANY} flood, back at once", MANY, _AT_ONCE_S),
]
"""Name, clients, and how soon they are back (s)."""


def measure(quiet_s: float, flood_s: float, rounds: int) -> dict[str, Any]:
    """`rounds` of each flood, with a quiet time before it.

    Who floods is kept out for 30 s: a flood of more than that holds the coming back, too.
    """
    floods = FLOODS * rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        pingers = pupils(_PINGERS, 1, first=_EACH)
        # A hundred rooms make a tenant: every flood comes from one of its own, beyond the victims'.
        hordes = [
            pupils(range(100 * (1 + number), 100 * (1 + number) + _WILD_ROOMS), _WILD_EACH)
            for number in range(len(floods))
        ]
        also = [*pingers, *(pupil for horde in hordes for pupil in horde)]
        school = stack.enter_context(opened(folder, "gate", _ROOMS, _EACH, leaves=(Leaf.BEAT, Leaf.NOTE), also=also))
        data.add_rooms(school.home, data.bench_rooms(_ROOMS, school.clock.now_us(), bpm=_BPM))
        beats = worker(school)
        stack.callback(beats.wait)
        stack.callback(beats.terminate)
        clocks = [_clock(one) for one in school.also[:_PINGERS]]
        wild = school.also[_PINGERS:]
        size = _WILD_ROOMS * _WILD_EACH
        drivers: list[Flooders] = []
        for number, (_, many, back_s) in enumerate(floods):
            horde = wild[number * size : (number + 1) * size]
            drivers.append(Flooders(school.tcp, horde[:many], back_s))
            stack.callback(drivers[-1].kill)
            if many == 1:
                stack.callback(Crowd(school.tcp, 0, horde[1:_WILD_EACH], timed=False).kill)
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins)
        stack.callback(crowd.kill)
        asks = Crowd(school.tcp, school.clock.offset_us, clocks, notes_hz=_PINGS_HZ)
        stack.callback(asks.kill)
        time.sleep(SETTLE_S + 2)
        windows: list[dict[str, Any]] = []
        for (name, _, _), driver in zip(floods, drivers, strict=True):
            windows.append(_window(school, crowd, asks, "quiet", None, quiet_s))
            windows.append(_window(school, crowd, asks, name, driver, flood_s))
        return {"quiet_s": quiet_s, "flood_s": flood_s, "rounds": rounds, "windows": windows, "table": _table(windows)}


def _clock(one: Login) -> Login:
    """A login that asks for the time instead of playing."""
    assert one.note_topic is not None
    ask = one.note_topic.replace("/note/", "/clock/") + "/q"
    return replace(one, filters=(ask[:-1] + "r",), note_topic=ask)


def _window(
    school: School, crowd: Crowd, asks: Crowd, name: str, driver: Flooders | None, seconds: float
) -> dict[str, Any]:
    crowd.mark()
    asks.mark()
    began_s, used = time.monotonic(), report.cpu_s(school.broker.pid)
    if driver:
        driver.go()
    time.sleep(seconds)
    heard, asked = crowd.mark(), asks.mark()
    took_s = time.monotonic() - began_s
    said = driver.stop() if driver else {}
    used = report.cpu_s(school.broker.pid) - used
    time.sleep(1)
    it = {
        "kind": name,
        "beats": report.summary(heard["late_us"], 0.001),
        "arrived_of_expected": round(len(heard["late_us"]) / (_ROOMS * _EACH * _BPM / 60 * took_s), 4),
        "clock": report.summary(asked["note_us"], 0.001),
        "clock_answered": round(len(asked["note_us"]) / (_PINGERS * _PINGS_HZ * took_s), 3),
        "broker_cpu_percent": round(100 * used / took_s, 1),
        "connected": heard["connected"],
        **said,
    }
    if heard["connected"] != _ROOMS * _EACH:
        raise RuntimeError(f"only {heard['connected']} victims are still connected")
    report.say(f"  {name}: beats p99 {it['beats']['p99']} ms, clock p99 {it['clock']['p99']} ms, {said}")
    return it


def _table(windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind the median over its windows, and whether the goal is met."""
    lines: list[dict[str, Any]] = []
    for kind in dict.fromkeys(it["kind"] for it in windows):
        mine = [it for it in windows if it["kind"] == kind]
        line: dict[str, Any] = {"kind": kind, "windows": len(mine)}
        for what in ("beats", "clock"):
            for part in ("p50", "p99", "max"):
                ordered = sorted(it[what][part] for it in mine)
                line[f"{what}_{part}"] = ordered[len(ordered) // 2] if part != "max" else ordered[-1]
        lines.append(line)
    allowed = max(2 * lines[0]["beats_p99"], 5.0)
    for line in lines[1:]:
        line["goal_ms"] = allowed
        line["met"] = line["beats_p99"] <= allowed
    lines[-1]["met"] = None
    return lines
