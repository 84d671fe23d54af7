"""What somebody plays, as the roster shows it: a closed list, since it is read from a classroom's wall."""

from __future__ import annotations

from typing import Final, Literal, get_args

Instrument = Literal[
    "accordion",
    "bass",
    "bells",
    "brass",
    "clarinet",
    "drums",
    "flute",
    "guitar",
    "harp",
    "keyboard",
    "organ",
    "percussion",
    "recorder",
    "saxophone",
    "strings",
    "synth",
    "trumpet",
    "ukulele",
    "voice",
    "xylophone",
    "other",
]
"""The words there are. More may be added; each is 1 to 10 small letters, which a presence has room for."""

INSTRUMENTS: Final[tuple[Instrument, ...]] = get_args(Instrument)


def known_instrument(word: str) -> Instrument:
    """``word`` where it is on the list; ``other`` for one that a later version may have added."""
    return word if word in INSTRUMENTS else "other"


def parse_instrument(word: str | None) -> Instrument | None:
    """What a program of ours was told to say; raises ``ValueError`` naming the list."""
    if word is not None and word not in INSTRUMENTS:
        raise ValueError(f"{word!r} is no instrument that a roster shows: take one of {', '.join(INSTRUMENTS)}")
    return word
