"""The payload of each topic. Field names are short because boards read them; their meaning stands beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bandroom.wire.commands import Command, Reply
from bandroom.wire.ids import BadId, RoomId, Subject
from bandroom.wire.instruments import INSTRUMENTS, Instrument, known_instrument
from bandroom.wire.message import BadMessage, JsonMessage, Message, check_size
from bandroom.wire.units import BeatNumber, Micros, MicrosPerQuarter, MidiNote, Name, Rev, Ticks

__all__ = [
    "Assignment",
    "BadMessage",
    "Beat",
    "ClockPing",
    "ClockReply",
    "Command",
    "Feedback",
    "LimitReport",
    "Member",
    "Message",
    "MeterChange",
    "Midi",
    "Note",
    "Presence",
    "Reply",
    "RoomInfo",
    "Segment",
    "Tempo",
]


class Beat(JsonMessage):
    """One beat, sent at ``t`` and never before."""

    rev: Rev
    n: BeatNumber
    bar: BeatNumber = Field(description="from 1; a pick-up bar is 0, a count-in at or below 0")
    pos: Annotated[int, Field(ge=1, le=64)] = Field(description="within the bar, from 1, in counted beats")
    bpm: Annotated[float, Field(gt=0, le=1000, strict=False)] = Field(description="counted beats a minute from n on")
    t: Micros = Field(description="server time when the beat is due")
    d: Micros = Field(description="µs to the next beat, 0 = this is the last")


class Segment(JsonMessage):
    """A stretch of the tempo map, from position ``k`` at time ``t``."""

    k: Ticks
    t: Micros
    uq: MicrosPerQuarter
    uq1: MicrosPerQuarter | None = Field(
        None, description="tempo at the ramp's end; alone, where uq is 0: the tempo to go on at"
    )
    len: Ticks | None = Field(None, description="ticks that the ramp takes")
    ramp: Literal["time", "beats"] | None = None


class MeterChange(JsonMessage):
    """A meter from beat ``n`` at position ``k``, which begins bar ``bar``."""

    n: BeatNumber
    k: Ticks
    bar: BeatNumber
    num: Annotated[int, Field(ge=1, le=64)]
    den: Literal[1, 2, 4, 8, 16, 32]
    q: Annotated[int, Field(ge=1, le=15360)] = Field(description="ticks a counted beat")
    grp: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(strict=False, max_length=32)] | None = None


class Tempo(JsonMessage):
    """The tempo map: a pure function of server time, future changes included."""

    rev: Rev
    seg: Annotated[tuple[Segment, ...], Field(min_length=1, max_length=128, strict=False)]
    met: Annotated[tuple[MeterChange, ...], Field(min_length=1, max_length=64, strict=False)]


class RoomInfo(JsonMessage):
    """A room's name, state and mutes."""

    rev: Rev
    name: Name
    state: Literal["open", "locked", "closed"]
    muted: Annotated[tuple[Subject, ...], Field(strict=False, max_length=400)] = ()
    all_muted: bool = False
    closing_t: Micros | None = Field(
        None, description="server time when the room is closed if nobody comes or does anything; missing while in use"
    )


class Member(JsonMessage):
    """One member of a room."""

    name: Name
    kind: Literal["student", "teacher", "device", "viewer"]
    state: Literal["ready", "lost", "disconnected"]
    since: Micros
    err: Annotated[float, Field(ge=0, le=10_000, strict=False)] | None = Field(
        None, description="ms: its clock is off by no more, as far as it knows; missing while it has not said"
    )
    instrument: Instrument | None = Field(None, description="what it plays; missing where nobody has said")


class Note(JsonMessage):
    """Notes begun or ended together."""

    t: Micros | None = Field(None, description="server time at which it was, or is to be, played")
    on: MidiNote | Annotated[tuple[MidiNote, ...], Field(strict=False, min_length=1, max_length=16)] | None = None
    off: MidiNote | Annotated[tuple[MidiNote, ...], Field(strict=False, min_length=1, max_length=16)] | None = None
    v: Annotated[int, Field(ge=1, le=127)] = Field(96, description="velocity")
    ch: Annotated[int, Field(ge=0, le=15)] = Field(0, description="MIDI channel, from 0")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.on is None) == (self.off is None):
            raise ValueError("either 'on' or 'off' is wanted")
        return self

    @property
    def notes(self) -> tuple[int, ...]:
        """The note numbers, whichever way they were written."""
        value = self.on if self.on is not None else self.off
        assert value is not None  # noqa: S101  (held by the validator)
        return (value,) if isinstance(value, int) else value


class Feedback(JsonMessage):
    """How a player's last notes lay against the grid."""

    ms: Annotated[float, Field(ge=-60_000, le=60_000, strict=False)] = Field(description="late is positive")
    n: BeatNumber | None = None


class LimitReport(JsonMessage):
    """What the gate dropped of a client's messages, since the last report."""

    dropped: Annotated[int, Field(ge=1, lt=2**53)]
    why: Annotated[str, Field(min_length=1, max_length=40)]


@dataclass(frozen=True, slots=True)
class Midi:
    """One raw MIDI channel message."""

    data: bytes

    def __post_init__(self) -> None:
        length = {0xC: 2, 0xD: 2}.get(self.data[0] >> 4, 3) if self.data and 0x80 <= self.data[0] < 0xF0 else 0
        if not length or len(self.data) != length or any(byte > 127 for byte in self.data[1:]):
            raise BadMessage(f"{self.data[:8].hex(' ')!r} is not one MIDI channel message of 2 or 3 bytes")

    def encode(self) -> bytes:
        """The 2 or 3 bytes."""
        return self.data

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the bytes; raises ``BadMessage``."""
        check_size(payload)
        return cls(bytes(payload))


_CLOCK = re.compile(rb"([\x21-\x7e]{8}) ([0-9a-f]{2}) ([0-9]{16})")


@dataclass(frozen=True, slots=True)
class _Clock:
    nonce: str
    seq: int
    t: int

    def __post_init__(self) -> None:
        if _CLOCK.fullmatch(self.encode()) is None:
            raise BadMessage("a clock message is 8 printable characters, a blank, 2 hex digits, a blank, 16 digits")

    def encode(self) -> bytes:
        """28 characters."""
        return f"{self.nonce} {self.seq:02x} {self.t:016d}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read the 28 characters; raises ``BadMessage``."""
        match = _CLOCK.fullmatch(payload)
        if match is None:
            raise BadMessage("a clock message is 8 printable characters, a blank, 2 hex digits, a blank, 16 digits")
        return cls(match[1].decode(), int(match[2], 16), int(match[3]))


@dataclass(frozen=True, slots=True)
class ClockPing(_Clock):
    """A question for server time: the asker's 8 characters and a sequence number; ``t`` is 0."""

    t: int = 0


@dataclass(frozen=True, slots=True)
class ClockReply(_Clock):
    """The answer: the same nonce and sequence, ``t`` is server time in µs as the ping passed."""


MAX_ERROR_US = 9_999_999
"""The widest error bound (µs) that a presence can tell."""
_PRESENCE = re.compile(r"(disconnected|lost) ([0-9])|(ready) ([0-9])(?: ([1-9][0-9]{0,6}))?(?: ([a-z]{1,10}))?")
_PRESENCE_FORM = (
    "presence is ready, disconnected or lost, a blank, and a digit;"
    " behind ready perhaps a blank and µs, 1 to 9999999, and perhaps a blank and an instrument"
)


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a client's connection is there; with ``ready``, by how many µs its clock may be off at most, and what it
    plays.
    """

    state: Literal["ready", "disconnected", "lost"]
    digit: int = 0  # tells a subject's connections apart
    error_us: int | None = None  # 1 to 9,999,999
    instrument: Instrument | None = None

    def __post_init__(self) -> None:
        if _PRESENCE.fullmatch(self.encode().decode()) is None:
            raise BadMessage(_PRESENCE_FORM)
        if self.instrument is not None and self.instrument not in INSTRUMENTS:
            raise BadMessage(f"{self.instrument!r} is no instrument of the list: {', '.join(INSTRUMENTS)}")

    def encode(self) -> bytes:
        """As ``ready 0``, ``ready 0 850``, ``ready 0 drums`` or ``ready 0 850 drums``."""
        more = "".join(f" {value}" for value in (self.error_us, self.instrument) if value is not None)
        return f"{self.state} {self.digit}{more}".encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read it; raises ``BadMessage``. A word that is on no list of ours is ``other``: a later one may have it."""
        check_size(payload)
        match = _PRESENCE.fullmatch(payload.decode("ascii", "replace"))
        if match is None:
            raise BadMessage(_PRESENCE_FORM)
        if match[3]:
            error_us, word = match[5], match[6]
            return cls(
                "ready",
                int(match[4]),
                None if error_us is None else int(error_us),
                None if word is None else known_instrument(word),
            )
        return cls(match[1], int(match[2]))  # pyright: ignore[reportArgumentType]  (the pattern's alternatives)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The room that a device is assigned to, or none."""

    room: RoomId | None

    def encode(self) -> bytes:
        """The room's id, or ``-`` for none (an empty payload would clear the retained topic)."""
        return str(self.room or "-").encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read it; raises ``BadMessage``."""
        check_size(payload)
        text = payload.decode("ascii", "replace")
        try:
            return cls(None if text in ("-", "") else RoomId.parse(text))
        except BadId as error:
            raise BadMessage(str(error)) from None
