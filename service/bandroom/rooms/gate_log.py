"""Writing the gate log: what the gate learns of rooms, mutes and revocations.

The store is the truth and this file its shadow for the gate: lines are appended after the store has committed, and
a crash between the two is mended by writing the log anew from the store at the next start.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from bandroom.paths import write_private
from bandroom.store import RoomState, Store
from bandroom.wire.gate_log import (
    Assign,
    Entry,
    Floor,
    Limit,
    LimitKey,
    Mute,
    MuteAll,
    Open,
    Revoke,
    RevokeJti,
    format_header,
    format_line,
)
from bandroom.wire.ids import Subject
from bandroom.wire.limits import Allowance

COMPACT_BEYOND_BYTES = 1_000_000


class GateLogFailed(OSError):
    """The log could not be written: the gate knows less than the store until it is compacted."""


class GateLog:
    """The one writer of ``DIR/gate/log``. Begin with ``compact``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._seq = 0
        self._size = 0
        self.file_id = ""

    @property
    def position(self) -> tuple[str, int]:
        """The file's id and the last sequence number in it: what the gate reports when it has read all."""
        return self.file_id, self._seq

    @property
    def is_long(self) -> bool:
        """Whether it is time to compact."""
        return self._size > COMPACT_BEYOND_BYTES

    @property
    def broken(self) -> bool:
        """Whether something could not be written since the last compaction."""
        return self._fd is None

    def append(self, entries: Iterable[Entry]) -> None:
        """Write lines, on the disk when it returns. Raises ``GateLogFailed``; no half of a line remains then."""
        with self._lock:
            lines = [format_line(self._seq + i, entry) for i, entry in enumerate(entries, start=1)]
            if not lines:
                return
            if self._fd is None:
                raise GateLogFailed(f"{self._path} could not be written before; it is being mended")
            data = "".join(lines).encode()
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
                os.fdatasync(self._fd)
            except OSError as error:
                self._give_up()
                raise GateLogFailed(f"cannot write {self._path}: {error.strerror}") from error
            self._seq += len(lines)
            self._size += len(data)

    def compact(self, entries: Iterable[Entry]) -> None:
        """Put a new file with these entries in the old one's place. Raises ``GateLogFailed``."""
        with self._lock:
            file_id = secrets.token_hex(8)
            lines = [format_line(seq, entry) for seq, entry in enumerate(entries, start=1)]
            text = format_header(file_id) + "".join(lines)
            try:
                write_private(self._path, text)
                fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            except OSError as error:
                raise GateLogFailed(f"cannot write {self._path}: {error.strerror}") from error
            if self._fd is not None:
                os.close(self._fd)
            self._fd, self.file_id, self._seq, self._size = fd, file_id, len(lines), len(text)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _give_up(self) -> None:
        # The gate waits for the end of an incomplete line; take the fragment back, so that it never sees one.
        assert self._fd is not None  # noqa: S101  (append holds it)
        try:
            os.ftruncate(self._fd, self._size)
        finally:
            os.close(self._fd)
            self._fd = None


def has_read(status: Path, file_id: str, seq: int) -> bool:
    """Whether the gate reports in ``DIR/gate/status`` that it has read a log as far as ``seq``."""
    try:
        lines = status.read_text("ascii", "replace").split("\n", 2)
    except OSError:
        return False
    match lines[1].split() if len(lines) > 1 else []:
        case ["log", read_id, read_seq] if read_id == file_id and read_seq.isdigit():
            return int(read_seq) >= seq
        case _:
            return False


def known_keys(status: Path) -> set[str]:
    """What the gate reports to know: the signing keys by their ids, and the master keys as ``master-<n>``."""
    try:
        lines = status.read_text("ascii", "replace").split("\n")
    except OSError:
        return set()
    words = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    return {*words.get("keys", []), *(f"master-{number}" for number in words.get("masters", []))}


def entries_of(store: Store, now_s: int) -> Iterator[Entry]:
    """All that the gate must know, read from the store: what a compaction writes."""
    for room in store.all_rooms():
        if room.state is RoomState.CLOSED:
            continue
        yield Open(room.tenant, room.room)
        if room.all_muted:
            yield MuteAll(room.tenant, room.room)
        for sub in store.for_tenant(room.tenant).mutes(room.room):
            yield Mute(room.tenant, room.room, sub)
    for tenant in store.tenants():
        for device in store.for_tenant(tenant.tenant).devices():
            if device.floor > 1:
                yield Floor(device.tenant, device.sub, device.floor)
            if device.room is not None:
                yield Assign(device.tenant, device.sub, device.room)
        for key in LimitKey:
            own = store.for_tenant(tenant.tenant).setting(f"limit.{key}")
            if own is not None:
                allowance = Allowance.parse(own)
                yield Limit(tenant.tenant, key, allowance.rate, allowance.burst)
    for device in store.void_devices():
        yield Floor(device.tenant, device.sub, device.floor)
    for revoked in store.all_revocations(now_s):
        if revoked.what == "sub":
            yield Revoke(revoked.tenant, Subject(revoked.value), revoked.iat_max, revoked.until)
        else:
            yield RevokeJti(revoked.tenant, revoked.value, revoked.until)
