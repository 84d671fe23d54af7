"""What a device makes of its classmates' messages."""

import pytest
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Midi, Note
from bandroom_devices.hearing import HeardNote, Hearing
from bandroom_devices.sounding import HANGING_US, Ended

ANN = Subject("s-ann")
NOW = 1_700_000_000_000_000


def test_a_chord_is_heard_note_by_note_and_ends_so() -> None:
    """Several notes in one message are several events, with the player's own time."""
    hearing = Hearing()
    begun = hearing.note(ANN, Note(t=NOW - 500, on=(60, 64)), 1_000, NOW)
    assert begun == [HeardNote(ANN, note, 96, 0, NOW - 500, NOW) for note in (60, 64)]
    ended = hearing.note(ANN, Note(off=(60, 64)), 2_000, NOW + 1_000)
    assert [(heard.note, heard.ended) for heard in ended] == [(60, Ended.OFF), (64, Ended.OFF)]


@pytest.mark.rule("MSG-4")
def test_a_time_more_than_ten_seconds_off_is_dropped_from_the_note() -> None:
    """The note is heard all the same; only what it says about its time is not believed."""
    for told_us, believed_us in (
        (NOW + 10_000_001, None),
        (NOW - 10_000_001, None),
        (NOW + 9_000_000, NOW + 9_000_000),
    ):
        (heard,) = Hearing().note(ANN, Note(t=told_us, on=60), 0, NOW)
        assert heard.t_us == believed_us
        assert heard.begins


def test_midi_notes_and_notes_are_one_kind_to_a_hearer() -> None:
    """A note begun by MIDI on a channel ends by a MIDI off, velocity 0 included; controllers are no notes."""
    hearing = Hearing()
    (begun,) = hearing.midi(ANN, Midi(bytes([0x93, 60, 70])), 0, NOW)
    assert (begun.channel, begun.velocity) == (3, 70)
    assert hearing.midi(ANN, Midi(bytes([0xB3, 64, 127])), 0, NOW) == []
    assert hearing.midi(ANN, Midi(bytes([0xC3, 5])), 0, NOW) == []
    (ended,) = hearing.midi(ANN, Midi(bytes([0x93, 60, 0])), 0, NOW)
    assert ended.ended is Ended.OFF
    assert ended.velocity == 0


@pytest.mark.rule("MSG-4")
def test_what_nobody_ends_is_ended_and_says_why() -> None:
    """After 30 s as hanging; with its player as left. Ended notes do not end twice."""
    hearing = Hearing()
    hearing.note(ANN, Note(on=60), 0, NOW)
    assert [heard.ended for heard in hearing.expire(HANGING_US, NOW)] == [Ended.HANGING]
    hearing.note(ANN, Note(on=61), 0, NOW)
    assert [heard.ended for heard in hearing.silence(ANN, Ended.LEFT, NOW)] == [Ended.LEFT]
    assert hearing.note(ANN, Note(off=61), 1, NOW) == []


def test_before_the_clock_is_set_notes_are_heard_without_times() -> None:
    """A device that does not know the time yet still hears."""
    (heard,) = Hearing().note(ANN, Note(t=NOW, on=60), 0, None)
    assert heard.arrived_us is None
    assert heard.t_us is None
