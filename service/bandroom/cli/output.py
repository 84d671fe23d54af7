"""What commands share: their common options, and printing as a table, as lines or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bandroom.paths import DEFAULT_HOME, HOME_VARIABLE, Home

HomeOption = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="The data folder.", show_default=True)]
"""``home: HomeOption = DEFAULT`` in a command's signature; then ``Home(home)``."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", envvar="BANDROOM_TENANT", help="The tenant; may be left out where there is only one."),
]
DEFAULT = Path(DEFAULT_HOME)

__all__ = [
    "DEFAULT",
    "Home",
    "HomeOption",
    "JsonOption",
    "TenantOption",
    "clock_text",
    "counted",
    "emit",
    "print_json",
    "print_table",
]


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "none yet") -> None:
    """Rows in aligned columns under their names; ``empty`` on a line of its own where there are none."""
    cells = [[str(cell) if cell is not None else "-" for cell in row] for row in rows]
    if not cells:
        typer.echo(empty)
        return
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    for line in [list(columns), *cells]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def clock_text(server_us: int, now_s: float | None = None) -> str:
    """A moment of server time (µs) by this machine's clock on the wall: the hour, and the day if it is not today.

    ``now_s``: Unix seconds, now where missing.
    """
    then, now = time.localtime(server_us / 1e6), time.localtime(now_s)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def counted(count: int, what: str) -> str:
    """So many of what ``what`` is one of: ``1 room``, ``2 rooms``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def emit(value: Mapping[str, Any], *, as_json: bool, lines: Iterable[str] | None = None) -> None:
    """One result: as JSON, or as ``lines`` (by default ``name  value``, one each)."""
    if as_json:
        print_json(value)
    elif lines is not None:
        for line in lines:
            typer.echo(line)
    else:
        width = max((len(name) for name in value), default=0)
        for name, item in value.items():
            typer.echo(f"{name.ljust(width)}  {item}")
