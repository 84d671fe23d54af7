"""The gate log: what the gate must know beyond credentials, as lines of text.

One writer (the service), one reader (the gate). A line is `<seq> <verb> <args…> <crc>`: the sequence counts 1, 2, 3…
within the file, the crc is the CRC-32 of everything before the last space as 8 lower-case hex digits. The first
line is `bandroom-gate 1 <id>`, the id new for every file. This module only turns entries into lines and back; what the
entries mean is `gate_state`.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bandroom.wire.ids import BadId, RoomId, Subject, TenantId

MAX_LINE_BYTES: Final = 256
"""No line is longer, newline included; a reader may treat a longer one as damaged."""

MAX_INTEGER: Final = 2**53 - 1
"""The largest number in a line; times are Unix seconds."""

_HEADER = re.compile(r"bandroom-gate 1 ([0-9a-f]{16})")
_JTI = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_ASCII_LINE = re.compile(r"[ -~]*")


class GateLogError(ValueError):
    """A line that is not what its place in the log asks for. The text names the line's number and what is wrong."""


class LimitKey(StrEnum):
    """What a tenant's `limit` entry sets: messages or bytes a second (with a burst), or a count of subscriptions."""

    CLIENT_MSGS = "client_msgs"
    CLIENT_BYTES = "client_bytes"
    ROOM_MSGS = "room_msgs"
    ROOM_BYTES = "room_bytes"
    TENANT_MSGS = "tenant_msgs"
    TENANT_BYTES = "tenant_bytes"
    CONTROL_MSGS = "control_msgs"
    CONTROL_BYTES = "control_bytes"
    PRESENCE_MSGS = "presence_msgs"
    PRESENCE_BYTES = "presence_bytes"
    CLOCK_MSGS = "clock_msgs"
    SUBS = "subs"


@dataclass(frozen=True, slots=True)
class Open:
    """The room is open (a locked room is open, too: the lock is a matter of joining)."""

    tenant: TenantId
    room: RoomId


@dataclass(frozen=True, slots=True)
class Close:
    """The room grants nothing any more, and its mutes are forgotten."""

    tenant: TenantId
    room: RoomId


@dataclass(frozen=True, slots=True)
class Assign:
    """The device plays in this room from now on; None: in no room."""

    tenant: TenantId
    sub: Subject
    room: RoomId | None


@dataclass(frozen=True, slots=True)
class Mute:
    """The member may not play in this room."""

    tenant: TenantId
    room: RoomId
    sub: Subject


@dataclass(frozen=True, slots=True)
class Unmute:
    """Takes a `Mute` of this member back; a `MuteAll` stays in force."""

    tenant: TenantId
    room: RoomId
    sub: Subject


@dataclass(frozen=True, slots=True)
class MuteAll:
    """Nobody but teachers may play in this room, whoever joins later included."""

    tenant: TenantId
    room: RoomId


@dataclass(frozen=True, slots=True)
class UnmuteAll:
    """Takes a `MuteAll` back; single mutes stay in force."""

    tenant: TenantId
    room: RoomId


@dataclass(frozen=True, slots=True)
class Kick:
    """The subject's connections end now. It leaves no trace: nothing when read as history."""

    tenant: TenantId
    sub: Subject


@dataclass(frozen=True, slots=True)
class Revoke:
    """The subject's tokens issued at or before `iat_max_s` are void.

    May be forgotten after `until_s` (Unix seconds, as all times here).
    """

    tenant: TenantId
    sub: Subject
    iat_max_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class RevokeJti:
    """The one token with this `jti` is void; may be forgotten after `until_s` (Unix seconds)."""

    tenant: TenantId
    jti: str
    until_s: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The device's generations below this one are void."""

    tenant: TenantId
    sub: Subject
    generation: int


@dataclass(frozen=True, slots=True)
class Limit:
    """The tenant's bucket of this kind: `rate` a second, `burst` at once."""

    tenant: TenantId
    key: LimitKey
    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class Member:
    """Reserved: the subject is a member of the room."""

    tenant: TenantId
    room: RoomId
    sub: Subject


Entry = Open | Close | Assign | Mute | Unmute | MuteAll | UnmuteAll | Kick | Revoke | RevokeJti | Floor | Limit | Member


def _crc(body: str) -> str:
    return f"{zlib.crc32(body.encode('ascii')):08x}"


def format_header(file_id: str) -> str:
    """The first line, newline included. `file_id` is 16 lower-case hex digits, new for every file."""
    line = f"bandroom-gate 1 {file_id}"
    if _HEADER.fullmatch(line) is None:
        raise GateLogError(f"the log's id must be 16 lower-case hex digits, not {file_id!r}")
    return line + "\n"


def parse_header(line: str) -> str:
    """The file id of a first line (without its newline); GateLogError for anything else."""
    match = _HEADER.fullmatch(line)
    if match is None:
        raise GateLogError(f"line 1: not a gate log of version 1: {line[:60]!r}")
    return match[1]


def format_body(entry: Entry) -> str:
    """The verb and its arguments, for example `open lincoln MUSIC-1234`. Refuses what it could not read back."""
    match entry:
        case Open(tenant, room):
            words = ["open", tenant, room]
        case Close(tenant, room):
            words = ["close", tenant, room]
        case Assign(tenant, sub, room):
            words = ["assign", tenant, sub, "-" if room is None else room]
        case Mute(tenant, room, sub):
            words = ["mute", tenant, room, sub]
        case Unmute(tenant, room, sub):
            words = ["unmute", tenant, room, sub]
        case MuteAll(tenant, room):
            words = ["muteall", tenant, room]
        case UnmuteAll(tenant, room):
            words = ["unmuteall", tenant, room]
        case Kick(tenant, sub):
            words = ["kick", tenant, sub]
        case Revoke(tenant, sub, iat_max_s, until_s):
            words = ["revoke", tenant, sub, str(iat_max_s), str(until_s)]
        case RevokeJti(tenant, jti, until_s):
            words = ["revokejti", tenant, jti, str(until_s)]
        case Floor(tenant, sub, generation):
            words = ["floor", tenant, sub, str(generation)]
        case Limit(tenant, key, rate, burst):
            words = ["limit", tenant, key.value, str(rate), str(burst)]
        case Member(tenant, room, sub):
            words = ["member", tenant, room, sub]
    body = " ".join(words)
    if parse_body(body) != entry:
        raise GateLogError(f"cannot be written to the gate log: {entry!r}")
    return body


def format_line(seq: int, entry: Entry) -> str:
    """One line of the log, newline included. `seq` counts from 1 within the file."""
    if seq < 1:
        raise GateLogError(f"a sequence number is at least 1, not {seq}")
    body = f"{seq} {format_body(entry)}"
    return f"{body} {_crc(body)}\n"


def parse_line(line: str, seq: int) -> Entry:
    """The entry of a complete line (without its newline) that must carry this sequence number."""
    if len(line) >= MAX_LINE_BYTES or _ASCII_LINE.fullmatch(line) is None:
        raise GateLogError(f"entry {seq}: too long, or not plain ASCII")
    body, _, crc = line.rpartition(" ")
    if not body or crc != _crc(body):
        raise GateLogError(f"entry {seq}: the checksum is wrong")
    number, _, rest = body.partition(" ")
    if number != str(seq):
        raise GateLogError(f"entry {seq}: carries the sequence number {number!r}")
    try:
        return parse_body(rest)
    except GateLogError as error:
        raise GateLogError(f"entry {seq}: {error}") from None


def _whole(pattern: re.Pattern[str], what: str, word: str) -> str:
    if pattern.fullmatch(word) is None:
        raise GateLogError(f"{word[:40]!r} is no {what}")
    return word


def _number(word: str) -> int:
    value = int(_whole(_NUMBER, "number in plain decimal", word))
    if value > MAX_INTEGER:
        raise GateLogError(f"the number {word} is above {MAX_INTEGER}")
    return value


def _limit_key(word: str) -> LimitKey:
    try:
        return LimitKey(word)
    except ValueError:
        raise GateLogError(f"{word[:40]!r} is no kind of limit") from None


def parse_body(body: str) -> Entry:
    """The entry of `verb args…`. Exactly one space between words; unknown verbs are errors, never skipped."""
    try:
        return _parse_words(body.split(" "), body)
    except BadId as error:
        raise GateLogError(str(error)) from None


def _parse_words(words: list[str], body: str) -> Entry:
    match words:
        case ["open", tenant, room]:
            return Open(TenantId(tenant), RoomId(room))
        case ["close", tenant, room]:
            return Close(TenantId(tenant), RoomId(room))
        case ["assign", tenant, sub, "-"]:
            return Assign(TenantId(tenant), Subject(sub), None)
        case ["assign", tenant, sub, room]:
            return Assign(TenantId(tenant), Subject(sub), RoomId(room))
        case ["mute", tenant, room, sub]:
            return Mute(TenantId(tenant), RoomId(room), Subject(sub))
        case ["unmute", tenant, room, sub]:
            return Unmute(TenantId(tenant), RoomId(room), Subject(sub))
        case ["muteall", tenant, room]:
            return MuteAll(TenantId(tenant), RoomId(room))
        case ["unmuteall", tenant, room]:
            return UnmuteAll(TenantId(tenant), RoomId(room))
        case ["kick", tenant, sub]:
            return Kick(TenantId(tenant), Subject(sub))
        case ["revoke", tenant, sub, iat_max, until]:
            return Revoke(TenantId(tenant), Subject(sub), _number(iat_max), _number(until))
        case ["revokejti", tenant, jti, until]:
            return RevokeJti(TenantId(tenant), _whole(_JTI, "jti", jti), _number(until))
        case ["floor", tenant, sub, generation]:
            return Floor(TenantId(tenant), Subject(sub), _number(generation))
        case ["limit", tenant, key, rate, burst]:
            return Limit(TenantId(tenant), _limit_key(key), _number(rate), _number(burst))
        case ["member", tenant, room, sub]:
            return Member(TenantId(tenant), RoomId(room), Subject(sub))
        case _:
            raise GateLogError(f"no such entry: {body[:60]!r}")
