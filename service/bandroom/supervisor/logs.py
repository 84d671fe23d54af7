"""Logs are kept within bounds while everything runs.

Copied and emptied, not renamed: the parts write through descriptors of their own (opened for appending, so that after
the emptying they go on at the beginning), and the broker would have to be sent SIGHUP to open its log anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

KEPT_BYTES = 10_000_000
LOOK_EVERY_S = 10.0


def aside(path: Path) -> Path:
    """Where the older lines of a log are."""
    return path.with_suffix(path.suffix + ".1")


def rotate(path: Path, most_bytes: int = KEPT_BYTES) -> str:
    """If the log is longer than ``most_bytes``, put its lines aside (in place of the older ones) and empty it.

    What a part writes between the copy and the emptying, some microseconds, is lost. Where there is no room for a
    copy, the lines are given up: a log must not be what fills the disk. Returns what went wrong, or nothing.
    """
    try:
        if path.stat().st_size <= most_bytes:
            return ""
    except FileNotFoundError:
        return ""
    older, trouble = aside(path), ""
    older.unlink(missing_ok=True)
    with path.open("r+b") as log:
        try:
            handle = os.open(older, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as copy:
                shutil.copyfileobj(log, copy, 1 << 20)
                copy.flush()
                # What came in meanwhile.
                shutil.copyfileobj(log, copy)
        except OSError as error:
            trouble = f"{path} was emptied without a copy: {error.strerror}"
            older.unlink(missing_ok=True)
        log.truncate(0)
    return trouble


def rotate_all(folder: Path, most_bytes: int = KEPT_BYTES) -> Iterator[str]:
    """``rotate`` for every log in the folder; what went wrong."""
    for path in sorted(folder.glob("*.log")):
        try:
            trouble = rotate(path, most_bytes)
        except OSError as error:
            trouble = f"{path} cannot be kept short: {error.strerror}"
        if trouble:
            yield trouble
