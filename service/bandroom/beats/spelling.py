"""What the worker says and hears on the wire, spelled out by hand.

The models in `wire` define it. They are not used here because building them takes a tenth of a second, which is time
that rooms stay silent after a crash, and because a beat is encoded thousands of times a second. The tests hold every
function here to its model: same bytes out, same maps in, same refusals.
"""

import json
import re
import sys
from functools import lru_cache
from typing import Any
from zlib import crc32

from bandroom.beats.engine import RoomKey
from bandroom.mqtt import packets
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import Beat, MeterChange, Segment, TempoMap

TEMPO_FILTER = ("tenant/+/music_room/+/tempo", 1)
MAX_PAYLOAD = 8192

_TEMPO_TOPIC = re.compile(r"tenant/([a-z0-9][a-z0-9-]{0,19})/music_room/([A-Z]{2,8}-[0-9]{4})/tempo")


class BadMap(ValueError):
    """A tempo message that is none."""


def serves(key: RoomKey, index: int, count: int) -> bool:
    """Whether worker `index` (from 0) of `count` is the one that serves this room."""
    return count == 1 or crc32(f"{key[0]}/{key[1]}".encode()) % count == index


def room_key(tenant: str, room: str) -> RoomKey:
    """The key of a room; the many rooms of a tenant share its name."""
    return (sys.intern(tenant), room)


def room_of(topic: str) -> RoomKey | None:
    """The room that a `tempo` topic belongs to, or None for any other topic."""
    match = _TEMPO_TOPIC.fullmatch(topic)
    return room_key(match[1], match[2]) if match else None


def beat_packet(key: RoomKey, rev: int, beat: Beat) -> bytes:
    """The QoS 0 PUBLISH of a beat."""
    n, bar, pos, bpm, t, d = beat
    payload = b'{"rev":%d,"n":%d,"bar":%d,"pos":%d,"bpm":%s,"t":%d,"d":%d}' % (rev, n, bar, pos, _bpm(bpm), t, d)
    return packets.publish(packets.string(f"tenant/{key[0]}/music_room/{key[1]}/beat"), payload)


@lru_cache(maxsize=1024)
def _bpm(bpm: float) -> bytes:
    return repr(float(bpm)).encode()


def tempo_map(payload: bytes | str) -> TempoMap:
    """The map in a `tempo` payload, for beats: same beats, not always the same segments.

    Raises BadMap for anything that is not a map, however odd.
    """
    if len(payload) > MAX_PAYLOAD:
        raise BadMap(f"{len(payload)} bytes, and at most {MAX_PAYLOAD} are allowed")
    try:
        told = json.loads(payload)
        return _lean(TempoMap(_int(told["rev"]), _segments(told["seg"]), _meters(told["met"])))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadMap(f"{type(error).__name__}: {error}"[:200]) from None


def _lean(it: TempoMap) -> TempoMap:
    # Before its first segment a map stands still anyway: a segment that says so is dropped, to keep rooms small.
    seg = it.seg
    if len(seg) > 1 and not seg[0].uq and seg[0].k == seg[1].k:
        return TempoMap(it.rev, seg[1:], it.met)
    return it


def _int(value: Any, most: int = 2**53 - 1) -> int:
    if type(value) is not int or not -most <= value <= most:
        raise BadMap(f"{value!r:.40} is not a whole number of at most {most}")
    return value


def _maybe(value: Any) -> int | None:
    return None if value is None else _int(value)


def _list(value: Any, limit: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= limit:  # pyright: ignore[reportUnknownArgumentType]
        raise BadMap(f"a list of 1 to {limit} was expected")
    return value  # pyright: ignore[reportUnknownVariableType]


@lru_cache(maxsize=4096)
def _shared(value: int | None) -> int | None:
    # Ten thousand rooms have a handful of tempi between them: one number each, not one a room.
    return value


def _segments(told: Any) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            _int(s["k"]),
            _int(s["t"]),
            _shared(_int(s["uq"])) or 0,
            _shared(_maybe(s.get("uq1"))),
            _maybe(s.get("len")),
            s.get("ramp"),
        )
        for s in _list(told, 128)
    )


def _meters(told: Any) -> tuple[MeterChange, ...]:
    return _changes(
        tuple(
            (
                _int(c["n"], 10**9),
                _int(c["k"]),
                _int(c["bar"], 10**9),
                *(_int(c[name]) for name in ("num", "den", "q")),
                _groups(c.get("grp")),
            )
            for c in _list(told, 64)
        )
    )


@lru_cache(maxsize=256)
def _changes(told: tuple[tuple[Any, ...], ...]) -> tuple[MeterChange, ...]:
    # Shared: a thousand rooms that are in 4/4 from the beginning need one of these.
    return tuple(MeterChange(n, k, bar, Meter(*meter)) for n, k, bar, *meter in told)


def _groups(told: Any) -> tuple[int, ...] | None:
    return None if told is None else tuple(_int(g) for g in _list(told, 32))
