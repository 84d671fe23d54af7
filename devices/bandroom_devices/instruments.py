"""A virtual instrument: plays one part of a score in time with the room it is in."""

from __future__ import annotations

from bandroom_devices.device import Device
from bandroom_devices.score import Cue, Part

_LATE_US = 100_000  # a cue later than this is left out, all but its ends


class Instrument:
    """Plays ``part`` on ``device``. Each cue's time comes from the tempo map, so tempo changes are followed at once."""

    def __init__(self, device: Device, part: Part) -> None:
        self._device = device
        self._part = part
        self.played = 0
        """Notes begun so far."""
        self.missed = 0
        """Notes left out: no connection just then, or too late."""
        self.late_us: list[int] = []
        """How late each cue with notes was when it came to sending it, by this device's own clock."""

    async def play(self) -> None:
        """Play the part once, from wherever the room is. Returns after its last cue, or when the room is closed.

        While the room stands still the instrument waits; started anew, it begins anew.
        """
        device, cues = self._device, self._part.cues
        await device.synced()
        at = 0
        while at < len(cues) and not device.is_over:
            at = self._find(at)
            reached_us = await device.reach_position(cues[at].k) if at < len(cues) else None
            if reached_us is not None:
                await self._act(cues[at], reached_us)
                at += 1

    def _find(self, at: int) -> int:
        """Where to go on: at ``at``, unless the music has jumped back to its beginning or is far past that cue."""
        tempo_map = self._device.tempo_map
        if tempo_map is None:
            return at
        cues, now_us = self._part.cues, self._device.now_us()
        position = tempo_map.position_at(now_us)
        if at > 0 and position < cues[at - 1].k - 1:
            at = 0
        late_k = tempo_map.position_at(now_us - _LATE_US)
        while at < len(cues) and cues[at].k < late_k:
            self.missed += len(cues[at].on)
            at += 1
        return at

    async def _act(self, cue: Cue, due_us: int) -> None:
        device, channel = self._device, self._part.channel
        await device.release(*cue.off, channel=channel, t_us=due_us)
        if not cue.on:
            return
        late_us = device.now_us() - due_us
        self.late_us.append(late_us)
        if late_us <= _LATE_US and await device.play(*cue.on, velocity=cue.velocity, channel=channel, t_us=due_us):
            self.played += len(cue.on)
        else:
            self.missed += len(cue.on)
