"""A MIDI instrument beside a device in a real room."""

from __future__ import annotations

import asyncio
from typing import Any

import mido
from bandroom.testing import wait_until_async
from bandroom_devices import Device
from bandroom_devices.midi import MidiBridge

WITHIN_S = 20


class Port:
    """Stands for a MIDI output: hardware that no test machine has."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, msg: Any) -> None:
        """Keep it."""
        self.sent.append(msg)


async def test_a_keyboard_plays_in_the_room_and_a_synthesiser_sounds_it(school: Any) -> None:
    """From the keyboard: notes and controllers, no clock, no sysex. To the port: notes of either kind, and the rest."""
    room, port = school.room(), Port()
    async with (
        Device.join(school.stack.url, school.tenant, room, nickname="Keyboard") as keyboard,
        Device.join(school.stack.url, school.tenant, room) as other,
    ):
        for device in (keyboard, other):
            await device.start_hearing()
        bridge = MidiBridge(keyboard, port)
        running = asyncio.create_task(bridge.run())
        heard: list[bytes] = []

        async def listen() -> None:
            async for message in other.hear_midi():
                heard.append(message.data)  # noqa: PERF401  (the list is read meanwhile)

        listening = asyncio.create_task(listen())
        await other.synced()
        for message in (
            mido.Message("note_on", note=60, velocity=90, channel=1),
            mido.Message("clock"),
            mido.Message("sysex", data=[1, 2]),
            mido.Message("control_change", control=64, value=127, channel=1),
        ):
            bridge.from_port(message)
        await wait_until_async(lambda: len(heard) == 2, timeout_s=WITHIN_S, what="two messages")
        assert heard == [bytes([0x91, 60, 90]), bytes([0xB1, 64, 127])]
        await other.play(67, velocity=80, channel=2)
        await other.send_midi(bytes([0xE0, 0, 80]))
        await other.send_midi(bytes([0x90, 70, 50]))
        await other.release(67, channel=2)
        await wait_until_async(lambda: len(port.sent) == 4, timeout_s=WITHIN_S, what="four messages")
        told = {(m.type, m.channel, getattr(m, "note", None)) for m in port.sent}
        assert told == {("note_on", 2, 67), ("pitchwheel", 0, None), ("note_on", 0, 70), ("note_off", 2, 67)}
        for task in (running, listening):
            task.cancel()
