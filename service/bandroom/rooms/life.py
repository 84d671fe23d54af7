"""The life of a room as one table: which command may come in which state, and where it leads.

A closed room rests: it keeps id and code for a day, may be reopened, and is deleted afterwards. What stands in no
row is refused with the state's error.
"""

from __future__ import annotations

from bandroom.store import RoomState
from bandroom.wire.commands import ErrorCode

REST_S = 24 * 3600
"""How long a closed room, and a replaced code, rests (s)."""

FORGET_PUPILS = "forget_pupils_s"
"""A tenant's setting: seconds from a room's closing until its pupils are forgotten; REST_S at most, and by default."""

_OPEN, _LOCKED, _CLOSED = RoomState.OPEN, RoomState.LOCKED, RoomState.CLOSED

CHANGES: dict[tuple[RoomState, str], RoomState] = {
    (_OPEN, "lock"): _LOCKED,
    (_OPEN, "unlock"): _OPEN,
    (_OPEN, "close"): _CLOSED,
    (_OPEN, "reopen"): _OPEN,
    (_LOCKED, "lock"): _LOCKED,
    (_LOCKED, "unlock"): _OPEN,
    (_LOCKED, "close"): _CLOSED,
    (_LOCKED, "reopen"): _LOCKED,
    (_CLOSED, "close"): _CLOSED,
    (_CLOSED, "reopen"): _OPEN,
}
"""(state, command) → next state, for the commands that change the state. The same state: nothing to do."""

STATE_COMMANDS = frozenset(command for _, command in CHANGES)


def refusal(state: RoomState, command: str) -> tuple[ErrorCode, str] | None:
    """Why ``command`` cannot be done in ``state``, or None if it can."""
    if command in STATE_COMMANDS:
        return None if (state, command) in CHANGES else ("closed", "the room is closed: reopen it first")
    return ("closed", "the room is closed: reopen it first") if state is _CLOSED else None
