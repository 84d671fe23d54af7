"""A crowd whose clients come back by themselves, as our devices do, and tell when each heard a beat again.

The process of a `Crowd` with `program="bench.returning"`: as `bench.load`, and its counts hold `back_us` besides: for
each client that lost the broker, the server time of its first beat after that; `in_us`, when it was let in again (the
last time, if it was more than once). `tries` counts attempts to connect.
"""

import errno
import random
import select
import socket
import time
from heapq import heappop, heappush
from typing import Any

from bandroom.mqtt import packets
from bandroom.mqtt.backoff import Backoff
from bandroom.mqtt.client import TIMEOUT_S

from bench.load import Loop, serve

_CONNECT_WITHIN_S = TIMEOUT_S
"""From the call to the CONNACK, as for our devices."""
_AT_ONCE = 64
"""Calls before the crowd listens again: one that made all of its thousands first would time its own calling."""


class _Returning(Loop):
    def __init__(self, spec: dict[str, Any]) -> None:
        self._who: dict[int, int] = {}
        self._since_s: dict[int, float] = {}
        self._due: list[tuple[float, int, int]] = []
        self._connecting: dict[int, float] = {}
        self._awaits: set[int] = set()
        self._back_us: list[int] = []
        self._in_us: dict[int, int] = {}
        self._tries = self._turned_away = 0
        rng = random.Random(1)
        self._backoffs = [Backoff(rng=random.Random(rng.random())) for _ in spec["logins"]]
        self._hellos = [
            packets.connect(client_id, username, password, keepalive_s=3600)
            + packets.subscribe(1, [(name, 0) for name in filters])
            for client_id, username, password, filters, _ in spec["logins"]
        ]
        self._address = tuple(spec["address"])
        super().__init__(spec)
        self._who = dict(zip(self._socks, range(len(self._hellos)), strict=True))
        self._since_s = dict.fromkeys(self._socks, time.monotonic())

    def _lost(self, fd: int) -> None:
        if fd not in self._who:  # refused while all came for the first time
            return super()._lost(fd)
        self._turned_away += fd in self._awaits and fd not in self._connecting
        self._again(fd)
        return super()._lost(fd)

    def _again(self, fd: int) -> None:
        number = self._who.pop(fd)
        self._awaits.discard(fd)
        self._in_us.pop(fd, None)
        self._connecting.pop(fd, None)
        backoff = self._backoffs[number]
        backoff.connected_for(time.monotonic() - self._since_s.pop(fd, time.monotonic()))
        heappush(self._due, (time.monotonic() + backoff.next_delay_s(), 0, number))

    def _do_due(self) -> float:
        now_s = time.monotonic()
        for _ in range(_AT_ONCE):
            if not self._due or self._due[0][0] > now_s:
                break
            _, late_fd, number = heappop(self._due)
            if late_fd:
                if self._connecting.get(late_fd) is not None and self._who.get(late_fd) == number:
                    self._lost(late_fd)
            else:
                self._start(number)
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else 1.0

    def _start(self, number: int) -> None:
        self._tries += 1
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (code := sock.connect_ex(self._address)) not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        fd = sock.fileno()
        self._socks[fd], self._rest[fd], self._who[fd] = sock, b"", number
        self._connecting[fd] = time.monotonic()
        self._awaits.add(fd)
        self._epoll.register(fd, select.EPOLLOUT)
        heappush(self._due, (time.monotonic() + _CONNECT_WITHIN_S, fd, number))

    def _writable(self, fd: int) -> None:
        sock = self._socks[fd]
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._lost(fd)
            return
        self._since_s[fd] = time.monotonic()
        sock.sendall(self._hellos[self._who[fd]])
        self._epoll.modify(fd, select.EPOLLIN)

    def _take(self, fd: int, data: bytes, now_us: int) -> None:
        if fd not in self._awaits:
            return super()._take(fd, data, now_us)
        # Only now: who finds the door full may believe itself connected, and nobody has heard its CONNECT.
        self._connecting.pop(fd, None)
        self._in_us.setdefault(fd, now_us)
        before = self._counts.messages
        super()._take(fd, data, now_us)
        if self._counts.messages > before:
            self._awaits.discard(fd)
            self._back_us.append(now_us)
        return None

    def _result(self) -> dict[str, Any]:
        found = super()._result() | {
            "back_us": self._back_us,
            "in_us": list(self._in_us.values()),
            "tries": self._tries,
            "turned_away": self._turned_away,
            "connected": len(self._socks) - len(self._awaits),
        }
        self._back_us, self._tries, self._turned_away = [], 0, 0
        return found


if __name__ == "__main__":
    serve(_Returning)
