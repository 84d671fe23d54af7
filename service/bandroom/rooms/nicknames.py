"""Nicknames: generated friendly ones, and what becomes of typed ones."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files

MAX_TYPED = 24  # characters of a typed name: one line on a projector

_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # control, invisible, surrogate, unassigned, breaks


class BadName(ValueError):
    """A typed name that cannot be shown: says why."""


@cache
def _words(kind: str) -> tuple[str, ...]:
    return tuple(files("bandroom.rooms").joinpath(f"nickname_{kind}.txt").read_text("ascii").split())


def generated(is_free: Callable[[str], bool]) -> str:
    """A nickname of two words and a number that nobody in the room has."""
    while True:
        adjective, animal = secrets.choice(_words("adjectives")), secrets.choice(_words("animals"))
        name = f"{adjective} {animal} {secrets.randbelow(99) + 1}"
        if is_free(name):
            return name


def typed(text: str, longest: int = MAX_TYPED) -> str:
    """What a person typed, tidied: NFC, blanks folded. Raises ``BadName`` for what cannot stand on a projector."""
    if len(text) > 4 * longest:
        raise BadName(f"a name has at most {longest} characters, this one {len(text)}")
    tidy = " ".join(unicodedata.normalize("NFC", text).split())
    if not tidy:
        raise BadName("a name has at least one character that can be seen")
    if len(tidy) > longest:
        raise BadName(f"a name has at most {longest} characters, this one {len(tidy)}")
    if any(unicodedata.category(ch) in _REFUSED for ch in tidy):
        raise BadName("a name holds no control characters and no invisible ones")
    marks = 0
    for ch in tidy:
        # Stacked accents climb over the lines above and below.
        marks = marks + 1 if unicodedata.combining(ch) else 0
        if marks > 2:
            raise BadName("a name has at most two accents on a letter")
    return tidy


def free(name: str, is_free: Callable[[str], bool]) -> str:
    """``name``, or with the lowest number behind it that makes it the only one in the room."""
    if is_free(name):
        return name
    n = 2
    while not is_free(f"{name} {n}"):
        n += 1
    return f"{name} {n}"
