"""One instrument of the demo, a process of its own: ``python -m bandroom_devices.demo.player``."""

from __future__ import annotations

import sys
from pathlib import Path

from bandroom_devices.demo.child import Seat, report, run
from bandroom_devices.device import Device
from bandroom_devices.instruments import Instrument
from bandroom_devices.score import load_parts


async def work(seat: Seat) -> None:
    """Join, set the clock, play the part, leave."""
    part = load_parts(Path(seat.score))[seat.part]
    async with Device.join(
        seat.url, seat.tenant, seat.code, nickname=seat.nickname, instrument=seat.instrument, clock=seat.clock()
    ) as device:
        error_us = await device.synced()
        report("ready", sub=device.subject, error_us=error_us)
        instrument = Instrument(device, part)
        await instrument.play()
        report("done", played=instrument.played, missed=instrument.missed, late_us=instrument.late_us)


if __name__ == "__main__":
    sys.exit(run(work))
