"""Two network namespaces with a bad network between them: the server's and the devices', joined frame by frame.

    ns "server"  s0 10.77.0.1 -- s1  ns "relay"  d1 -- d0 10.77.0.2  ns "devices"

Needs root and `ip`; touches no interface of the machine. Every frame is held back, or lost, as the link model says,
so that TCP itself must cope: retransmission, reordering and head-of-line blocking are the kernel's own. Each flow (by
its device-side TCP port) has a link of its own. When it is cut, the relay tells how late it was itself.

    python -m bench.netns LINK SEED        (run inside the relay's namespace by `Net`)
"""

import ctypes
import fcntl
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from pathlib import Path
from types import FrameType
from typing import Any

from bandroom.music.simulation.links import LINKS, Link

from bench.lateness import Lateness

TREE = Path(__file__).parents[1]
SERVER, DEVICES = "10.77.0.1", "10.77.0.2"
_SPIN_S = 0.0001
_ETH_P_ALL = 3
_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x17, 0x1F, 0x24, 0x2C)  # transmit checksums, TSO, GSO, GRO: frames must leave as they would on a wire


def available() -> bool:
    """Whether namespaces can be made here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


class Net:
    """The three namespaces, and the relay when it runs."""

    def __init__(self, tag: str) -> None:
        self.server, self.relay, self.devices = (f"{tag}-{part}" for part in ("server", "relay", "devices"))
        self._process: subprocess.Popen[str] | None = None

    def inside(self, space: str, *argv: str) -> list[str]:
        """The command line that runs `argv` in one of the namespaces."""
        return ["ip", "netns", "exec", space, *argv]

    def link(self, name: str, seed: int) -> None:
        """From now on frames pass as over the link model `name`."""
        self.cut()
        argv = self.inside(self.relay, sys.executable, "-m", "bench.netns", name, str(seed))
        self._process = subprocess.Popen(argv, cwd=TREE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the relay between the namespaces did not start")

    def cut(self) -> dict[str, Any] | None:
        """No frame passes any more; how late the relay was (`Lateness.told`), or None if none ran."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        return stopped(process)


def stopped(relay: subprocess.Popen[str]) -> dict[str, Any]:
    """End a relay, and hear how late it was."""
    relay.terminate()
    said = relay.communicate(timeout=20)[0]
    return json.loads(said)


def until_terminated(run: Callable[[], None], lateness: Lateness) -> None:
    """A relay's life: say "ready", run, and when terminated tell the lateness."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    # A network does not wait for a core; without the right to say so, the lateness shows what that comes to.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    try:
        run()
    finally:
        print(json.dumps(lateness.told()), flush=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def made(tag: str = "bandroom-bench") -> Iterator[Net]:
    """The namespaces, gone again with the block."""
    net = Net(tag)
    spaces = (net.server, net.relay, net.devices)
    try:
        for space in spaces:
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        for near, far, space, address in (("s0", "s1", net.server, SERVER), ("d0", "d1", net.devices, DEVICES)):
            _ip("-n", space, "link", "add", near, "type", "veth", "peer", "name", far, "netns", net.relay)
            _ip("-n", space, "address", "add", f"{address}/24", "dev", near)
            _ip("-n", space, "link", "set", near, "up")
            _ip("-n", net.relay, "link", "set", far, "up")
            code = f"from bench.netns import plain; plain({near!r})"
            subprocess.run(net.inside(space, sys.executable, "-c", code), cwd=TREE, check=True)
        yield net
    finally:
        net.cut()
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def plain(interface: str) -> None:
    """Switch off what lets a virtual interface hand over frames that were never finished."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0), 8)
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16)
            fcntl.ioctl(sock, _SIOCETHTOOL, request)


class _Frames:
    """The relay itself: two raw sockets and a heap of frames on their way."""

    def __init__(self, link: str, seed: int) -> None:
        self._make = LINKS[link]
        self._rng = random.Random(seed)
        self._links: dict[int, Link] = {}
        self._sides: list[socket.socket] = []
        for interface in ("s1", "d1"):
            side = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            side.bind((interface, 0))
            side.setblocking(False)
            self._sides.append(side)
        self._heap: list[tuple[float, int, int, bytes]] = []
        self._order = 0
        self.lateness = Lateness()

    def run(self) -> None:
        while True:
            timeout_s = self._heap[0][0] / 1e6 - time.monotonic() if self._heap else 1.0
            readable = select.select(self._sides, [], [], max(0.0, timeout_s - _SPIN_S))[0]
            for side in readable:
                self._take(self._sides.index(side))
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
            if address[2] == socket.PACKET_OUTGOING:
                continue  # our own
            now_us = time.monotonic() * 1e6
            port = _device_port(frame, from_device=origin == 1)
            if port is None:
                delay_us = 0.0  # ARP and its like are not what is measured
            else:
                link = self._links.setdefault(port, self._make(random.Random(self._rng.random())))
                if link.lost():
                    continue
                delay_us = link.up(now_us) if origin == 1 else link.down(now_us)
            self._order += 1
            heappush(self._heap, (now_us + delay_us, self._order, 1 - origin, frame))


def _device_port(frame: bytes, *, from_device: bool) -> int | None:
    """The devices' side TCP port of an IPv4 frame, or None for anything else."""
    if len(frame) < 38 or frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return None
    at = 14 + (frame[14] & 15) * 4 + (0 if from_device else 2)
    return int.from_bytes(frame[at : at + 2], "big")


def main() -> None:
    frames = _Frames(sys.argv[1], int(sys.argv[2]))
    until_terminated(frames.run, frames.lateness)


if __name__ == "__main__":
    main()
