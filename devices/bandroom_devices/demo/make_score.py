"""Writes the demo's score: ``python -m bandroom_devices.demo.make_score [FILE]``.

"Frère Jacques" (traditional, 18th century, public domain) as a round in four parts, two bars apart. Each part has two
players, an octave or two apart, so the class is eight. The .mid beside this module is this script's output; a test
holds the two together.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandroom_devices.extras import need_mido

SCORE = Path(__file__).with_name("frere_jacques.mid")
PPQ = 480
_BAR = 4 * PPQ
_ENTRY = 2 * _BAR  # a part begins when the one before has sung two bars

_Q, _H, _E = PPQ, 2 * PPQ, PPQ // 2
# One line of the song a row; each is sung twice. Notes as semitones above the tonic.
_LINES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, _Q), (2, _Q), (4, _Q), (0, _Q)),  # Frère Jacques,
    ((4, _Q), (5, _Q), (7, _H)),  # dormez-vous?
    ((7, _E), (9, _E), (7, _E), (5, _E), (4, _Q), (0, _Q)),  # Sonnez les matines,
    ((0, _Q), (-5, _Q), (0, _H)),  # din, din, don.
)


@dataclass(frozen=True, slots=True)
class Player:
    """One seat of the class."""

    name: str
    voice: int  # 0 to 3: which entry of the round
    tonic: int  # MIDI note
    program: int  # General MIDI, from 0
    velocity: int
    instrument: str  # the roster's word


PLAYERS = (
    Player("Flute", 0, 72, 73, 84, "flute"),
    Player("Bassoon", 0, 48, 70, 90, "other"),
    Player("Clarinet", 1, 60, 71, 84, "clarinet"),
    Player("Glockenspiel", 1, 84, 9, 70, "bells"),
    Player("Marimba", 2, 60, 12, 100, "xylophone"),
    Player("Music box", 2, 72, 10, 84, "bells"),
    Player("Cello", 3, 48, 42, 92, "strings"),
    Player("Vibraphone", 3, 60, 11, 90, "xylophone"),
)


def build() -> Any:
    """The score as a ``mido.MidiFile``: a track for the tempo, then one for each player."""
    mido = need_mido()
    file = mido.MidiFile(type=1, ticks_per_beat=PPQ)
    head = mido.MidiTrack()
    head.append(mido.MetaMessage("track_name", name="Frere Jacques, a round in four parts"))
    head.append(mido.MetaMessage("time_signature", numerator=4, denominator=4))
    head.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(112)))
    file.tracks.append(head)
    for seat, player in enumerate(PLAYERS):
        track = mido.MidiTrack()
        track.append(mido.MetaMessage("track_name", name=player.name))
        track.append(mido.Message("program_change", channel=seat, program=player.program))
        waited = player.voice * _ENTRY
        for line in _LINES:
            for step, ticks in line * 2:
                sounding = ticks * 7 // 8  # a breath before the next note, else repeated notes would run together
                note = player.tonic + step
                track.append(mido.Message("note_on", channel=seat, note=note, velocity=player.velocity, time=waited))
                track.append(mido.Message("note_off", channel=seat, note=note, velocity=64, time=sounding))
                waited = ticks - sounding
        file.tracks.append(track)
    return file


def main() -> None:
    """Write the score."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SCORE
    build().save(target)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
