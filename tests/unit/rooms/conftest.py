"""A control plane without a broker: the real store and gate log on disk, a clock set by hand, effects collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bandroom.auth.keys import KeyRing, ensure_keys
from bandroom.auth.owner import Owner
from bandroom.paths import Home
from bandroom.rooms import admin
from bandroom.rooms.admin import NewRoom
from bandroom.rooms.commands import Commands
from bandroom.rooms.control import Actor, Control, Limits
from bandroom.rooms.effects import Effect
from bandroom.rooms.gate_log import GateLog
from bandroom.rooms.join import Joined, JoinRequest, join
from bandroom.store import RoomRow, Store
from bandroom.testing import ManualClock
from bandroom.wire.gate_state import GateState, read_log
from bandroom.wire.ids import JoinCode, RoomId, TenantId
from bandroom.wire.messages import Command, Reply

LINCOLN, TWIN = TenantId("lincoln"), TenantId("lincoln-2")
MUSIC = RoomId("MUSIC-1234")
START_S = 1_800_000_000


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    home = Home(tmp_path_factory.mktemp("keys") / "data")
    home.create()
    return ensure_keys(home)


@dataclass
class Plane:
    """A control plane and what came out of it."""

    folder: Path
    keys: KeyRing
    limits: Limits = field(default_factory=Limits)
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_S * 1_000_000))
    effects: list[Effect] = field(default_factory=list[Effect])
    count: int = 0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Open store and gate log, as a start of the service does."""
        self.store = Store.open(self.folder / "bandroom.db")
        self.gate = GateLog(self.folder / "gate-log")
        self.control = Control(
            self.store, self.gate, self.keys, self.clock, self.limits, self._take, wall_s=lambda: self.now_s
        )
        self.control.compact_gate()
        self.commands = Commands(self.control)

    def close(self) -> None:
        self.gate.close()
        self.store.close()

    def restart(self) -> None:
        """As after a kill: nothing but what is on the disk remains."""
        self.close()
        self.open()

    def _take(self, effects: Iterable[Effect]) -> None:
        self.effects += effects

    def drain(self) -> list[Effect]:
        """The effects since the last call. What is told to the gate late is told now."""
        from bandroom.rooms.effects import TellGate

        taken, self.effects = list(self.effects), []
        for effect in taken:
            if isinstance(effect, TellGate):
                self.control.tell_gate(effect)
        return taken

    @property
    def now_s(self) -> int:
        return self.clock.now_us() // 1_000_000

    def advance(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1_000_000))

    def gate_state(self) -> GateState:
        """What a gate that has read the log to its end knows."""
        return read_log(self.gate._path.read_bytes()).state

    def room(self, room: str = "MUSIC-1234", tenant: TenantId = LINCOLN) -> RoomRow:
        return self.control.room(tenant, RoomId(room))

    def create(self, code: str | None = "MUSIC-1234", tenant: TenantId = LINCOLN, **asked: Any) -> RoomRow:
        return admin.create_room(self.control, tenant, NewRoom(code=None if code is None else JoinCode(code), **asked))

    def do(
        self,
        cmd: str,
        room: str = "MUSIC-1234",
        actor: Actor | None = None,
        tenant: TenantId = LINCOLN,
        **arguments: Any,
    ) -> Reply:
        """Give a command, as the owner unless said otherwise."""
        self.count += 1
        body = {"id": f"c{self.count}", "cmd": cmd, **arguments}
        import json

        command = Command.decode(json.dumps(body).encode())
        return self.commands.handle(Owner() if actor is None else actor, tenant, RoomId(room), command)

    def join(self, code: str = "MUSIC-1234", tenant: str = "lincoln", **asked: Any) -> Joined:
        return join(self.control, JoinRequest(tenant, code, **asked))


@pytest.fixture
def plane(tmp_path: Path, keys: KeyRing) -> Iterator[Plane]:
    """A control plane with the tenants `lincoln` and `lincoln-2`, and no rooms."""
    plane = Plane(tmp_path, keys)
    for tenant in (LINCOLN, TWIN):
        admin.create_tenant(plane.control, tenant, None)
    yield plane
    plane.close()


@pytest.fixture
def music(plane: Plane) -> Plane:
    """The same with the room MUSIC-1234 of `lincoln` open and standing still."""
    plane.create()
    plane.drain()
    return plane
