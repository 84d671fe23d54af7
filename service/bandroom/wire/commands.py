"""A teacher's commands and their replies, the same over MQTT, HTTP and the command line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bandroom.wire.ids import Subject
from bandroom.wire.message import JsonChoice, JsonMessage
from bandroom.wire.units import BeatNumber, Bpm, Micros, Name, Rev

At = Literal["bar", "beat", "now"] | BeatNumber
"""When an edit takes effect: the next bar, the next beat, at once (150 ms on), or a given beat."""

CommandId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
Who = Annotated[str, Field(min_length=1, max_length=40)]
"""A subject, or a nickname where it is the only one in the room."""


class _Command(JsonMessage):
    id: CommandId
    exp: Micros | None = Field(None, description="server time in µs after which the command must not run")


class _Edit(_Command):
    at: At = "bar"


class Start(_Edit):
    """Go to beat 0 after a count-in."""

    cmd: Literal["start"]
    at: At = "now"
    count_in: Annotated[int, Field(ge=0, le=8)] = Field(1, description="bars; 0 = none")


class Stop(_Edit):
    """Stand still from the next beat on, by default."""

    cmd: Literal["stop"]
    at: At = "beat"


class Continue(_Edit):
    """Go on at the beat where ``stop`` left off."""

    cmd: Literal["continue"]
    at: At = "now"


class SetTempo(_Edit):
    """Another tempo, at once or as a ramp."""

    cmd: Literal["set_tempo"]
    bpm: Bpm
    ramp: Literal["time", "beats"] | None = Field(None, description="linear in time, or linear in beats")
    over: Annotated[int, Field(ge=1, le=4096)] | None = Field(None, description="counted beats that the ramp takes")


class Tap(_Command):
    """One tap of several that set the tempo."""

    cmd: Literal["tap"]
    t: Micros | None = Field(None, description="server time of the tap; the time of arrival where missing")


class SetMeter(_Edit):
    """Another meter, at a bar line."""

    cmd: Literal["set_meter"]
    meter: Annotated[str, Field(min_length=3, max_length=24)] = Field(description="as 4/4, 6/8 or 7/8:2+2+3")
    bpm: Bpm | None = None


class Cancel(_Command):
    """Take back the edits that are announced and have not taken effect."""

    cmd: Literal["cancel"]


class Mute(_Command):
    """Deny notes from one member, or from all where ``who`` is missing."""

    cmd: Literal["mute"]
    who: Who | None = None


class Unmute(_Command):
    """Allow notes again, from one member or all."""

    cmd: Literal["unmute"]
    who: Who | None = None


class Kick(_Command):
    """Put a member out. The join code changes unless ``keep_code``."""

    cmd: Literal["kick"]
    who: Who
    keep_code: bool = False


class Lock(_Command):
    """Let nobody new in."""

    cmd: Literal["lock"]


class Unlock(_Command):
    """Let newcomers in again."""

    cmd: Literal["unlock"]


class Rename(_Command):
    """Give the room another name."""

    cmd: Literal["rename"]
    name: Name


class ResetName(_Command):
    """Replace a member's nickname by a generated one."""

    cmd: Literal["reset_name"]
    who: Who


class AssignDevice(_Command):
    """Bring a device into this room, or (``away``) take it out."""

    cmd: Literal["assign_device"]
    device: Subject
    away: bool = False


class NewCode(_Command):
    """Replace the join code; who is in stays in."""

    cmd: Literal["new_code"]


class Close(_Command):
    """End the room: beat, topics and rights."""

    cmd: Literal["close"]


class Reopen(_Command):
    """Open a closed room again while its code rests."""

    cmd: Literal["reopen"]


AnyCommand = (
    Start
    | Stop
    | Continue
    | SetTempo
    | Tap
    | SetMeter
    | Cancel
    | Mute
    | Unmute
    | Kick
    | Lock
    | Unlock
    | Rename
    | ResetName
    | AssignDevice
    | NewCode
    | Close
    | Reopen
)


class Command(JsonChoice):
    """One command; ``root`` is the particular one."""

    root: Annotated[AnyCommand, Field(discriminator="cmd")]


ErrorCode = Literal[
    "bad_request",
    "forbidden",
    "not_found",
    "closed",
    "locked",
    "too_late",
    "conflict",
    "limit",
    "expired",
    "unavailable",
]


class Reply(JsonMessage):
    """What became of a command: ``ok`` with what took effect and when, or the error in a code and in words."""

    id: CommandId | None = Field(None, description="the command's; missing where none could be read")
    ok: bool
    rev: Rev | None = None
    n: BeatNumber | None = Field(None, description="the beat from which it holds")
    t: Micros | None = Field(None, description="server time from which it holds")
    code: str | None = Field(None, description="the room's join code, where it changed")
    err: ErrorCode | None = None
    text: Annotated[str, Field(max_length=500)] | None = None
