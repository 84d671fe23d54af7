"""A bad network in a process: TCP connections go through it, and every piece is held back as a link model says.

    python -m bench.relay LINK SEED HOST PORT

listens on a free loopback port (printed as JSON) and passes each connection on to HOST:PORT. Each connection has a
link of its own (`bandroom.music.simulation.links`). TCP keeps order, so a piece never overtakes the one before; what
the model calls lost comes a retransmission timeout later. No privileges and no kernel modules are needed. When it is
ended, the relay tells how late it was itself.
"""

import json
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from bandroom.music.simulation.links import LINKS, Link

from bench.lateness import Lateness
from bench.netns import stopped, until_terminated

TREE = Path(__file__).parents[1]
_RETRANSMIT_US = 200_000
_SPIN_S = 0.0001


@dataclass(slots=True, eq=False)
class _Way:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket
    link: Link
    is_up: bool
    last_us: float = 0.0
    waiting: deque[bytes] = field(default_factory=deque[bytes])

    def due_us(self, now_us: float) -> float:
        """When what arrived now goes on."""
        delay_us = self.link.up(now_us) if self.is_up else self.link.down(now_us)
        if self.link.lost():
            delay_us += _RETRANSMIT_US
        self.last_us = max(self.last_us, now_us + delay_us)
        return self.last_us


class _Relay:
    def __init__(self, link: str, seed: int, target: tuple[str, int]) -> None:
        self._make = LINKS[link]
        self._rng = random.Random(seed)
        self._target = target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._epoll = select.epoll()
        self._epoll.register(self.listener.fileno(), select.EPOLLIN)
        self._ways: dict[int, _Way] = {}
        self._heap: list[tuple[float, int, _Way]] = []
        self._order = 0
        self.lateness = Lateness()

    @staticmethod
    def _now_us() -> float:
        return time.monotonic_ns() / 1000

    def run(self) -> None:
        while True:
            timeout_s = (self._heap[0][0] - self._now_us()) / 1e6 if self._heap else 1.0
            if timeout_s > _SPIN_S:
                # epoll's own timeout is in whole milliseconds; an epoll descriptor can itself be selected.
                select.select([self._epoll], [], [], timeout_s - _SPIN_S)
            for fd, _ in self._epoll.poll(0):
                if fd == self.listener.fileno():
                    self._accept()
                else:
                    self._read(fd)
            while self._heap and self._heap[0][0] <= self._now_us():
                due_us, _, way = heappop(self._heap)
                self._write(way, way.waiting.popleft())
                self.lateness.add(due_us, self._now_us())

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(self._target)
        link = self._make(random.Random(self._rng.random()))
        for source, sink, is_up in ((near, far, True), (far, near, False)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source.setblocking(False)
            self._ways[source.fileno()] = _Way(source, sink, link, is_up)
            self._epoll.register(source.fileno(), select.EPOLLIN)

    def _read(self, fd: int) -> None:
        way = self._ways[fd]
        try:
            data = way.source.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._epoll.unregister(fd)
        self._order += 1
        way.waiting.append(data)
        heappush(self._heap, (way.due_us(self._now_us()), self._order, way))

    def _write(self, way: _Way, data: bytes) -> None:
        try:
            if data:
                way.sink.send(data)
            else:
                way.sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other end has gone; its own end of file tells the rest


class Relay:
    """The relay's process, seen from a bench."""

    def __init__(self, link: str, seed: int, target: tuple[str, int]) -> None:
        argv = [sys.executable, "-m", "bench.relay", link, str(seed), target[0], str(target[1])]
        self._process = subprocess.Popen(argv, cwd=TREE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        self._process.stdout.readline()  # "ready"

    def cut(self) -> dict[str, Any]:
        """End it; how late it was (`Lateness.told`)."""
        return stopped(self._process)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    relay = _Relay(sys.argv[1], int(sys.argv[2]), (sys.argv[3], int(sys.argv[4])))
    print(json.dumps({"port": relay.listener.getsockname()[1]}), flush=True)
    until_terminated(relay.run, relay.lateness)


if __name__ == "__main__":
    main()
