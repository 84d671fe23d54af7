"""Note names and numbers."""

from __future__ import annotations

import pytest
from bandroom_devices.notes import BadNote, note_name, parse_note, parse_notes


def test_every_note_has_a_name_that_reads_back() -> None:
    """0 to 127, by name and by number."""
    for note in range(128):
        assert parse_note(note_name(note)) == parse_note(str(note)) == note


@pytest.mark.parametrize("text", ["", "H4", "C", "C10", "G#9", "Cb-1", "-1", "128", "１", "C4 ", "C4\n", "９9"])
def test_what_is_no_note_is_refused(text: str) -> None:
    """Look-alikes and out of range included."""
    with pytest.raises(BadNote):
        parse_note(text)


def test_notes_are_read_as_chords_in_order() -> None:
    """A comma goes on, a plus adds; too many at once are refused."""
    assert parse_notes("C4+E4+C4, 67,b3") == [(60, 64), (67,), (59,)]
    with pytest.raises(BadNote, match="16"):
        parse_notes("+".join(map(str, range(17))))
