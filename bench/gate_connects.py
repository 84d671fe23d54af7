"""What letting somebody in costs: connections a second, and the broker's CPU for each, by kind of credential.

A process, `python -m bench.gate_connects`, told {"address", "logins": [[client id, user name, password], …]}, then
"go" and "stop" as the pump: some dozens of clients at a time connect, wait for the CONNACK and vanish (with a reset, so
that no port is kept). `bare` and `acl` look at no credential; `gate, password` is a device's.
"""

import errno
import json
import select
import socket
import struct
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

from bandroom.mqtt import packets

from bench import report
from bench.load import Login
from bench.pump import Driver, spec_told, told
from bench.school import Access, available, opened, pupils

_AT_ONCE = 48
_WARM_S = 0.3
_ROOMS, _EACH = 40, 30
KINDS: dict[str, tuple[Access, str]] = {
    "bare": ("bare", "d"),
    "gate, token": ("gate", "s"),
    "gate, password": ("gate", "d"),
    "acl": ("acl", "d"),
    "dynsec": ("dynsec", "d"),
}


class Connectors(Driver):
    """The process, seen from a bench."""

    program = "bench.gate_connects"

    def __init__(self, address: tuple[str, int], logins: Sequence[Login]) -> None:
        rows = [[x.client_id, x.username, x.password] for x in logins]
        super().__init__({"address": address, "logins": rows})


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """So many rounds of a slice of each kind."""
    kinds = [name for name, (access, _) in KINDS.items() if available(access)]
    slices: list[dict[str, Any]] = []
    with ExitStack() as stack:
        sides: list[tuple[str, int, Connectors]] = []
        for name in kinds:
            access, letter = KINDS[name]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
            who = pupils(_ROOMS, _EACH, letter, first=_EACH)
            school = stack.enter_context(opened(folder, access, _ROOMS, 1, also=who))
            driver = Connectors(school.tcp, school.also)
            stack.callback(driver.kill)
            sides.append((name, school.broker.pid, driver))
        for number in range(rounds):
            at = number % len(sides)
            slices += [{"round": number, **_slice(*one, seconds)} for one in sides[at:] + sides[:at]]
            said = ", ".join(f"{it['kind']} {it['connects_per_s']:,.0f}/s" for it in slices[-len(sides) :])
            report.say(f"  round {number + 1} of {rounds}: {said}")
    return {"seconds": seconds, "rounds": rounds, "slices": slices}


def _slice(kind: str, pid: int, driver: Connectors, seconds: float) -> dict[str, Any]:
    driver.go()
    time.sleep(_WARM_S)
    before, began_s = [report.busy_s(pid), report.busy_s(driver.pid)], time.monotonic()
    time.sleep(seconds)
    after, took_s = [report.busy_s(pid), report.busy_s(driver.pid)], time.monotonic() - began_s
    said = driver.stop()
    if said["refused"]:
        raise RuntimeError(f"{said['refused']} of {said['sent']} were refused ({kind})")
    percent = [[100 * (b[i] - a[i]) / took_s for i in (0, 1)] for a, b in zip(before, after, strict=True)]
    rate = said["sent"] / said["seconds"]
    return {
        "kind": kind,
        "connects_per_s": rate,
        "us_a_connect": percent[0][0] * 1e4 / rate,
        "broker_cpu_percent": percent[0][0],
        "broker_no_core_percent": percent[0][1],
        "generator_cpu_percent": percent[1][0],
    }


class _Door:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._address = tuple(spec["address"])
        self._hellos = cycle(
            [packets.connect(*login, keepalive_s=60) for login in spec["logins"]]  # clean session, no Will
        )
        self._epoll = select.epoll()
        self._busy: dict[int, tuple[socket.socket, bytes]] = {}

    def knock(self) -> dict[str, Any]:
        """Until told to stop."""
        came = refused = 0
        began_s = time.monotonic()
        while not told():
            while len(self._busy) < _AT_ONCE:
                self._start()
            good, bad = self._step()
            came, refused = came + good, refused + bad
        took_s = time.monotonic() - began_s
        for fd in list(self._busy):
            self._end(fd)
        return {"sent": came, "refused": refused, "seconds": took_s}

    def _start(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if (code := sock.connect_ex(self._address)) not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self._busy[sock.fileno()] = (sock, next(self._hellos))
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _step(self) -> tuple[int, int]:
        good = bad = 0
        for fd, event in self._epoll.poll(0.1):
            sock, hello = self._busy[fd]
            if hello and event & select.EPOLLOUT:
                sock.sendall(hello)
                self._busy[fd] = (sock, b"")
                self._epoll.modify(fd, select.EPOLLIN)
                continue
            answer = sock.recv(16)
            good, bad = (good + 1, bad) if answer[3:4] == b"\0" else (good, bad + 1)
            self._end(fd)
        return good, bad

    def _end(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._busy.pop(fd)[0].close()


def main() -> None:
    door = _Door(spec_told())
    print("ready", flush=True)
    while True:
        select.select([0], [], [])
        told()
        print(json.dumps(door.knock()), flush=True)


if __name__ == "__main__":
    main()
