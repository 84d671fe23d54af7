"""What a delivery costs: brokers side by side, everybody connected to each, and the load going from one to the next.

A slice drives one broker as hard as it goes; the others hold their connections and rest. A round has a slice of each,
in an order that rotates, and slices are short: what else a shared machine does changes within seconds, and is to fall
on all alike. Compared are ratios within a round. After some rounds all brokers are started afresh, with one room less:
whether glibc tidies up the heap after each publish depends on how much happens to be free at its end, for as long as
nobody comes or goes (250 instructions a delivery, of 3,250).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bandroom.auth.service_credential import service_credential
from bandroom.wire.ids import Role
from bandroom.wire.topics import Leaf

from bench import report
from bench.load import Crowd
from bench.noters import Noters
from bench.pump import Driver, Pump
from bench.school import PUMP_PASSWORD, Access, login, opened, pupils

TREE = Path(__file__).parents[1]
Kind = Access | Literal["no broker"]
WARM_S = 0.05


@dataclass(slots=True)
class Side:
    """One broker, or what stands in its place, with everybody connected to it."""

    kind: Kind
    pid: int
    crowd: Crowd
    driver: Driver
    each: int
    kb_a_connection: float
    connected_in_s: float

    def slice(self, seconds: float) -> dict[str, Any]:
        """Drive it for so long; what came of it."""
        pids = {"broker": self.pid, "crowd": self.crowd.pid, "generator": self.driver.pid}
        self.crowd.mark()
        self.driver.go()
        time.sleep(WARM_S)
        octets = self.crowd.mark()["octets"]
        before, began_s = {name: report.busy_s(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        after = {name: report.busy_s(pid) for name, pid in pids.items()}
        heard = self.crowd.mark()
        sent = self.driver.stop()["sent"] * self.each * self.driver.size
        octets += heard["octets"] + self._drained()
        percent = {name: [100 * (after[name][i] - before[name][i]) / took_s for i in (0, 1)] for name in pids}
        rate = heard["octets"] / self.driver.size / heard["seconds"]
        if rate < 1:
            raise RuntimeError(f"nothing arrived ({self.kind})")
        return {
            "kind": self.kind,
            "deliveries_per_s": rate,
            "us_a_delivery": percent["broker"][0] * 1e4 / rate,
            **{f"{name}_cpu_percent": both[0] for name, both in percent.items()},
            **{f"{name}_no_core_percent": both[1] for name, both in percent.items()},
            "lost_percent": 100 * (1 - octets / sent),
        }

    def _drained(self) -> int:
        """Wait until nothing comes any more; how many octets still did."""
        late = 0
        while True:
            time.sleep(0.03)
            octets = self.crowd.mark()["octets"]
            if not octets:
                return late
            late += octets


@contextmanager
def side(kind: Kind, rooms: int, each: int, notes: bool, under: Sequence[str] = ()) -> Iterator[Side]:
    """One of them, ready. With `notes` as many again play, and what is heard are notes instead of beats."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        if kind == "no broker":
            yield stack.enter_context(_no_broker(folder, rooms, each))
            return
        players = pupils(rooms, each, first=each) if notes else []
        leaf = Leaf.NOTE if notes else Leaf.BEAT
        school = stack.enter_context(
            opened(folder, kind, rooms, each, leaves=(leaf,), also=players, unlimited=True, under=under)
        )
        broker = school.broker
        empty_kb, began_s = report.rss_kb(broker.pid), time.monotonic()
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins, timed=False)
        stack.callback(crowd.kill)
        took_s = time.monotonic() - began_s
        kb = (report.rss_kb(broker.pid) - empty_kb) / len(school.logins)
        if notes:
            driver: Driver = Noters(school.tcp, school.also)
        else:
            who = service_credential(school.home, Role.TEMPO, 0)
            password = PUMP_PASSWORD if kind == "dynsec" else who.password()
            driver = Pump(broker.socket_path, rooms, who.username, password)
        stack.callback(driver.kill)
        yield Side(kind, broker.pid, crowd, driver, each, kb, took_s)


@contextmanager
def _no_broker(folder: Path, rooms: int, each: int) -> Iterator[Side]:
    """A process that copies bytes to sockets, with the same crowd and the same pump."""
    path = str(folder / "pump.sock")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.trivial", path, str(rooms * each)], cwd=TREE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["port"])
        logins = [login(p, "x", (Leaf.BEAT,)) for p in pupils(rooms, each)]
        crowd = Crowd(("127.0.0.1", port), 0, logins, timed=False)
        try:
            driver = Pump(path, rooms, "x", "x")
            try:
                yield Side("no broker", process.pid, crowd, driver, each, 0.0, 0.0)
            finally:
                driver.kill()
        finally:
            crowd.kill()
    finally:
        process.kill()
        process.wait()


def measure(
    kinds: Sequence[Kind], rooms: int, each: int, seconds: float, rounds: int, starts: int, *, notes: bool = False
) -> dict[str, Any]:
    """`starts` times all brokers afresh, each time with a room less, and so many rounds of all kinds each time.

    What is in no broker's place takes part in the first rounds of the first start.
    """
    slices: list[dict[str, Any]] = []
    memory: dict[str, float] = {}
    connected: dict[str, float] = {}
    for start in range(starts):
        with ExitStack() as stack:
            sides: list[Side] = []
            for kind in kinds:
                if kind == "no broker" and start > 0:
                    continue
                report.say(f"  {(rooms - start) * each:,} clients connect: {kind} …")
                sides.append(stack.enter_context(side(kind, rooms - start, each, notes)))
            for number in range(rounds):
                at = number % len(sides)
                taking_part = [it for it in sides[at:] + sides[:at] if it.kind != "no broker" or number < 3]
                found = [{"start": start, "round": start * rounds + number, **it.slice(seconds)} for it in taking_part]
                report.say(f"  round {number + 1} of {rounds}: " + ", ".join(_brief(it) for it in found))
                slices += found
            memory |= {it.kind: round(it.kb_a_connection, 2) for it in sides}
            connected |= {it.kind: round(it.connected_in_s, 2) for it in sides}
    return {
        "rooms": rooms,
        "each": each,
        "seconds": seconds,
        "rounds": rounds,
        "starts": starts,
        "slices": slices,
        "kb_a_connection": memory,
        "connected_in_s": connected,
    }


def _brief(it: dict[str, Any]) -> str:
    return f"{it['kind']} {it['deliveries_per_s']:,.0f}/s"
