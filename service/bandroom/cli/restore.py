"""`bandroom restore`: put a backup in the place of what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bandroom.cli.errors import CliError, ExitCode
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, emit
from bandroom.store import InUse, StoreError
from bandroom.store.backup import restore as put_back
from bandroom.supervisor import lock
from bandroom.supervisor.errors import InTheWay

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `bandroom backup` wrote.")],
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Put database and keys of a backup in the place of what is there. Nothing may be running on the folder."""
    place = Home(home)
    place.create()
    try:
        held = lock.take(place)
    except InTheWay as error:
        raise CliError(f"{error}: stop it first", exit_code=ExitCode.NOT_RUNNING) from error
    try:
        rooms = put_back(place, file)
    except InUse as error:
        raise CliError(str(error), exit_code=ExitCode.NOT_RUNNING) from error
    except StoreError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"cannot restore {file}: {error.strerror}") from error
    finally:
        os.close(held)
    emit({"file": str(file), "rooms": rooms}, as_json=as_json, lines=[f"Restored {rooms} rooms; `bandroom up` now."])
