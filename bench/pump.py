"""Beats as fast as the broker takes them, or at a given rate: the load for what a delivery costs.

A process, `python -m bench.pump`, told in lines: first {"path", "rooms", "username", "password"}, answered with
"ready"; then "go RATE" (publishes a second; 0: as fast as it goes) begins, and "stop" ends and answers {"sent":
publishes, "seconds": …}. Connects as a tempo worker. All packets have one size, `SIZE`, and 80 bytes of payload. As
fast as it goes it blocks in the write: the broker always has more to read.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandroom.mqtt import packets

from bench.home import room_of, tenant_of

TREE = Path(__file__).parents[1]
MOST_ROOMS = 1000  # above it names get longer, and packets differ in size
CLIENT_ID = "bandroom_tempo-0"
_PAYLOAD = b'{"rev":7,"n":1000,"bar":251,"pos":1,"bpm":120.0,"t":1790000000000000,"d":500000}'[:80].ljust(80)
_TICK_S = 0.005
SEND_BUFFER = 16_384
"""Octets that wait for the broker: some hundred publishes, so that a slice is over soon after its end."""


def topic(room: int) -> str:
    """Where a room's beats go."""
    return f"tenant/{tenant_of(room)}/music_room/{room_of(room)}/beat"


def packet(room: int) -> bytes:
    """The one beat that is sent to a room over and over."""
    return packets.publish(packets.string(topic(room)), _PAYLOAD)


SIZE = len(packet(0))


class Driver:
    """A process that makes the load, seen from a bench."""

    program = "bench.pump"
    size = SIZE

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.program], cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(dict(spec)) + "\n")
        if self._hear() != "ready\n":
            raise RuntimeError(f"the broker did not let {self.program} in")

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self, rate: float = 0.0) -> None:
        """Begin to send."""
        self._say(f"go {rate}\n")

    def stop(self) -> dict[str, Any]:
        """End it; how much was sent since `go`."""
        self._say("stop\n")
        return json.loads(self._hear())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Pump(Driver):
    """Beats for so many rooms, by the broker's Unix socket."""

    def __init__(self, path: str, rooms: int, username: str, password: str) -> None:
        super().__init__({"path": path, "rooms": rooms, "username": username, "password": password})


def spec_told() -> dict[str, Any]:
    """The first line on standard input. Unbuffered: what follows is waited for on the descriptor."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(sys.stdin.fileno(), 1) or sys.exit()
    return json.loads(line)


def told() -> bytes:
    """What has been said on standard input by now; empty: nothing. Leaves when the bench has gone."""
    if not select.select([sys.stdin.fileno()], [], [], 0)[0]:
        return b""
    line = os.read(sys.stdin.fileno(), 100)
    return line or sys.exit()


def _send(sock: socket.socket, beats: list[bytes], rate: float) -> int:
    """Send until told to stop; how many publishes."""
    sent, rooms, everything, began_s = 0, len(beats), b"".join(beats), time.monotonic()
    while not told():
        if rate <= 0:
            sock.sendall(everything)
            sent += rooms
            continue
        wanted = int((time.monotonic() - began_s) * rate)
        if wanted > sent:
            sock.sendall(b"".join(beats[n % rooms] for n in range(sent, wanted)))
            sent = wanted
        time.sleep(_TICK_S)
    return sent


def main() -> None:
    spec = spec_told()
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    sock.connect(spec["path"])
    sock.sendall(packets.connect(CLIENT_ID, spec["username"], spec["password"], keepalive_s=65535))
    assert sock.recv(16)[3] == 0, "refused"
    beats = [packet(room) for room in range(spec["rooms"])]
    print("ready", flush=True)
    while True:
        select.select([sys.stdin.fileno()], [], [])
        line = told()
        began_s = time.monotonic()
        sent = _send(sock, beats, float(line.split()[1]))
        print(json.dumps({"sent": sent, "seconds": time.monotonic() - began_s}), flush=True)


if __name__ == "__main__":
    main()
