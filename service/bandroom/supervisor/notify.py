"""What systemd is told of us: ready, still alive, ending (sd_notify, see its manual page). Without systemd: nothing."""

from __future__ import annotations

import os
import socket
import sys


def tell(*words: str) -> None:
    """Send ``READY=1`` and the like to the socket that systemd named, if it named one."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.settimeout(1.0)
            sock.sendto("\n".join(words).encode(), address)
        except OSError as error:
            # It will judge by our silence; the music goes on until then.
            print(f"systemd was not told {words[0]}: {error}", file=sys.stderr)


def watchdog_s() -> float | None:
    """How often systemd wants a sign of life (half of what it allows, as its manual advises); None if it wants none."""
    try:
        allowed_s = int(os.environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return allowed_s / 2 if allowed_s > 0 and meant == str(os.getpid()) else None
