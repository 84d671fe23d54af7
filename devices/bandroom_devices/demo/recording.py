"""What the observer heard, as a MIDI file, and as sound where FluidSynth is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bandroom_devices.extras import need_mido
from bandroom_devices.score import Part

_PPQ = 960
_SOUND_FONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/soundfonts/default.sf2",
    "/usr/local/share/soundfonts/default.sf2",
)
_RENDER_S = 60


@dataclass(slots=True)
class Recording:
    """Notes with the positions at which they were heard: nothing is moved to the grid."""

    notes: list[tuple[float, bool, int, int, int]] = field(default_factory=list[tuple[float, bool, int, int, int]])
    tempi: dict[int, int] = field(default_factory=dict[int, int])

    def take(self, told: dict[str, Any]) -> None:
        """Keep one line of the observer's."""
        match told["kind"]:
            case "note":
                self.notes.append((told["position"], told["begins"], told["note"], told["velocity"], told["channel"]))
            case "map":
                self.tempi.update({k: uq for k, uq in told["seg"] if uq})
            case _:
                pass

    def save(self, path: Path, parts: Sequence[Part]) -> None:
        """Write a standard MIDI file: the room's tempo, then a track for each part."""
        mido = need_mido()
        file = mido.MidiFile(type=1, ticks_per_beat=_PPQ)
        tempo_messages = [(max(k, 0), mido.MetaMessage("set_tempo", tempo=uq)) for k, uq in sorted(self.tempi.items())]
        head = [(0, mido.MetaMessage("track_name", name="heard by the observer")), *tempo_messages]
        file.tracks.append(_track(mido, head))
        for part in parts:
            messages: list[tuple[int, Any]] = [
                (0, mido.MetaMessage("track_name", name=part.name)),
                (0, mido.Message("program_change", channel=part.channel, program=part.program)),
            ]
            for position, begins, note, velocity, channel in self.notes:
                if channel == part.channel:
                    kind = "note_on" if begins else "note_off"
                    message = mido.Message(kind, channel=channel, note=note, velocity=velocity or 64)
                    messages.append((max(round(position), 0), message))
            file.tracks.append(_track(mido, messages))
        file.save(path)


def _track(mido: Any, messages: Iterable[tuple[int, Any]]) -> Any:
    track, at = mido.MidiTrack(), 0
    for k, message in sorted(messages, key=lambda entry: entry[0]):
        track.append(message.copy(time=k - at))
        at = k
    return track


def render(midi: Path, wav: Path) -> str | None:
    """Sound for ``midi`` in ``wav``; returns why there is none, or None when there is."""
    program = shutil.which("fluidsynth")
    if program is None:
        return "FluidSynth is not installed"
    font = next((font for font in _SOUND_FONTS if Path(font).is_file()), None)
    if font is None:
        return "FluidSynth has no sound font (Debian's package timgm6mb-soundfont is a small one)"
    command = [program, "-n", "-i", "-q", "-g", "0.7", "-r", "44100", "-F", str(wav), font, str(midi)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_RENDER_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"FluidSynth did not finish: {error}"
    if done.returncode or not wav.is_file():
        return f"FluidSynth ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}"
    return None
