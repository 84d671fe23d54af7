"""`bandroom backup`: one file with database and keys, while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, emit
from bandroom.store import StoreError
from bandroom.store.backup import backup as write_backup

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Write database and keys to one file. It opens every door of this installation: keep it safe."""
    place = Home(home)
    if not place.database.exists():
        raise CliError(f"nothing to back up: `bandroom up` never ran on {place.root}", err="not_found")
    try:
        size = write_backup(place, file)
    except FileExistsError as error:
        raise CliError(f"{file} exists already: choose another name", err="conflict") from error
    except StoreError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"cannot write {file}: {error.strerror}") from error
    emit({"file": str(file), "bytes": size}, as_json=as_json, lines=[f"Wrote {file}, {size} bytes."])
