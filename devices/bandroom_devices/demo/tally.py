"""What the observer heard, counted: per player and altogether. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(slots=True)
class PlayerTally:
    """One player as the observer heard them. Deviations are arrival minus grid, late is positive."""

    name: str
    voice: int
    clock_off_us: int
    clock_ppm: float
    expected: int
    off_us: list[int] = field(default_factory=list[int])
    sounding: set[int] = field(default_factory=set[int])

    @property
    def heard(self) -> int:
        """Notes heard to begin."""
        return len(self.off_us)

    def summary(self) -> dict[str, Any]:
        """The row of the table, in milliseconds."""
        return {
            "name": self.name,
            "voice": self.voice + 1,
            "clock_off_s": round(self.clock_off_us / 1e6, 3),
            "clock_ppm": round(self.clock_ppm, 1),
            "expected": self.expected,
            "heard": self.heard,
            "median_ms": in_ms(median(self.off_us)) if self.off_us else None,
            "worst_ms": in_ms(worst(self.off_us)) if self.off_us else None,
        }


def in_ms(us: float) -> float:
    """Microseconds as milliseconds, to a hundredth."""
    return round(us / 1000, 2)


def worst(off_us: Sequence[int]) -> int:
    """The deviation furthest from 0."""
    return max(off_us, key=abs)


def nearest_rank(values: Sequence[int], percent: float) -> int:
    """The value that ``percent`` % of ``values`` do not exceed (nearest rank; at least one value)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


@dataclass(slots=True)
class Tally:
    """The whole class, by subject."""

    players: dict[str, PlayerTally] = field(default_factory=dict[str, PlayerTally])
    beat: dict[str, Any] = field(default_factory=dict[str, Any])
    beats: int = 0
    beat_late_us: list[int] = field(default_factory=list[int])
    observer_error_us: int | None = None
    sent_late_us: list[int] = field(default_factory=list[int])
    left_out: int = 0

    @property
    def off_us(self) -> list[int]:
        """The deviations of all notes heard."""
        return [off for player in self.players.values() for off in player.off_us]

    @property
    def heard(self) -> int:
        """Notes heard to begin."""
        return len(self.off_us)

    @property
    def expected(self) -> int:
        """Notes that the score has."""
        return sum(player.expected for player in self.players.values())

    def take(self, told: dict[str, Any]) -> None:
        """Count one line of the observer's."""
        match told["kind"]:
            case "beat":
                self.beat = told
                self.beats += 1
                self.observer_error_us = told["error_us"]
            case "beat_message":
                self.beat_late_us.append(told["late_us"])
            case "note":
                player = self.players.get(told["player"])
                if player is None:
                    return
                if told["begins"]:
                    player.sounding.add(told["note"])
                    if told["off_us"] is not None:
                        player.off_us.append(told["off_us"])
                else:
                    player.sounding.discard(told["note"])
            case _:
                pass

    def summary(self) -> dict[str, Any]:
        """Everything that the demo measured, for ``--json``."""
        every = self.off_us
        return {
            "measured": "arrival of a note at the observer minus the nearest eighth of the grid, ms, late positive",
            "players": [player.summary() for player in self.players.values()],
            "expected": self.expected,
            "heard": len(every),
            "left_out": self.left_out,
            "median_ms": in_ms(median(every)) if every else None,
            "p95_ms": in_ms(nearest_rank([abs(off) for off in every], 95)) if every else None,
            "worst_ms": in_ms(worst(every)) if every else None,
            "sent_late_median_ms": in_ms(median(self.sent_late_us)) if self.sent_late_us else None,
            "beats": self.beats,
            "beat_message_median_ms": in_ms(median(self.beat_late_us)) if self.beat_late_us else None,
            "beat_message_worst_ms": in_ms(worst(self.beat_late_us)) if self.beat_late_us else None,
            "observer_error_ms": None if self.observer_error_us is None else in_ms(self.observer_error_us),
        }
