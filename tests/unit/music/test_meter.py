"""Meters: what is counted, how they are written, what is refused."""

import pytest
from bandroom.music.meter import Meter


@pytest.mark.parametrize(
    ("text", "q", "beats", "accents"),
    [
        ("4/4", 960, 4, [2, 0, 0, 0]),
        ("3/4", 960, 3, [2, 0, 0]),
        ("2/2", 1920, 2, [2, 0]),
        ("6/8", 1440, 2, [2, 0]),
        ("12/8", 1440, 4, [2, 0, 0, 0]),
        ("3/8", 480, 3, [2, 0, 0]),
        ("6/8@8", 480, 6, [2, 0, 0, 0, 0, 0]),
        ("6/8:3+3@8", 480, 6, [2, 0, 0, 1, 0, 0]),
        ("7/8:2+2+3", 480, 7, [2, 0, 1, 0, 1, 0, 0]),
        ("5/4:3+2", 960, 5, [2, 0, 0, 1, 0]),
        ("6/4@2.", 2880, 2, [2, 0]),
        ("9/8:3+3+3", 1440, 3, [2, 1, 1]),
    ],
)
def test_what_is_counted(text: str, q: int, beats: int, accents: list[int]):
    """A meter's text says what is counted and where the weight lies, and reads back as it was written."""
    meter = Meter.parse(text)
    assert (meter.q, meter.beats_per_bar) == (q, beats)
    assert [meter.accent(pos) for pos in range(1, beats + 1)] == accents
    assert str(meter) == text
    assert Meter.parse(str(meter)) == meter


@pytest.mark.parametrize(
    "text",
    ["", "4", "4/3", "0/4", "65/4", "4/64", "-4/4", "4/4\n", " 4/4", "٤/٤", "7/8:2+2", "7/8:2+2+3+0", "7/8@4", "4/4@5",
     "6/8:2+2+2", "4/4:4/4", "1e1/4", "4/4@", "999999999/4"],
)  # fmt: skip
def test_what_is_no_meter(text: str):
    """Anything else is a ValueError that repeats what was given."""
    with pytest.raises(ValueError, match="meter"):
        Meter.parse(text)
