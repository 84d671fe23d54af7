"""A score: parts for instruments, read from a standard MIDI file. Needs the extra ``midi``.

Positions are ticks of the tempo map (960 a quarter), 0 at the first beat after ``start``. The file's own tempo is
left aside: how fast the score goes is the room's affair.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bandroom_devices.extras import need_mido

_PPQ = 960


@dataclass(frozen=True, slots=True)
class Cue:
    """What a part does at one position: notes that end, and notes that begin after those."""

    k: int  # ticks
    off: tuple[int, ...] = ()
    on: tuple[int, ...] = ()
    velocity: int = 96


@dataclass(frozen=True, slots=True)
class Part:
    """What one player plays."""

    name: str
    channel: int  # 0 to 15
    program: int  # General MIDI sound, 0 to 127
    cues: tuple[Cue, ...]

    @property
    def note_count(self) -> int:
        """How many notes it begins."""
        return sum(len(cue.on) for cue in self.cues)

    @property
    def end_k(self) -> int:
        """The position of its last cue, in ticks; 0 for an empty part."""
        return self.cues[-1].k if self.cues else 0


def load_parts(path: Path) -> tuple[Part, ...]:
    """The parts of the MIDI file at ``path``: one for each track that has notes, in order.

    Raises ``OSError`` when it cannot be read and ``ValueError`` when it is not a MIDI file with notes.
    """
    mido = need_mido()
    content = io.BytesIO(path.read_bytes())
    try:
        file = mido.MidiFile(file=content)
    except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{path} is not a standard MIDI file: {error}") from None
    parts = tuple(part for track in file.tracks if (part := _part(track, _PPQ / file.ticks_per_beat)) is not None)
    if not parts:
        raise ValueError(f"{path} has no notes")
    return parts


def _part(track: Any, scale: float) -> Part | None:
    name, channel, program = "", 0, 0
    moved: list[tuple[int, bool, int, int]] = []  # position, begins?, note, velocity
    file_ticks = 0
    for message in track:
        file_ticks += message.time
        match message.type:
            case "track_name":
                name = message.name
            case "program_change":
                channel, program = message.channel, message.program
            case "note_on" | "note_off":
                channel = message.channel
                begins = message.type == "note_on" and message.velocity > 0
                moved.append((round(file_ticks * scale), begins, message.note, message.velocity))
            case _:
                pass
    if not moved:
        return None
    moved.sort(key=lambda entry: entry[:2])
    cues: list[Cue] = []
    for k, entries in groupby(moved, key=lambda entry: entry[0]):
        here = list(entries)
        on = [entry for entry in here if entry[1]]
        cues.append(
            Cue(
                k,
                off=tuple(note for _, begins, note, _ in here if not begins),
                on=tuple(note for _, _, note, _ in on),
                velocity=max((velocity for *_, velocity in on), default=96),
            )
        )
    return Part(name or f"part {channel + 1}", channel, program, tuple(cues))
