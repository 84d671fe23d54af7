"""Which notes are sounding, and when the last of them must end. Pure: time is an argument.

A hearer may not trust a player to end its notes: the ``off`` can be lost, the player can leave, the gate can drop
what goes over a limit. So every note that begins is on a list here, and ends by itself after 30 s or when
its player is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bandroom.wire.ids import Subject

HANGING_US = 30_000_000
"""A note that got no ``off`` within this time ends."""


class Ended(StrEnum):
    """Why a note ended."""

    OFF = "off"
    HANGING = "hanging"
    LEFT = "left"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one player: what can sound once at a time."""

    player: Subject
    channel: int  # 0 to 15
    note: int  # 0 to 127


class Sounding:
    """The notes that sound, each with the time at which it began."""

    def __init__(self, hanging_us: int = HANGING_US) -> None:
        self._hanging_us = hanging_us
        # Insertion order is order of beginning, since a key that is struck again is put at the end.
        self._began: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._began)

    def on(self, key: Key, now_us: int) -> None:
        """``key`` begins to sound, or sounds anew."""
        self._began.pop(key, None)
        self._began[key] = now_us

    def off(self, key: Key) -> bool:
        """``key`` ends; False when it did not sound (its ``on`` was lost, or it has ended already)."""
        return self._began.pop(key, None) is not None

    def gone(self, player: Subject) -> list[Key]:
        """``player`` left: the keys that end with that."""
        ending = [key for key in self._began if key.player == player]
        for key in ending:
            del self._began[key]
        return ending

    def expire(self, now_us: int) -> list[Key]:
        """The keys that have sounded for too long by ``now_us``, and end."""
        ending: list[Key] = []
        for key, began_us in self._began.items():
            if now_us - began_us < self._hanging_us:
                break
            ending.append(key)
        for key in ending:
            del self._began[key]
        return ending

    def next_expiry_us(self) -> int | None:
        """When ``expire`` will next have something to end; None while nothing sounds."""
        for began_us in self._began.values():
            return began_us + self._hanging_us
        return None
