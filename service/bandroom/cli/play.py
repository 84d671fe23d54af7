"""`bandroom play`: notes from the terminal, on the beat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer
from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError
from bandroom_devices.notes import BadNote, parse_notes

from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, TenantOption, emit
from bandroom.cli.seats import CaOption, CodeOption, LinkOption, RoomOption, UrlOption, as_cli_error, open_device
from bandroom.wire.instruments import INSTRUMENTS, Instrument

app = typer.Typer(add_completion=False)


class On(StrEnum):
    """When a note is played."""

    BEAT = "beat"
    BAR = "bar"
    NOW = "now"


@app.command()
def play(
    notes: Annotated[
        str, typer.Option("--notes", help="One after another: C4,E4,F#3 or 60,64; a chord with +, as C4+E4+G4.")
    ],
    home: HomeOption = DEFAULT,
    tenant: TenantOption = None,
    room: RoomOption = None,
    code: CodeOption = None,
    url: UrlOption = None,
    link: LinkOption = None,
    ca: CaOption = None,
    nickname: Annotated[str | None, typer.Option("--nickname", help="With --code: the name on the roster.")] = None,
    instrument: Annotated[
        Instrument | None,
        typer.Option("--instrument", metavar="WORD", help=f"With --code: for the roster; {', '.join(INSTRUMENTS)}."),
    ] = None,
    on: Annotated[On, typer.Option("--on", help="On each beat, on each bar's first beat, or at once.")] = On.BEAT,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=10_000, help="How often to play it all.")] = 1,
    velocity: Annotated[int, typer.Option("--velocity", min=1, max=127)] = 96,
    channel: Annotated[int, typer.Option("--channel", min=0, max=15, help="MIDI channel, from 0.")] = 0,
    length_ms: Annotated[int, typer.Option("--length-ms", min=10, max=30_000, help="How long a note sounds.")] = 200,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=86400, help="Give up when it is not played by then.")
    ] = 60,
    as_json: JsonOption = False,
) -> None:
    """Play notes in a room, in time with its beat."""
    try:
        chords = parse_notes(notes) * repeat
    except BadNote as error:
        raise CliError(str(error), err="bad_request") from error
    device = open_device(
        Home(home),
        tenant=tenant,
        room=room,
        code=code,
        url=url,
        link=link,
        nickname=nickname,
        purpose="play",
        ca=ca,
        instrument=instrument,
    )
    try:
        sent = asyncio.run(_play(device, chords, on, velocity, channel, length_ms / 1000, seconds))
    except DeviceError as error:
        raise as_cli_error(error) from error
    if sent < len(chords):
        raise CliError(f"{len(chords) - sent} of {len(chords)} were not sent: the connection was lost")
    emit({"played": sent}, as_json=as_json, lines=[f"played {sent}"])


async def _play(
    device: Device,
    chords: list[tuple[int, ...]],
    on: On,
    velocity: int,
    channel: int,
    length_s: float,
    seconds: float,
) -> int:
    """How many of ``chords`` were sent."""
    sent = tried = 0
    try:
        async with asyncio.timeout(seconds), device:
            moments = _moments(device, on, length_s)
            for chord in chords:
                due_us = await anext(moments)
                tried += 1
                sent += await device.play(*chord, velocity=velocity, channel=channel, t_us=due_us, length_s=length_s)
            # The last ones sound to their end before this player leaves.
            await device.sleep_until(device.now_us() + round(length_s * 1e6) + 20_000)
    except StopAsyncIteration:
        raise CliError(f"the room was closed after {tried} of {len(chords)}", err="closed") from None
    except TimeoutError:
        still = device.is_synced and device.tempo_map is not None and not device.tempo_map.running_at(device.now_us())
        why = "the room stands still: `bandroom rooms start`, or --on now" if still else "they take longer than that"
        raise CliError(f"{tried} of {len(chords)} were played within {seconds:g} s: {why}") from None
    return sent


async def _moments(device: Device, on: On, length_s: float) -> AsyncIterator[int]:
    """The server times at which to play."""
    if on is On.NOW:
        await device.synced()
        while True:
            now_us = device.now_us()
            yield now_us
            await device.sleep_until(now_us + round(length_s * 1e6))
    async for beat in device.beats():
        if on is On.BEAT or beat.pos == 1:
            yield beat.t
