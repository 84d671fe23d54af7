"""`bandroom rooms show`, for people: times of day, and nothing that says nothing."""

from __future__ import annotations

import time
from typing import Any

from bandroom.cli.output import clock_text
from bandroom.cli.rooms import shown

MADE_S = 1_800_000_000
ROOM: dict[str, Any] = {
    "tenant": "lincoln",
    "room": "MUSIC-1234",
    "code": "TABLE-0001",
    "join_url": "http://127.0.0.1/join#t=lincoln",
    "name": "Year 5",
    "state": "open",
    "bpm": 96.0,
    "meter": "6/8",
    "playing": True,
    "all_muted": False,
    "created_at": MADE_S,
    "closes_at": MADE_S + 3600,
    "rests_until": None,
    "worst_err_ms": None,
    "members": [],
}


def test_an_open_room_in_words() -> None:
    """With nobody there it says when it closes; with somebody it does not; the worst clock only where one was told."""
    empty = shown(ROOM)
    assert empty["room"] == "MUSIC-1234 of lincoln"
    assert empty["beat"] == "96 bpm, 6/8, playing"
    assert empty["closes"].startswith(clock_text((MADE_S + 3600) * 1_000_000))
    assert not any("None" in line for line in empty.values())
    used = shown({**ROOM, "members": [{"state": "ready"}], "worst_err_ms": 1.46, "all_muted": True, "playing": False})
    assert "closes" not in used
    assert used["clocks"] == "within 1.5 ms"
    assert used["state"] == "open, everybody muted"
    assert used["beat"].endswith("standing still")


def test_a_closed_room_says_until_when_it_may_be_opened_again() -> None:
    """And no more when it would be closed."""
    closed = shown({**ROOM, "state": "closed", "closes_at": None, "rests_until": MADE_S + 86400})
    assert closed["reopen"] == f"until {clock_text((MADE_S + 86400) * 1_000_000)}; then it is deleted"
    assert "closes" not in closed


def test_a_moment_is_told_by_the_hour_and_of_another_day_with_the_day() -> None:
    """By the clock on this machine's wall."""
    noon = time.mktime((2027, 1, 15, 12, 5, 0, 0, 0, -1))
    assert clock_text(round(noon * 1e6), noon + 3600) == "12:05"
    assert clock_text(round(noon * 1e6), noon + 86400) == "2027-01-15 12:05"
