"""Namespaces around a hub, one for each peer, with a bad network between any two: for what has no server.

    ns "p0" e0 10.78.0.1 -- h0  ns "hub"  h1 -- e0 10.78.0.2  ns "p1"     and so on

Needs root and `ip`, as `netns` does. Between two peers a frame passes the link of the one with the higher number: up
from there, down to there, as if the other one were a server at the end of a cable. So an exchange between any two sees
what an exchange between a device and the server sees, which is kind: in a room each would pass two radios. Multicast
is delayed and lost for each receiver by itself. ARP passes freely.

    python -m bench.hub LINK SEED PEERS        (run inside the hub's namespace by `Hub`)
"""

import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from bandroom.music.simulation.links import LINKS

from bench.lateness import Lateness
from bench.netns import stopped, until_terminated

TREE = Path(__file__).parents[1]
_SPIN_S = 0.0001
_ETH_P_ALL = 3
_ARP = b"\x08\x06"
_FROM_IPV6 = b"\x86\xdd"


class Hub:
    """The namespaces, and the relay when it runs."""

    def __init__(self, tag: str, peers: int) -> None:
        self.hub = f"{tag}-hub"
        self.peers = [f"{tag}-p{i}" for i in range(peers)]
        self._process: subprocess.Popen[str] | None = None

    def inside(self, space: str, *argv: str) -> list[str]:
        """The command line that runs `argv` in one of the namespaces."""
        return ["ip", "netns", "exec", space, *argv]

    def link(self, name: str, seed: int) -> None:
        """From now on frames pass as over the link model `name`."""
        self.cut()
        argv = [sys.executable, "-m", "bench.hub", name, str(seed), str(len(self.peers))]
        self._process = subprocess.Popen(self.inside(self.hub, *argv), cwd=TREE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the relay between the namespaces did not start")

    def cut(self) -> dict[str, Any] | None:
        """No frame passes any more; how late the relay was (`Lateness.told`), or None if none ran."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        return stopped(process)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def made(peers: int, tag: str = "bandroom-link") -> Iterator[Hub]:
    """The namespaces, gone again with the block."""
    hub = Hub(tag, peers)
    try:
        _ip("netns", "add", hub.hub)
        for number, space in enumerate(hub.peers):
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            far = f"h{number}"
            _ip("-n", space, "link", "add", "e0", "type", "veth", "peer", "name", far, "netns", hub.hub)
            _ip("-n", space, "address", "add", f"10.78.0.{number + 1}/24", "dev", "e0")
            _ip("-n", space, "link", "set", "e0", "up")
            _ip("-n", space, "route", "add", "224.0.0.0/4", "dev", "e0")
            _ip("-n", hub.hub, "link", "set", far, "up")
            code = "from bench.netns import plain; plain('e0')"
            subprocess.run(hub.inside(space, sys.executable, "-c", code), cwd=TREE, check=True)
        yield hub
    finally:
        hub.cut()
        for space in (hub.hub, *hub.peers):
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


class _Frames:
    """The relay itself: a raw socket a peer, and a heap of frames on their way."""

    def __init__(self, link: str, seed: int, peers: int) -> None:
        rng = random.Random(seed)
        # By (higher, lower): what is between those two. Each has its own queue, and its own radio that falls asleep.
        self._links = {(j, i): LINKS[link](random.Random(rng.random())) for j in range(peers) for i in range(j)}
        self._sides: list[socket.socket] = []
        for number in range(peers):
            side = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            side.bind((f"h{number}", 0))
            side.setblocking(False)
            self._sides.append(side)
        self._number = {side: number for number, side in enumerate(self._sides)}
        self._homes: dict[bytes, int] = {}  # hardware address to peer
        self._heap: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self.lateness = Lateness()

    def run(self) -> None:
        while True:
            timeout_s = self._heap[0][0] / 1e6 - time.monotonic() if self._heap else 1.0
            for side in select.select(self._sides, [], [], max(0.0, timeout_s - _SPIN_S))[0]:
                self._take(self._number[side])
            while self._heap and self._heap[0][0] <= time.monotonic() * 1e6:
                due_us, _, towards, frame = heappop(self._heap)
                self._sides[towards].send(frame)
                self.lateness.add(due_us, time.monotonic() * 1e6)

    def _take(self, origin: int) -> None:
        while True:
            try:
                frame, address = self._sides[origin].recvfrom(65_536)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING or frame[12:14] == _FROM_IPV6:
                continue  # our own; and one protocol is enough to find each other by
            self._homes[frame[6:12]] = origin
            home = self._homes.get(frame[:6])
            everybody = frame[0] & 1 or home is None
            for towards in range(len(self._sides)) if everybody or home is None else (home,):
                if towards != origin:
                    self._pass(origin, towards, frame, time.monotonic() * 1e6)

    def _pass(self, origin: int, towards: int, frame: bytes, now_us: float) -> None:
        delay_us = 0.0
        if frame[12:14] != _ARP:
            link = self._links[max(origin, towards), min(origin, towards)]
            if link.lost():
                return
            delay_us = link.up(now_us) if origin > towards else link.down(now_us)
        self._order += 1
        heappush(self._heap, (now_us + delay_us, self._order, towards, frame))


def main() -> None:
    frames = _Frames(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    until_terminated(frames.run, frames.lateness)


if __name__ == "__main__":
    main()
