"""Beats as fast as the broker takes them, or at a given rate: the load for what a delivery costs.

A process: `python -m bench.pump HOME SOCKET ROOMS PER_SECOND [PASSWORD]` (0: as fast as it goes) until it is
killed. Connects as a tempo worker, with the token that the gate wants or the password given. All packets have one
size, `SIZE`.
"""

import socket
import sys
import time

from bandroom.auth.service_credential import service_credential
from bandroom.beats import spelling
from bandroom.mqtt import packets
from bandroom.music.tempo_map import Beat
from bandroom.paths import Home
from bandroom.wire.ids import Role

from bench.home import room_of, tenant_of

MOST_ROOMS = 1000  # above it names get longer, and packets differ in size
_TICK_S = 0.005


def packet(room: int) -> bytes:
    """The one beat that is sent to a room over and over."""
    key = (str(tenant_of(room)), room_of(room))
    return spelling.beat_packet(key, 1_790_000_000, Beat(1000, 251, 1, 120.0, 1_790_000_000_000_000, 500_000))


SIZE = len(packet(0))


def main() -> None:
    home, path, rooms, per_second = Home(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    who = service_credential(home, Role.TEMPO, 0)
    password = sys.argv[5] if len(sys.argv) > 5 else who.password()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(packets.connect(who.client_id, who.username, password, keepalive_s=3600))
    assert sock.recv(16)[3] == 0, "refused"
    beats = [packet(room) for room in range(rooms)]
    print("ready", flush=True)
    if per_second <= 0:
        everything = b"".join(beats)
        while True:
            sock.sendall(everything)
    began_s, sent = time.monotonic(), 0
    while True:
        wanted = int((time.monotonic() - began_s) * per_second)
        if wanted > sent:
            sock.sendall(b"".join(beats[n % rooms] for n in range(sent, wanted)))
            sent = wanted
        time.sleep(_TICK_S)


if __name__ == "__main__":
    main()
