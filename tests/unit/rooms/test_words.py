"""The words that names and codes are made of: friendly, and harmless where other languages are spoken."""

from __future__ import annotations

from importlib.resources import files

import pytest

# Plain English words that mean something else in German, French, Spanish, Portuguese, Italian, Dutch, Polish, Turkish
# or the Nordic languages, or are said of people; any of them might slip into a list of friendly ones.
_ELSEWHERE = """
    am angst beer bite brat bum cider con coon cow cul dong donkey fan fart fat fig fool gift git got hell hen kiss
    kot lame lull mad maggot mal mist mule nag nut pale pest pet pica pig pin pine pines pipe pit pot puff rat rum
    sick skunk slim sloth slug slut snail snake sow spade turd ugly weasel weird whale wine worm
    yellow black white brown red
"""
ELSEWHERE = frozenset(_ELSEWHERE.split())
# A weasel and a whale may name a room; nobody is called one.
FOR_ROOMS = frozenset({"weasel", "whale", "yellow"})


@pytest.mark.parametrize("name", ["nickname_adjectives.txt", "nickname_animals.txt", "code_words.txt"])
def test_no_word_hurts_in_another_language(name: str) -> None:
    """None of those that are known to; nor colours and creatures that are used as names for people."""
    words = {word.lower() for word in files("bandroom.rooms").joinpath(name).read_text("ascii").split()}
    assert words & (ELSEWHERE - FOR_ROOMS if name == "code_words.txt" else ELSEWHERE) == set()


def test_every_nickname_fits_the_roster() -> None:
    """Two words and a number: 24 characters at most, in letters that every font has."""
    adjectives, animals = (
        files("bandroom.rooms").joinpath(f"nickname_{kind}.txt").read_text("ascii").split()
        for kind in ("adjectives", "animals")
    )
    assert len(adjectives) * len(animals) * 99 > 300_000
    assert max(map(len, adjectives)) + max(map(len, animals)) + len("  99") <= 24
    assert all(word.isalpha() and word.istitle() for word in (*adjectives, *animals))
