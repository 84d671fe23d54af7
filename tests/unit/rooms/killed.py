"""A control plane that works through a seeded list of commands and joins, and says what it replied. Made to be killed.

Says one line for each reply: its number and a digest of all that the store holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bandroom.auth.keys import KeyRing
from bandroom.auth.owner import Owner
from bandroom.rooms.commands import Commands
from bandroom.rooms.control import Control, Limits, Refused
from bandroom.rooms.gate_log import GateLog
from bandroom.rooms.join import JoinRequest, join
from bandroom.store import Store
from bandroom.testing import ManualClock
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Command

LINCOLN, MUSIC = TenantId("lincoln"), RoomId("MUSIC-1234")
START_S = 1_800_000_000
COMMANDS: list[dict[str, Any]] = [
    {"cmd": "start", "count_in": 0},
    {"cmd": "stop", "at": "now"},
    {"cmd": "set_tempo", "bpm": 96},
    {"cmd": "set_tempo", "bpm": 133.3, "at": "beat"},
    {"cmd": "set_meter", "meter": "6/8"},
    {"cmd": "set_meter", "meter": "4/4"},
    {"cmd": "mute"},
    {"cmd": "unmute"},
    {"cmd": "lock"},
    {"cmd": "unlock"},
    {"cmd": "rename", "name": "Choir"},
    {"cmd": "rename", "name": "Band"},
    {"cmd": "close"},
    {"cmd": "reopen"},
    {"cmd": "new_code"},
    {"cmd": "kick", "who": "s-ann"},
    {"cmd": "reset_name", "who": "s-ann"},
    {"cmd": "mute", "who": "s-ann"},
    {"cmd": "assign_device", "device": "d-drum"},
    {"cmd": "assign_device", "device": "d-drum", "away": True},
    {"cmd": "join"},
    {"cmd": "join"},
]
TABLES = ("rooms", "mutes", "commands", "resting_codes", "revocations", "members", "devices", "assignments")


def nth(seed: int, n: int) -> dict[str, Any]:
    """The command of that number: the same in every process."""
    return {**random.Random(f"{seed}/{n}").choice(COMMANDS), "id": f"n{n}"}


def digest(store: Store) -> str:
    """All rows that commands change, their answers included, as one short text."""
    rows: list[Any] = []
    for table in TABLES:
        # The order of keys is the table's own; the kinds of values are the same everywhere.
        rows += [tuple(row) for row in store.connection.rows(f"SELECT * FROM {table}")]  # noqa: S608
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def is_done(store: Store, seed: int, n: int) -> bool:
    """Whether the command of that number left its trace: an answer on record, or a pupil of that number."""
    rows = store.for_tenant(LINCOLN)
    if nth(seed, n)["cmd"] == "join":
        return any(member.name == f"pupil {n}" for member in rows.members(MUSIC))
    return rows.answered(MUSIC, "owner", f"n{n}") is not None


def _join(control: Control, n: int) -> None:
    room = control.room(LINCOLN, MUSIC)
    with contextlib.suppress(Refused):  # locked or closed just now, as commands may be refused
        join(control, JoinRequest(LINCOLN, room.join_code, nickname=f"pupil {n}"))


def work(folder: Path, keys: KeyRing, seed: int, begin: int, end: int, say: Callable[[str], object]) -> None:
    """Do the commands from number ``begin`` on."""
    store = Store.open(folder / "bandroom.db")
    gate = GateLog(folder / "gate-log")
    clock = ManualClock()
    control = Control(store, gate, keys, clock, Limits(), lambda _: None, wall_s=lambda: START_S)
    control.compact_gate()
    commands = Commands(control)
    for n in range(begin, end):
        clock.set((START_S + n) * 1_000_000)
        asked = nth(seed, n)
        if asked["cmd"] == "join":
            _join(control, n)
        else:
            commands.handle(Owner(), LINCOLN, MUSIC, Command.decode(json.dumps(asked).encode()))
        say(f"{n} {digest(store)}")
    store.close()
