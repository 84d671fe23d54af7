"""Waiting for moments of the music: beats, positions, server times."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bandroom.music.scheduler import Due, Scheduler
from bandroom.music.tempo_map import Beat

from bandroom_devices.core import Core
from bandroom_devices.localclock import Flag, sleep_until

_LATE_US = 100_000  # a program is told of a beat that is late by less; what sounds it can judge for itself
_AHEAD_US = 5_000  # what is to be worked out for a beat is done by the time it is due
_FINE_US = 50_000  # the offset may be corrected while one sleeps, so the last stretch is measured afresh


class Pace:
    """The room's music in time on this device, whose server time must be known. ``early_us`` is its own latency."""

    def __init__(self, core: Core, early_us: int) -> None:
        self._core = core
        self._early_us = early_us

    async def sleep_until(self, server_us: int) -> None:
        """Return at a server time."""
        while not await self._reach(server_us, Flag()):
            pass

    async def beats(self) -> AsyncIterator[Beat]:
        """Each beat at its time, until the room is closed."""
        core, clock, resyncs = self._core, self._core.time.clock, self._core.keeper.resyncs
        scheduler = Scheduler(look_ahead_us=_AHEAD_US, latency_us=self._early_us, late_us=_LATE_US)
        while not core.view.is_closed:
            following, local_us = core.changes.following, core.clock.now_us()
            if core.keeper.resyncs != resyncs:
                resyncs = core.keeper.resyncs
                scheduler.rest_until_bar()
            if core.view.tempo_map is not None:
                scheduler.set_map(core.view.tempo_map, local_us, clock)
            for event in scheduler.poll(local_us, clock):
                # Nothing is taken back within so short a look-ahead: edits are announced 150 ms before they hold.
                if isinstance(event, Due):
                    # One more, since the two clocks' rounding may put that a microsecond before the beat.
                    await sleep_until(core.clock, event.at_us + 1)
                    yield event.beat
            wake_us = scheduler.wake_us(core.clock.now_us(), clock)
            if wake_us is None:
                await following.wait()
            else:
                await self._reach_local(wake_us + 1, following)

    async def reach_position(self, k: float) -> int | None:
        """Wait for a position; its server time, or None when the map changed or the position lies behind."""
        core = self._core
        following = core.changes.following
        due_us = core.view.tempo_map.time_at(k) if core.view.tempo_map else None
        if due_us is None:
            if not core.view.is_closed:
                await following.wait()
            return None
        return due_us if await self._reach(due_us, following) else None

    async def _reach(self, server_us: int, unless: Flag) -> bool:
        """Wait for a server time; False as soon as ``unless`` is set before."""
        core = self._core
        while not unless.is_set():
            due_us = core.time.local_at(server_us) - self._early_us
            if due_us <= core.clock.now_us():
                return True
            await self._reach_local(due_us, unless)
        return False

    async def _reach_local(self, local_us: int, unless: Flag) -> None:
        """Wait for a local time, or until it is time to work that out again."""
        clock = self._core.clock
        soon_us = clock.now_us() + 2 * _FINE_US
        await sleep_until(clock, local_us if local_us <= soon_us else local_us - _FINE_US, unless=unless)
