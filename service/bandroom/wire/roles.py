"""Who may say what, and who may hear it: the protocol's table of rights, as data.

`policy` walks these tables and nothing else, so that the table in docs/protocol.md, this file and the gate in C
can be laid side by side. A right that is not written here does not exist. QoS and retain are the topic's own and
stand in `topics.SHAPES`.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bandroom.wire.ids import Role
from bandroom.wire.topics import Leaf

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOM_IN_TOKEN: Final = frozenset({Role.STUDENT, Role.VIEWER})
"""Roles whose token names the one room that they are in."""


class Whose(Enum):
    """Whose subject may stand in the topic. A leaf without a subject has `ANY`."""

    OWN = "own"
    ANY = "any"


_OWN, _ANY = Whose.OWN, Whose.ANY

_PLAYER_SAYS = {Leaf.NOTE: _OWN, Leaf.MIDI: _OWN, Leaf.CLOCK_PING: _OWN, Leaf.PRESENCE: _OWN}
_PUPIL_HEARS = {
    Leaf.BEAT: _ANY,
    Leaf.TEMPO: _ANY,
    Leaf.ROOM: _ANY,
    Leaf.MEMBER: _ANY,
    Leaf.NOTE: _ANY,
    Leaf.MIDI: _ANY,
    Leaf.CLOCK_REPLY: _OWN,
    Leaf.FEEDBACK: _OWN,
    Leaf.LIMIT: _OWN,
}
_TEACHER_HEARS = {
    **_PUPIL_HEARS,
    Leaf.FEEDBACK: _ANY,
    Leaf.LIMIT: _ANY,
    Leaf.CONTROL_REPLY: _OWN,
    Leaf.PRESENCE: _ANY,
}

MAY_PUBLISH: Final[Mapping[Role, Mapping[Leaf, Whose]]] = MappingProxyType(
    {
        Role.ROOMS: {leaf: _ANY for leaf in Leaf if leaf is not Leaf.BEAT},
        Role.TEMPO: {Leaf.BEAT: _ANY},
        Role.TEACHER: {**_PLAYER_SAYS, Leaf.CONTROL: _OWN},
        Role.STUDENT: _PLAYER_SAYS,
        Role.DEVICE: _PLAYER_SAYS,
        Role.VIEWER: {Leaf.CLOCK_PING: _OWN, Leaf.PRESENCE: _OWN},
    }
)

MAY_READ: Final[Mapping[Role, Mapping[Leaf, Whose]]] = MappingProxyType(
    {
        # The service reads everything under `tenant/`, by whatever filter: see `policy`.
        Role.ROOMS: dict.fromkeys(Leaf, _ANY),
        Role.TEMPO: {Leaf.TEMPO: _ANY},
        Role.TEACHER: _TEACHER_HEARS,
        Role.STUDENT: _PUPIL_HEARS,
        Role.DEVICE: {**_PUPIL_HEARS, Leaf.ASSIGNMENT: _OWN},
        Role.VIEWER: _PUPIL_HEARS,
    }
)

MUTED_LEAVES: Final = frozenset({Leaf.NOTE, Leaf.MIDI})
"""What a mute takes away, and all that it takes away."""
