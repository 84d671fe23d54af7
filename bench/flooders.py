"""Devices gone wild: each sends notes as fast as it can, hears its room's, and comes back whenever it is put out.

A process, `python -m bench.flooders`, told {"address", "back_s", "logins": [[client id, user name, password, [filter,
…], topic], …]}; then "go" and "stop", which answers {"sent": notes written, "heard_octets": …, "ended": times put out,
"refused": CONNECTs refused, "seconds": …}. It runs only when nobody else wants the core (SCHED_IDLE): it stands for
machines of its own, and what it takes away must be the broker's time and not the victims'. All come from one address
that is not the machine's usual one, as from a school's.
"""

import errno
import json
import os
import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from bandroom.mqtt import packets

from bench.load import Login
from bench.pump import Driver, spec_told, told

_BATCH = 50
_FROM = "127.9.9.9"


class Flooders(Driver):
    """The process, seen from a bench."""

    program = "bench.flooders"

    def __init__(self, address: tuple[str, int], logins: Sequence[Login], back_s: float) -> None:
        rows = [[x.client_id, x.username, x.password, list(x.filters), x.note_topic] for x in logins]
        super().__init__({"address": address, "logins": rows, "back_s": back_s})


@dataclass(slots=True)
class _Wild:
    number: int
    hello: bytes
    load: bytes
    note_size: int
    sock: socket.socket | None = None
    is_in: bool = False
    rest: memoryview = field(default_factory=lambda: memoryview(b""))


class _Horde:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._address = tuple(spec["address"])
        self._back_s = float(spec["back_s"])
        self._rng = random.Random(1)
        self._wild: list[_Wild] = []
        for client_id, username, password, filters, topic in spec["logins"]:
            note = packets.publish(packets.string(topic), b'{"on":60}')
            hello = packets.connect(client_id, username, password, keepalive_s=3600)
            hello += packets.subscribe(1, [(name, 0) for name in filters])
            self._wild.append(_Wild(len(self._wild), hello, note * _BATCH, len(note)))
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Wild] = {}
        self._due: list[tuple[float, int]] = []
        self._counts = {"sent": 0, "heard_octets": 0, "ended": 0, "refused": 0}

    def flood(self) -> dict[str, Any]:
        """Until told to stop; then all leave."""
        self._counts = dict.fromkeys(self._counts, 0)
        self._due = [(0.0, number) for number in range(len(self._wild))]
        began_s = time.monotonic()
        while not told():
            while self._due and self._due[0][0] <= time.monotonic():
                self._start(self._wild[heappop(self._due)[1]])
            for fd, event in self._epoll.poll(0.02):
                self._serve(self._by_fd[fd], event)
        for wild in list(self._by_fd.values()):
            self._end(wild)
        return {**self._counts, "seconds": time.monotonic() - began_s}

    def _start(self, wild: _Wild) -> None:
        wild.sock, wild.is_in, wild.rest = socket.socket(), False, memoryview(wild.hello)
        wild.sock.setblocking(False)
        wild.sock.bind((_FROM, 0))
        if (code := wild.sock.connect_ex(self._address)) not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self._by_fd[wild.sock.fileno()] = wild
        self._epoll.register(wild.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, wild: _Wild, event: int) -> None:
        assert wild.sock is not None
        try:
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                data = wild.sock.recv(65_536)
                self._counts["heard_octets"] += len(data)
                if not wild.is_in and len(data) >= 4 and data[3] == 0:
                    wild.is_in = True
                    self._epoll.modify(wild.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
                if not data:
                    raise ConnectionResetError
            if event & select.EPOLLOUT:
                self._send(wild)
        except BlockingIOError:
            return
        except OSError:
            self._counts["ended" if wild.is_in else "refused"] += 1
            self._end(wild)
            heappush(self._due, (time.monotonic() + self._back_s * self._rng.uniform(0.5, 1.5), wild.number))

    def _send(self, wild: _Wild) -> None:
        assert wild.sock is not None
        if not wild.rest:
            if not wild.is_in:
                self._epoll.modify(wild.sock.fileno(), select.EPOLLIN)
                return
            wild.rest = memoryview(wild.load)
        before = len(wild.rest)
        wild.rest = wild.rest[wild.sock.send(wild.rest) :]
        if wild.is_in:
            self._counts["sent"] += (before - len(wild.rest)) // wild.note_size

    def _end(self, wild: _Wild) -> None:
        assert wild.sock is not None
        self._epoll.unregister(wild.sock.fileno())
        del self._by_fd[wild.sock.fileno()]
        wild.sock.close()


def main() -> None:
    horde = _Horde(spec_told())
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print("ready", flush=True)
    while True:
        select.select([0], [], [])
        told()
        print(json.dumps(horde.flood()), flush=True)


if __name__ == "__main__":
    main()
