"""What a device hears of its classmates' notes: each beginning and each end, whatever got lost. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bandroom.wire.ids import Subject
from bandroom.wire.messages import Beat, Midi, Note

from bandroom_devices.sounding import Ended, Key, Sounding

_T_TRUSTED_US = 10_000_000
"""A note's ``t`` further off than this says nothing about when to sound it, and is dropped."""


@dataclass(frozen=True, slots=True)
class HeardNote:
    """One note of one player that begins (``ended`` is None) or ends."""

    player: Subject
    note: int  # MIDI number, 0 to 127
    velocity: int  # 1 to 127 where it begins, 0 where it ends
    channel: int  # 0 to 15
    t_us: int | None  # server time at which its player says it is played; None where not told
    arrived_us: int | None  # server time at which it came in here; None while this device's clock is not set
    ended: Ended | None = None

    @property
    def begins(self) -> bool:
        """Whether the note begins."""
        return self.ended is None


@dataclass(frozen=True, slots=True)
class HeardBeat:
    """A ``beat`` message that came in: for watching the network. Music is played by ``Device.beats``."""

    beat: Beat
    arrived_us: int | None  # server time; None while the device's clock is not set


@dataclass(frozen=True, slots=True)
class HeardMidi:
    """A raw MIDI channel message of a classmate."""

    player: Subject
    data: bytes
    arrived_us: int | None


class Hearing:
    """Turns ``note`` and ``midi`` messages into ``HeardNote``s, and ends what nobody else ends."""

    def __init__(self) -> None:
        self._sounding = Sounding()

    def note(self, player: Subject, message: Note, local_us: int, server_us: int | None) -> list[HeardNote]:
        """What a ``note`` message says, arrived at ``local_us`` on the device's clock."""
        t_us = message.t
        if t_us is not None and (server_us is None or abs(t_us - server_us) > _T_TRUSTED_US):
            t_us = None
        return [
            heard
            for number in message.notes
            for heard in self._one(
                Key(player, message.ch, number),
                message.v if message.on is not None else 0,
                local_us,
                t_us,
                server_us,
            )
        ]

    def midi(self, player: Subject, message: Midi, local_us: int, server_us: int | None) -> list[HeardNote]:
        """What a raw MIDI message says, if it begins or ends a note; empty for any other."""
        status, number, velocity = message.data[0], message.data[1], (*message.data[2:], 0)[0]
        if status >> 4 not in (0x8, 0x9):
            return []
        begins = status >> 4 == 0x9 and velocity > 0  # velocity 0 is MIDI's other way to say "off"
        key = Key(player, status & 0x0F, number)
        return self._one(key, velocity if begins else 0, local_us, None, server_us)

    def silence(self, player: Subject, why: Ended, server_us: int | None) -> list[HeardNote]:
        """End all that ``player`` still sounds: they left, or their messages are being dropped."""
        return [_end(key, why, server_us) for key in self._sounding.gone(player)]

    def expire(self, local_us: int, server_us: int | None) -> list[HeardNote]:
        """End what has sounded for 30 s."""
        return [_end(key, Ended.HANGING, server_us) for key in self._sounding.expire(local_us)]

    def next_expiry_us(self) -> int | None:
        """When (local µs) ``expire`` will next end something."""
        return self._sounding.next_expiry_us()

    def _one(self, key: Key, velocity: int, local_us: int, t_us: int | None, server_us: int | None) -> list[HeardNote]:
        if velocity:
            self._sounding.on(key, local_us)
            return [HeardNote(key.player, key.note, velocity, key.channel, t_us, server_us)]
        if self._sounding.off(key):
            return [HeardNote(key.player, key.note, 0, key.channel, t_us, server_us, Ended.OFF)]
        return []


def _end(key: Key, why: Ended, server_us: int | None) -> HeardNote:
    return HeardNote(key.player, key.note, 0, key.channel, None, server_us, why)
