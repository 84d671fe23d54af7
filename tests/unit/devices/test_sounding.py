"""Hanging notes."""

from bandroom.wire.ids import Subject
from bandroom_devices.sounding import HANGING_US, Key, Sounding

ANN, BEN = Subject("s-ann"), Subject("s-ben")


def test_a_note_without_an_off_ends_after_thirty_seconds() -> None:
    """It sounds until 30 s are over, not longer, and the time at which to look again is told."""
    sounding = Sounding()
    sounding.on(Key(ANN, 0, 60), 1_000)
    assert sounding.next_expiry_us() == 1_000 + HANGING_US
    assert sounding.expire(HANGING_US) == []
    assert sounding.expire(1_000 + HANGING_US) == [Key(ANN, 0, 60)]
    assert sounding.next_expiry_us() is None


def test_a_note_struck_again_counts_from_the_new_stroke() -> None:
    """Repeating a note keeps it alive, and lets an older one of another player expire first."""
    sounding = Sounding()
    sounding.on(Key(ANN, 0, 60), 0)
    sounding.on(Key(BEN, 0, 60), 1_000)
    sounding.on(Key(ANN, 0, 60), 2_000)
    assert sounding.expire(HANGING_US + 1_500) == [Key(BEN, 0, 60)]
    assert len(sounding) == 1


def test_a_player_who_leaves_takes_only_their_own_notes_along() -> None:
    """All channels of the leaver end; a classmate's same note goes on."""
    sounding = Sounding()
    for key in (Key(ANN, 0, 60), Key(BEN, 0, 60), Key(ANN, 3, 64)):
        sounding.on(key, 0)
    assert sounding.gone(ANN) == [Key(ANN, 0, 60), Key(ANN, 3, 64)]
    assert sounding.off(Key(BEN, 0, 60))


def test_an_off_for_a_silent_note_is_told_apart() -> None:
    """An ``off`` whose ``on`` was lost is not an event, and does no harm."""
    assert not Sounding().off(Key(ANN, 0, 60))
