"""The demo's independent observer: ``python -m bandroom_devices.demo.observer``.

A process of its own, with a connection and a clock of its own, off by seconds as the others are. It knows the tempo
map and nothing of the score. For each note that begins it takes the time of ARRIVAL here, in server time as its own
clock exchanges give it, and the nearest eighth note of the room's grid; what it reports is arrival minus grid. So the
figure holds everything that stands between a player's intention and a hearer: the player's clock error and
scheduling, the player's and the broker's processing, the network both ways, and this observer's own clock error.
"""

from __future__ import annotations

import asyncio
import sys

from bandroom.music.tempo_map import TempoMap

from bandroom_devices.demo.child import Seat, report, run
from bandroom_devices.device import Device

GRID_TICKS = 480
"""An eighth note: the shortest step of the round."""


def grid_us(tempo_map: TempoMap, server_us: int) -> int | None:
    """The due time of the grid line nearest to ``server_us``; None where the map has none."""
    nearest = round(tempo_map.position_at(server_us) / GRID_TICKS) * GRID_TICKS
    return tempo_map.time_at(nearest)


async def work(seat: Seat) -> None:
    """Join, set the clock, then tell of every beat and note until stdin closes."""
    async with Device.join(seat.url, seat.tenant, seat.code, nickname=seat.nickname, clock=seat.clock()) as device:
        error_us = await device.synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(_beats(device))
            group.create_task(_beat_messages(device))
            group.create_task(_notes(device))
            group.create_task(_maps(device))
            report("ready", sub=device.subject, error_us=error_us)


async def _beats(device: Device) -> None:
    async for beat in device.beats():
        report("beat", n=beat.n, bar=beat.bar, pos=beat.pos, bpm=beat.bpm, t=beat.t, error_us=device.error_us)


async def _maps(device: Device) -> None:
    told = -1
    while True:
        tempo_map = device.tempo_map
        if tempo_map is not None and tempo_map.rev != told:
            told = tempo_map.rev
            report("map", seg=[[segment.k, segment.uq] for segment in tempo_map.seg])
        await device.changed()


async def _beat_messages(device: Device) -> None:
    async for heard in device.beat_messages():
        if heard.arrived_us is not None:
            report("beat_message", n=heard.beat.n, late_us=heard.arrived_us - heard.beat.t)


async def _notes(device: Device) -> None:
    async for heard in device.hear():
        if heard.arrived_us is None or device.tempo_map is None:
            continue
        due_us = grid_us(device.tempo_map, heard.arrived_us) if heard.begins else None
        report(
            "note",
            player=heard.player,
            begins=heard.begins,
            note=heard.note,
            velocity=heard.velocity,
            channel=heard.channel,
            arrived_us=heard.arrived_us,
            position=device.tempo_map.position_at(heard.arrived_us),
            off_us=None if due_us is None else heard.arrived_us - due_us,
            told_off_us=None if due_us is None or heard.t_us is None else heard.t_us - due_us,
        )


if __name__ == "__main__":
    sys.exit(run(work))
