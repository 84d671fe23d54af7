"""Pupils who play as fast as the broker takes it: the load for what a note costs.

A process, `python -m bench.noters`, told in lines: first {"address": [host, port], "logins": [[client id, user name,
password, topic], …]}, answered with "ready"; then "go" and "stop", as the pump. Each in turn sends a few notes and a
PINGREQ, and `_ABROAD` of them are waited for at any time: the broker always has more to read, and nothing piles up.
All packets have one size, `SIZE`, and about 80 bytes of payload.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from bandroom.mqtt import packets

from bench.load import Login
from bench.pump import Driver, spec_told, told

SIZE = 140
_ABROAD = 200
_EACH = 4


def packet(topic: str) -> bytes:
    """A note, padded to `SIZE`."""
    head = 3 + 2 + len(topic)
    return packets.publish(packets.string(topic), b'{"t":1790000000000000,"on":60,"vel":100}'.ljust(SIZE - head))


class Noters(Driver):
    """The process, seen from a bench."""

    program = "bench.noters"
    size = SIZE

    def __init__(self, address: tuple[str, int], logins: Sequence[Login]) -> None:
        rows = [[x.client_id, x.username, x.password, x.note_topic] for x in logins]
        super().__init__({"address": address, "logins": rows})


class _Band:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._epoll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        self._load: dict[int, bytes] = {}
        for client_id, username, password, topic in spec["logins"]:
            sock = socket.create_connection(tuple(spec["address"]))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(packets.connect(client_id, username, password, keepalive_s=65535))
            self._socks[sock.fileno()] = sock
            self._load[sock.fileno()] = packet(topic) * _EACH + packets.PINGREQ
        for fd, sock in self._socks.items():
            assert sock.recv(16)[3] == 0, "refused"
            self._epoll.register(fd, select.EPOLLIN)
        self._next = deque(self._socks)

    def play(self) -> int:
        """Until told to stop; how many notes."""
        sent = abroad = 0
        while not told():
            while abroad < _ABROAD and self._next:
                fd = self._next.popleft()
                self._socks[fd].sendall(self._load[fd])
                abroad += 1
                sent += _EACH
            abroad -= self._back()
        deadline = time.monotonic() + 10
        while abroad and time.monotonic() < deadline:
            abroad -= self._back()
        return sent

    def _back(self) -> int:
        """How many have had their answer now."""
        events = self._epoll.poll(0.1)
        for fd, _ in events:
            if not self._socks[fd].recv(64):
                raise RuntimeError("the broker closed the connection of somebody who plays")
            self._next.append(fd)
        return len(events)


def main() -> None:
    band = _Band(spec_told())
    print("ready", flush=True)
    while True:
        select.select([sys.stdin.fileno()], [], [])
        told()
        began_s = time.monotonic()
        print(json.dumps({"sent": band.play(), "seconds": time.monotonic() - began_s}), flush=True)


if __name__ == "__main__":
    main()
