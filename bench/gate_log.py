"""How soon a line of the gate log is in force, verb by verb, over the real file and an otherwise idle broker.

From before the line is written (and on the disk) to the moment that it shows, at random moments between two readings of
the log. Where a connection must end: to its end. Else a player plays a note every two milliseconds and somebody
listens: to the first note from which on the gate does the new thing with all that follow. That player keeps the broker
awake, so each of those lines is written once more while all is still, and `late when still` counts how often a single
note sent 150 ms later was not yet treated as it must be.
"""

import random
import select
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bandroom.auth.devices import password
from bandroom.auth.keys import load_keys
from bandroom.mqtt import packets
from bandroom.rooms.gate_log import GateLog
from bandroom.wire.gate_log import (
    Assign,
    Close,
    Entry,
    Floor,
    Kick,
    Limit,
    LimitKey,
    Mute,
    MuteAll,
    Open,
    Revoke,
    Unmute,
    UnmuteAll,
)
from bandroom.wire.ids import RoomId, Subject, UserName
from bandroom.wire.topics import Leaf

from bench import report
from bench.load import Login
from bench.school import School, login, opened, pupils, secret

GOAL_MS = 150.0
_WATCH_S = 0.2
_ROOM, _OTHER = pupils(1, 1)[0].room, RoomId("OTHER-0001")
_TENANT, _PLAYER = _ROOM.tenant, Subject("d-0-0")


def _moment() -> float:
    """Seconds: any phase of the broker's longest sleep."""
    return random.uniform(0.05, 0.15)


class _Client:
    """A blocking connection with a credential of the school."""

    def __init__(self, school: School, who: Login) -> None:
        self.sock = socket.create_connection(school.tcp)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(
            packets.connect(who.client_id, who.username, who.password, keepalive_s=3600)
            + packets.subscribe(1, [(name, 0) for name in who.filters])
        )
        assert who.note_topic is not None
        self.topic = packets.string(who.note_topic)
        self.rest = b""
        said = self.sock.recv(64)
        assert said[3] == 0, f"{who.client_id} was refused"
        time.sleep(0.05)

    def heard(self, wait_s: float) -> set[int]:
        """The numbers of the notes that come within so many seconds."""
        found: set[int] = set()
        end_s = time.monotonic() + wait_s
        while select.select([self.sock], [], [], max(0.0, end_s - time.monotonic()))[0]:
            data = self.sock.recv(65_536)
            if not data:
                raise RuntimeError("a hearer's connection ended")
            self.rest += data
            *whole, self.rest = self.rest.split(b"}")
            found |= {int(part[part.rindex(b"{") + 1 :]) for part in whole}
        return found

    def play(self, number: int) -> None:
        self.sock.sendall(packets.publish(self.topic, b"{%d}" % number))

    def ended_at(self) -> float:
        """When the broker closed this connection (monotonic seconds); waits up to two seconds."""
        self.sock.settimeout(2)
        try:
            while self.sock.recv(65_536):
                pass
        except ConnectionResetError:
            pass  # closed as well
        return time.monotonic()


def _pairs() -> list[tuple[str, Entry, str, Entry]]:
    """A line that silences, and the one that takes it back."""
    room = _ROOM.room
    return [
        ("mute", Mute(_TENANT, room, _PLAYER), "unmute", Unmute(_TENANT, room, _PLAYER)),
        ("muteall", MuteAll(_TENANT, room), "unmuteall", UnmuteAll(_TENANT, room)),
        ("close", Close(_TENANT, room), "open", Open(_TENANT, room)),
        ("assign (away)", Assign(_TENANT, _PLAYER, _OTHER), "assign (back)", Assign(_TENANT, _PLAYER, room)),
        ("limit (none)", Limit(_TENANT, LimitKey.CLIENT_MSGS, 0, 0), "limit (much)",
         Limit(_TENANT, LimitKey.CLIENT_MSGS, 10**9, 10**9)),
    ]  # fmt: skip


def measure(times: int) -> dict[str, Any]:
    """Each verb so many times."""
    took_ms: dict[str, list[float]] = {}
    still: dict[str, int] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bandroom-bench-")))
        school = stack.enter_context(opened(folder, "gate", 1, 3, leaves=(Leaf.NOTE,), unlimited=True))
        log = GateLog(school.home.gate_log)
        limits = [Limit(_TENANT, key, 10**9, 10**9) for key in LimitKey]
        log.compact([Open(_TENANT, _ROOM.room), Open(_TENANT, _OTHER), *limits,
                     *(Assign(_TENANT, Subject(f"d-0-{n}"), _ROOM.room) for n in range(3))])  # fmt: skip
        stack.callback(log.close)
        time.sleep(0.3)
        player, hearer = _Client(school, school.logins[0]), _Client(school, school.logins[1])
        for name, entry, back_name, back in _pairs():
            report.say(f"  {name}, {back_name} …")
            for _ in range(times):
                for verb, line, sounds in ((name, entry, False), (back_name, back, True)):
                    took_ms.setdefault(verb, []).append(_while_playing(player, hearer, log, line, sounds))
                for verb, line, sounds in ((name, entry, False), (back_name, back, True)):
                    still[verb] = still.get(verb, 0) + _while_still(player, hearer, log, line, sounds)
        for verb, act in _ends(school, log).items():
            report.say(f"  {verb} …")
            took_ms[verb] = [act() for _ in range(times)]
    table = [{"verb": verb, **report.summary(values), "late_when_still": still.get(verb)} for verb, values in
             took_ms.items()]  # fmt: skip
    for line in table:
        line["met"] = line["max"] <= GOAL_MS and not line["late_when_still"]
    return {"times": times, "table": table}


def _while_playing(player: _Client, hearer: _Client, log: GateLog, line: Entry, sounds: bool) -> float:
    """ms from the line to the first note from which on all are heard, or (`sounds` false) none is."""
    sent: list[float] = []
    heard: set[int] = set()
    wrote_s = None
    write_s = time.monotonic() + _moment()
    while (now_s := time.monotonic()) < write_s + _WATCH_S:
        if wrote_s is None and now_s >= write_s:
            wrote_s = now_s
            log.append([line])
        sent.append(time.monotonic())
        player.play(len(sent) - 1)
        heard |= hearer.heard(0.002)
    heard |= hearer.heard(0.05)
    assert wrote_s is not None
    wrong = [at for number, at in enumerate(sent) if (number in heard) != sounds and at >= wrote_s]
    right = [at for at in sent if at > (wrong[-1] if wrong else wrote_s)]
    return 1000 * (right[0] - wrote_s) if right else 1000 * _WATCH_S


def _while_still(player: _Client, hearer: _Client, log: GateLog, line: Entry, sounds: bool) -> int:
    """1 if a note 150 ms after the line is not treated as it says; nothing else moves meanwhile."""
    time.sleep(_moment())
    log.append([line])
    time.sleep(GOAL_MS / 1000)
    player.play(1)
    return int((1 in hearer.heard(0.05)) != sounds)


def _ends(school: School, log: GateLog) -> dict[str, Callable[[], float]]:
    """Verbs that end a connection: each a function that does it once and says how many ms it took."""
    keys = load_keys(school.home)
    person, device = pupils(1, 1, "s")[0], pupils(1, 1, first=2)[0]
    generation = 1

    def ended(client: _Client, line: Entry) -> float:
        time.sleep(_moment())
        wrote_s = time.monotonic()
        log.append([line])
        return 1000 * (client.ended_at() - wrote_s)

    def pupil() -> _Client:
        return _Client(school, login(person, secret(keys, person), (Leaf.NOTE,)))

    def kick() -> float:
        return ended(pupil(), Kick(_TENANT, person.sub))

    def floor() -> float:
        nonlocal generation
        user = UserName.of(_TENANT, device.sub, generation)
        plain = login(device, password(keys, user), (Leaf.NOTE,))
        generation += 1
        who = Login(plain.client_id, str(user), plain.password, plain.filters, plain.note_topic)
        return ended(_Client(school, who), Floor(_TENANT, device.sub, generation))

    number = 0

    def revoke() -> float:
        nonlocal number, person
        number += 1
        person = pupils(1, 1, "s", first=number)[0]
        now_s = int(time.time())
        return ended(pupil(), Revoke(_TENANT, person.sub, now_s, now_s + 3600))

    return {"kick": kick, "floor": floor, "revoke": revoke}
