"""Scores, and the demo's own."""

from pathlib import Path

import pytest
from bandroom_devices.demo.make_score import PLAYERS, SCORE, build
from bandroom_devices.score import load_parts

BAR = 4 * 960


def test_the_committed_score_is_what_the_script_writes(tmp_path: Path) -> None:
    """Nobody edits the .mid by hand: the script is its source."""
    build().save(tmp_path / "again.mid")
    assert (tmp_path / "again.mid").read_bytes() == SCORE.read_bytes()


def test_the_round_has_four_entries_two_bars_apart_and_eight_players() -> None:
    """Two players an entry, each of them 32 notes over eight bars."""
    parts = load_parts(SCORE)
    assert [part.name for part in parts] == [player.name for player in PLAYERS]
    assert [part.cues[0].k for part in parts] == [voice * 2 * BAR for voice in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert {part.note_count for part in parts} == {32}
    assert len({part.channel for part in parts}) == 8


def test_every_note_ends_before_the_same_note_begins_again() -> None:
    """So that a repeated note is heard as two."""
    for part in load_parts(SCORE):
        sounding: set[int] = set()
        for cue in part.cues:
            sounding -= set(cue.off)
            assert not sounding & set(cue.on)
            sounding |= set(cue.on)
        assert not sounding


def test_what_is_no_midi_file_is_refused_with_its_name(tmp_path: Path) -> None:
    """A wrong file gives a ``ValueError`` that says which, not a parser's traceback."""
    for content in (b"", b"MThd", b"hello, not midi at all"):
        path = tmp_path / "bad.mid"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.mid"):
            load_parts(path)
