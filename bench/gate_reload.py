"""SIGHUP and new keys with thousands connected: nobody is dropped, no beat lost, and how long the broker stands still.

Beats go out at a steady rate and are counted to the last one. Meanwhile, again and again, a key is added, the gate is
told by SIGHUP (the broker asks it about every client), and somebody with a token of the newest key comes in.
"""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bandroom.auth.keys import add_keys, load_keys
from bandroom.auth.service_credential import service_credential
from bandroom.mqtt import packets
from bandroom.wire.ids import Role
from bandroom.wire.topics import Leaf

from bench import report
from bench.load import Crowd, Login
from bench.pump import SIZE, Pump
from bench.school import School, login, opened, pupils, secret

_RATE = 200.0
_EVERY_S = 2.0
_KNOWN_WITHIN_S = 10.0


def measure(rooms: int, each: int, times: int) -> dict[str, Any]:
    """So many SIGHUPs, alternately with a new signing key and a new master key."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        school = stack.enter_context(opened(folder, "gate", rooms, each, leaves=(Leaf.BEAT,), tokens=True))
        report.say(f"  {rooms * each:,} clients connect …")
        crowd = Crowd(school.tcp, school.clock.offset_us, school.logins, timed=False)
        stack.callback(crowd.kill)
        who = service_credential(school.home, Role.TEMPO, 0)
        pump = Pump(school.broker.socket_path, rooms, who.username, who.password())
        stack.callback(pump.kill)
        crowd.mark()
        pump.go(_RATE)
        known_ms: list[float] = []
        stalls_ms: list[float] = []
        for number in range(times):
            time.sleep(_EVERY_S)
            known, stall = _rotate(school, number)
            known_ms += [known] if number % 2 == 0 else []  # the gate names no master keys
            stalls_ms.append(stall)
        sent = pump.stop()["sent"]
        octets, connected = 0, 0
        while True:
            time.sleep(0.2)
            said = crowd.mark()
            octets, connected = octets + said["octets"], said["connected"]
            if not said["octets"]:
                break
        missing = sent * each - octets // SIZE
        return {
            "clients": rooms * each,
            "sighups": times,
            "dropped": rooms * each - connected,
            "deliveries": octets // SIZE,
            "missing": missing,
            "known_ms": report.summary(known_ms),
            "stall_ms": report.summary(stalls_ms),
            "met": missing == 0 and connected == rooms * each,
        }


def _rotate(school: School, number: int) -> tuple[float, float]:
    """ms until the gate knows the new key, and the longest that the broker left a ping unanswered meanwhile."""
    before = pupils(1, 1, "s", first=1000 + number)[0]
    with _entered(school, login(before, secret(load_keys(school.home), before), ())) as pinging:
        ring = add_keys(school.home, masters=bool(number % 2))
        new = {key.kid for key in (*ring.people, *ring.service)}
        began_s = time.monotonic()
        known_s = longest_s = 0.0
        os.kill(school.broker.pid, signal.SIGHUP)
        while not known_s or time.monotonic() < began_s + 0.3:
            asked_s = time.monotonic()
            pinging.sendall(packets.PINGREQ)
            assert pinging.recv(2) == packets.PINGRESP
            now_s = time.monotonic()
            longest_s = max(longest_s, now_s - asked_s)
            if not known_s and new <= _known(school.home.gate_status):
                known_s = now_s - began_s
            if now_s > began_s + _KNOWN_WITHIN_S:
                raise RuntimeError("the gate does not name the new keys")
    after = pupils(1, 1, "s", first=2000 + number)[0]
    with _entered(school, login(after, secret(ring, after), ())):
        return 1000 * known_s, 1000 * longest_s


def _known(status: Path) -> set[str]:
    """The signing keys that the gate says it knows."""
    lines = status.read_text("ascii", "replace").split("\n")
    return next((set(line.split()[1:]) for line in lines if line.startswith("keys")), set())


@contextmanager
def _entered(school: School, who: Login) -> Iterator[socket.socket]:
    """A connection that has been let in."""
    with socket.create_connection(school.tcp) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(packets.connect(who.client_id, who.username, who.password, keepalive_s=3600))
        assert sock.recv(4)[3] == 0, f"{who.client_id} was refused"
        yield sock
