"""`bandroom keys`: rotate."""

from __future__ import annotations

from typing import Annotated

import typer

from bandroom.cli.api import Api
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, emit

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The keys of this installation.")


@app.callback()
def group() -> None:
    """The keys of this installation."""


@app.command()
def rotate(
    devices: Annotated[
        bool,
        typer.Option("--devices", help="The master key of device passwords instead."),
    ] = False,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """New keys, in use once the broker has them. What the old ones signed stays good until it expires.

    Nobody is thrown out.
    Device passwords of the last master key go on working until the next rotation with --devices.
    """
    with Api(home) as api:
        done = api.post("/api/keys/rotate", {"devices": devices})
    numbers = " and ".join(str(number) for number in done["masters"])
    said = f"Tokens are signed with {done['signs']}; device passwords of master key {numbers} open."
    lines = [f"The broker has the new keys. {said}"]
    emit(done, as_json=as_json, lines=lines)
