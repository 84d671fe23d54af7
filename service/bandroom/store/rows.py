"""What the store hands out: frozen rows with their ids parsed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bandroom.wire.ids import JoinCode, RoomId, Subject, TenantId
from bandroom.wire.instruments import Instrument


class RoomState(StrEnum):
    """The states that a row of ``rooms`` can have. A closed room rests, then it is deleted."""

    OPEN = "open"
    LOCKED = "locked"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A school. ``max_rooms`` None: the service's default. Times in Unix seconds, here and below."""

    tenant: TenantId
    name: str
    created_at: int
    max_rooms: int | None


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room. ``tempo`` is the JSON of the wire's Tempo message; ``tempo_rev`` its revision."""

    tenant: TenantId
    room: RoomId
    join_code: JoinCode
    join_key: str
    state: RoomState
    name: str
    all_muted: bool
    info_rev: int
    tempo: str
    tempo_rev: int
    created_at: int
    used_at: int
    closed_at: int | None
    rests_until: int | None

    @property
    def is_open(self) -> bool:
        """Whether members may play: open or locked."""
        return self.state is not RoomState.CLOSED


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A pupil in a room. ``cookie`` is a hash; None where the pupil came without a browser."""

    tenant: TenantId
    room: RoomId
    sub: Subject
    name: str
    cookie: str | None
    joined_at: int
    kicked_at: int | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device. Credentials below ``floor`` are refused. ``instrument`` None: nobody has said what it is."""

    tenant: TenantId
    sub: Subject
    name: str
    generation: int
    enrolled_at: int
    revoked_at: int | None
    instrument: Instrument | None
    room: RoomId | None

    @property
    def floor(self) -> int:
        """The lowest generation that may connect."""
        return self.generation if self.revoked_at is None else self.generation + 1


@dataclass(frozen=True, slots=True)
class TeacherRow:
    """A teacher who may sign in. ``key_hash`` None: revoked."""

    tenant: TenantId
    sub: Subject
    name: str
    key_hash: str | None
    added_at: int
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens refused until ``until``: a subject's (``what`` 'sub') issued at or before ``iat_max``, or one by jti."""

    tenant: TenantId
    what: str
    value: str
    iat_max: int
    until: int


class TempoRow(NamedTuple):
    """What a beat worker needs of an open room: the JSON of its tempo map, and the map's revision."""

    tenant: TenantId
    room: RoomId
    tempo: str
    rev: int


class VoidDevice(NamedTuple):
    """A device of a deleted tenant: credentials of generations below ``floor`` are refused."""

    tenant: TenantId
    sub: Subject
    floor: int
