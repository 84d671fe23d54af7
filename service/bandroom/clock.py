"""Server time: microseconds since the Unix epoch that never step.

It is CLOCK_BOOTTIME plus one offset, taken from the wall clock once per boot and kept in a file that gate, service
and workers share. So a step of the wall clock cannot touch the beat, and all processes agree to the microsecond.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bandroom.paths import write_private

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Whatever tells server time."""

    def now_us(self) -> int:
        """Server time in µs."""
        ...


class ClockFileError(RuntimeError):
    """The clock file is missing, damaged, or of an earlier boot."""


def boot_id() -> str:
    """The kernel's id of this boot."""
    return _BOOT_ID.read_text().strip()


@dataclass(frozen=True, slots=True)
class ServerClock:
    """The real clock. ``offset_us`` is added to CLOCK_BOOTTIME."""

    offset_us: int

    def now_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 + self.offset_us

    @classmethod
    def from_file(cls, path: Path) -> ServerClock:
        """The clock of ``DIR/gate/clock``. Raises ``ClockFileError`` if it is not of this boot."""
        try:
            text = path.read_text()
        except OSError as error:
            raise ClockFileError(f"{path}: {error.strerror}; start `bandroom up`, which writes it") from error
        offset = _parse(text)
        if offset is None:
            raise ClockFileError(f"{path} is damaged or of an earlier boot; start `bandroom up`, which renews it")
        return cls(offset)


def _parse(text: str) -> int | None:
    """The offset in µs, or None if the text is not of this boot."""
    match text.split(" "):
        case [boot, offset] if boot == boot_id() and offset.endswith("\n"):
            try:
                return int(offset)
            except ValueError:
                return None
        case _:
            return None


def ensure_clock_file(path: Path) -> ServerClock:
    """The clock of ``path``, written first if there is none of this boot.

    A file of this boot is never rewritten: the wall clock may have stepped since, and the beat must not.
    The caller holds the data folder's lock, so there is one writer.
    """
    try:
        return ServerClock.from_file(path)
    except ClockFileError:
        clock = ServerClock(_offset_now())
        write_private(path, f"{boot_id()} {clock.offset_us}\n")
        return clock


def _offset_now() -> int:
    """Wall time minus boot time in µs: the tightest of a few readings."""

    def reading() -> tuple[int, int]:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return after - before, (wall - (before + after) // 2) // 1000

    return min(reading() for _ in range(8))[1]
