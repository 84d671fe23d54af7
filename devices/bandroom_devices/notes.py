"""Note names and numbers. Pure. C4 is 60, the middle C."""

from __future__ import annotations

import re

_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFT = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_NAME = re.compile(r"([A-Ga-g])([#♯b♭]?)(-1|[0-9])")
MAX_CHORD = 16
"""Notes in one message."""


class BadNote(ValueError):
    """A text that names no note: says which, and how notes are written."""


def note_name(note: int) -> str:
    """As ``C4`` for 60."""
    return f"{_NAMES[note % 12]}{note // 12 - 1}"


def parse_note(text: str) -> int:
    """The MIDI number (0 to 127) that ``C4``, ``F#3``, ``Eb5`` or ``60`` spells. Raises ``BadNote``."""
    named = _NAME.fullmatch(text)
    if named is not None:
        number = 12 * (int(named[3]) + 1) + _STEPS[named[1].upper()] + _SHIFT[named[2]]
    elif re.fullmatch(r"[0-9]{1,3}", text):
        number = int(text)
    else:
        number = -1
    if not 0 <= number <= 127:
        raise BadNote(f"{text[:20]!r} is no note: write C4, F#3 or Eb5 (C-1 to G9), or a number from 0 to 127")
    return number


def parse_notes(text: str) -> list[tuple[int, ...]]:
    """Chords in order: ``,`` between them, ``+`` within one. Raises ``BadNote``."""
    chords = [tuple(dict.fromkeys(map(parse_note, chord.strip().split("+")))) for chord in text.split(",")]
    if any(len(chord) > MAX_CHORD for chord in chords):
        raise BadNote(f"a chord has at most {MAX_CHORD} notes")
    return chords
