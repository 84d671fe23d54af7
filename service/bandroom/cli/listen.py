"""`bandroom listen`: the beats and notes of a room as they arrive, and how late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError
from bandroom_devices.hearing import HeardBeat, HeardNote
from bandroom_devices.notes import note_name

from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, TenantOption, print_json
from bandroom.cli.seats import CaOption, CodeOption, LinkOption, RoomOption, UrlOption, as_cli_error, open_device

app = typer.Typer(add_completion=False)


class What(StrEnum):
    """What to print."""

    ALL = "all"
    BEATS = "beats"
    NOTES = "notes"


@app.command()
def listen(
    home: HomeOption = DEFAULT,
    tenant: TenantOption = None,
    room: RoomOption = None,
    code: CodeOption = None,
    url: UrlOption = None,
    link: LinkOption = None,
    ca: CaOption = None,
    what: Annotated[What, typer.Option("--what", help="What to print.")] = What.ALL,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many beats and notes.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.1, max=86400, help="End after so long; with --count: or fail."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print beats and notes as they arrive, each with its arrival minus its due time, until Ctrl-C.

    Times are server time as this program's own clock exchanges give it. With --json one object a line.
    """
    device = open_device(
        Home(home), tenant=tenant, room=room, code=code, url=url, link=link, nickname=None, purpose="listen", ca=ca
    )
    heard = asyncio.run(_listen(device, what, count, seconds, as_json=as_json))
    if count is not None and heard < count:
        raise CliError(f"only {heard} of {count} came within {seconds:g} s")


class _Enough(Exception):
    pass


async def _listen(device: Device, what: What, count: int | None, seconds: float | None, *, as_json: bool) -> int:
    """How many beats and notes were printed."""
    printed = 0

    def tell(row: dict[str, Any], text: Callable[[], str]) -> None:
        nonlocal printed
        if as_json:
            print_json(row)
        else:
            typer.echo(text())
        printed += 1
        if printed == count:
            raise _Enough

    async def beats() -> None:
        async for heard in device.beat_messages():
            row = _beat_row(heard)
            tell(row, lambda row=row: _beat_text(row))

    async def notes() -> None:
        async for heard in device.hear(own=True):
            row = _note_row(heard)
            tell(row, lambda row=row: _note_text(device, row))

    try:
        async with asyncio.timeout(seconds), device:
            bound_us = await device.synced()
            if not as_json:
                typer.echo(f"in {device.room}; the time is known to ±{bound_us / 1000:.2f} ms")
            async with asyncio.TaskGroup() as group:
                if what is not What.NOTES:
                    group.create_task(beats())
                if what is not What.BEATS:
                    group.create_task(notes())
    except* _Enough:
        pass
    except* TimeoutError:
        if printed == 0 and not device.is_synced:
            raise CliError(f"no connection and no time within {seconds:g} s", err="unavailable") from None
    except* DeviceError as errors:
        raise as_cli_error(_first(errors)) from None
    return printed


def _first(errors: BaseExceptionGroup[DeviceError]) -> DeviceError:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group has an error")


def _beat_row(heard: HeardBeat) -> dict[str, Any]:
    beat = heard.beat
    late_us = None if heard.arrived_us is None else heard.arrived_us - beat.t
    fields = {"n": beat.n, "bar": beat.bar, "pos": beat.pos, "bpm": beat.bpm, "t": beat.t, "rev": beat.rev}
    return {"kind": "beat", **fields, "arrived_us": heard.arrived_us, "late_us": late_us}


def _note_row(heard: HeardNote) -> dict[str, Any]:
    late_us = None if heard.arrived_us is None or heard.t_us is None else heard.arrived_us - heard.t_us
    return {
        "kind": "note",
        "player": heard.player,
        "note": heard.note,
        "begins": heard.begins,
        "ended": heard.ended,
        "velocity": heard.velocity,
        "channel": heard.channel,
        "t": heard.t_us,
        "arrived_us": heard.arrived_us,
        "late_us": late_us,
    }


def _late(late_us: int | None) -> str:
    return "" if late_us is None else f"{late_us / 1000:+8.2f} ms"


def _beat_text(row: dict[str, Any]) -> str:
    return f"beat {row['n']:6}   bar {row['bar']:4} pos {row['pos']:2}   {row['bpm']:6g} bpm {_late(row['late_us'])}"


def _note_text(device: Device, row: dict[str, Any]) -> str:
    member = device.members.get(row["player"])
    who = member.name if member else row["player"]
    does = f"plays {note_name(row['note'])}" if row["begins"] else f"ends  {note_name(row['note'])}"
    why = f" ({row['ended']})" if row["ended"] not in (None, "off") else ""
    return f"note {who[:16]:16} {does:10}{why}        {_late(row['late_us'])}"
