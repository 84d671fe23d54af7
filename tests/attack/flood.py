"""A process that floods: `python flood.py HOST PORT SECONDS`, CONNECT and the packets to repeat as hex on two lines.

Apart from the tests' own process, and running only when nobody else wants the core, so that what it costs is the
broker's time and not the victims' ears'.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time


def main() -> None:
    """Connect, wait for the answer, then send without end; print how many packets' worth of bytes went out."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    connect, load = (bytes.fromhex(sys.stdin.readline()) for _ in range(2))
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 5) as sock:
            sock.sendall(connect)
            if sock.recv(4)[3:4] == b"\0":
                sock.settimeout(0.5)
                while time.monotonic() < end:
                    sock.sendall(load)
                    sent += 1
            else:
                time.sleep(0.05)  # kept out: knock again
    print(sent)


if __name__ == "__main__":
    main()
