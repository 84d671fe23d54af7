"""Device kit: join a room, keep time, follow the beat, play and hear notes."""

from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError, JoinRefused, Refused, Unreachable
from bandroom_devices.hearing import HeardBeat, HeardMidi, HeardNote
from bandroom_devices.localclock import LocalClock, SkewedClock, SystemClock

__all__ = [
    "Device",
    "DeviceError",
    "HeardBeat",
    "HeardMidi",
    "HeardNote",
    "JoinRefused",
    "LocalClock",
    "Refused",
    "SkewedClock",
    "SystemClock",
    "Unreachable",
]
