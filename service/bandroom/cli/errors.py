"""Errors that reach the user: one line and an exit code, or one JSON object."""

from __future__ import annotations

import json
import sys
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's end means to a script."""

    OK = 0
    FAILED = 1
    """The operation failed."""
    USAGE = 2
    """Wrong usage, or a value that cannot be."""
    NOT_RUNNING = 3
    """Nothing runs on this data folder, or something that runs is in the way."""
    REFUSED = 4
    """Credentials or permission."""


_OF_ERR = {
    "bad_request": ExitCode.USAGE,
    "forbidden": ExitCode.REFUSED,
    "unauthorized": ExitCode.REFUSED,
    "not_running": ExitCode.NOT_RUNNING,
    "unavailable": ExitCode.NOT_RUNNING,
}


class CliError(Exception):
    """Ends the command. ``text`` says what was wrong, with which value, and what to do.

    ``err`` is one of the codes that HTTP and MQTT use, or ``not_running`` / ``failed``; the exit code follows from
    it unless given.
    """

    def __init__(self, text: str, *, err: str = "failed", exit_code: ExitCode | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.err = err
        self.exit_code = _OF_ERR.get(err, ExitCode.FAILED) if exit_code is None else exit_code


def show(error: CliError, *, as_json: bool) -> None:
    """Print ``error`` on stderr: one line, or ``{"err", "text"}``."""
    if as_json:
        print(json.dumps({"err": error.err, "text": error.text}, ensure_ascii=False), file=sys.stderr)
    else:
        print("bandroom: " + " ".join(error.text.split()), file=sys.stderr)
