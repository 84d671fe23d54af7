"""MIDI instruments join through a computer: what is played on a port goes to the room, the room sounds on a port.

    python -m bandroom_devices.midi --list
    python -m bandroom_devices.midi --link 'http://…/join#t=lincoln&c=MUSIC-1234' --in 'USB Keyboard' --out 'Synth'

Needs the extra ``midi`` and a driver for the ports (``pip install python-rtmidi``).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any, Protocol

from bandroom.wire.message import BadMessage

from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError
from bandroom_devices.extras import MissingExtra, need_mido
from bandroom_devices.listeners import Queue

_CHANNEL_MESSAGES = range(0x80, 0xF0)
_NOTES = (0x8, 0x9)
MAX_WAITING = 256
"""Messages from a port that may wait; a keyboard sends some hundred a second at most."""


class MidiOut(Protocol):
    """A port that sounds: a ``mido`` output."""

    def send(self, msg: Any) -> None:
        """Send one ``mido.Message``."""
        ...


class MidiBridge:
    """Between a device in a room and MIDI ports. ``out`` is None where nothing is to sound here."""

    def __init__(self, device: Device, out: MidiOut | None = None) -> None:
        self._device = device
        self._out = out
        self._mido = need_mido()
        self._played: Queue[bytes] = Queue(MAX_WAITING)
        self._loop = asyncio.get_running_loop()
        self.sent = 0
        """Messages that went to the room."""

    def from_port(self, message: Any) -> None:
        """Take a ``mido.Message`` from an input port; may be called from any thread (ports call from their own)."""
        self._loop.call_soon_threadsafe(self._take, bytes(message.bin()))

    def _take(self, data: bytes) -> None:
        # Clock, sysex and active sensing stay here: the room has its own beat, and carries channel messages only.
        if data and data[0] in _CHANNEL_MESSAGES:
            self._played.put(data)

    async def run(self) -> None:
        """Carry messages both ways until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._to_room())
            if self._out is not None:
                group.create_task(self._notes_to_port(self._out))
                group.create_task(self._rest_to_port(self._out))

    async def _to_room(self) -> None:
        while True:
            data = await self._played.get()
            try:
                self.sent += await self._device.send_midi(data)
            except BadMessage:
                continue  # a driver's broken message: nothing that a room could play

    async def _notes_to_port(self, out: MidiOut) -> None:
        async for heard in self._device.hear():
            kind = "note_on" if heard.begins else "note_off"
            out.send(self._mido.Message(kind, note=heard.note, velocity=heard.velocity or 64, channel=heard.channel))

    async def _rest_to_port(self, out: MidiOut) -> None:
        async for heard in self._device.hear_midi():
            if heard.data[0] >> 4 not in _NOTES:  # those come through hear(), which ends the hanging ones too
                out.send(self._mido.Message.from_bytes(heard.data))


def _ports() -> Any:
    """``mido``, once it has a driver for ports. Raises ``MissingExtra``."""
    mido = need_mido()
    try:
        mido.get_input_names()
    except (ImportError, OSError) as error:
        raise MissingExtra(f"mido has no driver for MIDI ports ({error}): pip install python-rtmidi") from None
    return mido


def _open(opener: Callable[..., Any], name: str, names: list[str], **options: Any) -> Any:
    """The port whose name contains ``name``. Raises ``ValueError`` listing the names that there are."""
    for each in names:
        if name.lower() in each.lower():
            return opener(each, **options)
    raise ValueError(f"no MIDI port like {name!r}. There are: {', '.join(names) or 'none'}")


async def bridge(
    link: str, nickname: str | None, port_in: str | None, port_out: str | None, instrument: str | None = None
) -> None:
    """Join by ``link`` and carry messages between the room and the named ports until cancelled.

    ``instrument``: what the roster shows.
    """
    mido = _ports()
    async with Device.join_link(link, nickname=nickname, instrument=instrument) as device:
        out = _open(mido.open_output, port_out, mido.get_output_names()) if port_out else None
        bridge = MidiBridge(device, out)
        if port_in:
            _open(mido.open_input, port_in, mido.get_input_names(), callback=bridge.from_port)
        print(f"in {device.room} as {device.name}; Ctrl-C to leave")
        await bridge.run()


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bandroom_devices.midi", description="Bring a MIDI instrument into a room."
    )
    parser.add_argument("--list", action="store_true", help="show the ports and end")
    parser.add_argument("--link", help="the room's join link (behind its QR code)")
    parser.add_argument("--nickname")
    parser.add_argument(
        "--instrument", metavar="WORD", default="keyboard", help="what the roster shows that it plays (%(default)s)"
    )
    parser.add_argument("--in", dest="port_in", metavar="PORT", help="part of the name of the port to play on")
    parser.add_argument("--out", dest="port_out", metavar="PORT", help="part of the name of the port that sounds")
    wanted = parser.parse_args(arguments)
    try:
        if wanted.list:
            mido = _ports()
            for kind, names in (("in", mido.get_input_names()), ("out", mido.get_output_names())):
                print("\n".join(f"{kind:4}{name}" for name in names) or f"{kind:4}(none)")
            return 0
        if not wanted.link or not (wanted.port_in or wanted.port_out):
            parser.error("give --link, and --in or --out (or --list)")
        asyncio.run(bridge(wanted.link, wanted.nickname, wanted.port_in, wanted.port_out, wanted.instrument))
    except KeyboardInterrupt:
        return 130
    except (DeviceError, MissingExtra, ValueError, OSError) as error:
        print(f"bandroom: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
