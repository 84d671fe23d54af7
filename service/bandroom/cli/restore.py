"""`bandroom restore`: put a backup in the place of what is there."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from bandroom.cli.errors import CliError, ExitCode
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, counted, emit
from bandroom.runstate import NotRunning, RunInfo
from bandroom.store import InUse, StoreError
from bandroom.store.backup import prepare_restore, read_backup
from bandroom.store.backup import restore as put_back
from bandroom.store.errors import Conflict
from bandroom.supervisor import lock
from bandroom.supervisor.errors import InTheWay

app = typer.Typer(add_completion=False)
_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `bandroom backup` wrote.")],
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Put database and keys of a backup in the place of what is there, beside a running `bandroom up` or without one.

    A running one replaces its service and its broker: rooms of the backup beat on, and everybody comes back by
    themselves.
    """
    place = Home(home)
    try:
        rooms, advice = _restore(place, file)
    except InUse as error:
        raise CliError(str(error), exit_code=ExitCode.NOT_RUNNING) from error
    except Conflict as error:
        raise CliError(str(error), err="conflict") from error
    except StoreError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"cannot restore {file}: {error.strerror}") from error
    emit({"file": str(file), "rooms": rooms}, as_json=as_json, lines=[f"Restored {counted(rooms, 'room')}{advice}"])


def _restore(place: Home, file: Path) -> tuple[int, str]:
    """How many rooms, and what comes next."""
    if not place.root.exists():
        read_backup(file)  # a name that was mistyped makes no folder
    place.create()
    try:
        held = lock.take(place)
    except InTheWay:
        return _restore_online(place, file)
    try:
        return put_back(place, file), "; `bandroom up` now."
    finally:
        os.close(held)


def _restore_online(place: Home, file: Path) -> tuple[int, str]:
    try:
        before = RunInfo.read(place).pids
    except NotRunning as error:
        raise CliError(
            f"`bandroom up` is just starting or stopping on {place.root}: try again", exit_code=ExitCode.NOT_RUNNING
        ) from error
    rooms = prepare_restore(place, file)
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        with suppress(NotRunning):  # it is being written anew
            now = RunInfo.read(place).pids
            is_done = now.service != before.service and (not before.broker or now.broker != before.broker)
            if is_done and not place.pending_restore.exists():
                if before.broker:
                    return rooms, "; service and broker have them."
                return rooms, "; restart the broker now, which still holds the topics and keys from before."
        time.sleep(_LOOK_EVERY_S)
    raise CliError(
        f"the backup waits in {place.pending_restore}, and the service has not put it back within {_WITHIN_S:g} s: "
        f"see {place.log_of('service')}; it will be put back when the service starts"
    )
