"""Beats written straight into the crowd's sockets, without a broker: the least lateness that the crowd can report."""

import json
import select
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from bandroom.beats import spelling
from bandroom.beats.engine import Engine, RoomKey
from bandroom.clock import ServerClock

from bench.home import bench_rooms

TREE = Path(__file__).parents[1]


class Floor:
    """The writing process, seen from a bench."""

    def __init__(self, home: Path, rooms: int, each: int, bpm: float, offset_us: int) -> None:
        argv = [sys.executable, "-m", "bench.floor", str(rooms), str(each), str(bpm), str(offset_us)]
        self._process = subprocess.Popen(argv, cwd=TREE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _welcome(peer: socket.socket) -> str:
    """Answer CONNECT and SUBSCRIBE, which the crowd sends together; the first filter."""
    peer.settimeout(10)
    data = b""
    while True:
        data += peer.recv(4096)
        # The crowd's CONNECT is shorter than 128 bytes: one byte of length.
        first = 2 + data[1] if len(data) > 1 else 1 << 30
        if len(data) > first + 2 and len(data) >= first + 2 + data[first + 1]:
            break
    peer.sendall(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00")
    name_at = first + 4
    length = int.from_bytes(data[name_at : name_at + 2], "big")
    return data[name_at + 2 : name_at + 2 + length].decode()


def main() -> None:
    rooms, each, bpm, offset_us = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    clock = ServerClock(offset_us)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    peers: dict[RoomKey, list[socket.socket]] = defaultdict(list)
    for _ in range(rooms * each):
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        levels = _welcome(peer).split("/")
        peers[(levels[1], levels[3])].append(peer)
    engine = Engine(spelling.beat_packet)
    for tenant, room, tempo_map in bench_rooms(rooms, clock.now_us(), bpm=bpm):
        engine.set_map((str(tenant), room), tempo_map, clock.now_us())
    while True:
        for room in engine.take_due(clock.now_us()):
            for peer in peers[room.key]:
                try:
                    peer.send(room.packet)
                except OSError:
                    return
        engine.prepare()
        due_us = engine.next_due_us() or 0
        left_us = due_us - clock.now_us()
        if left_us > 120 and not engine.unprepared:
            select.select([], [], [], (left_us - 120) / 1e6)


if __name__ == "__main__":
    main()
