"""Commands that edit a room's tempo map: start, stop, continue, set_tempo, tap, set_meter, cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

from pydantic import ValidationError

from bandroom.music import edits
from bandroom.music.edits import Edit, EditError
from bandroom.music.meter import Meter
from bandroom.music.tap import Taps
from bandroom.music.tempo_map import TempoMap
from bandroom.rooms.control import US_PER_SECOND, Change, Control, Refused, done
from bandroom.rooms.effects import Publish
from bandroom.store import RoomRow
from bandroom.wire import commands as c
from bandroom.wire import tempo as wire_tempo
from bandroom.wire.messages import Reply, Tempo
from bandroom.wire.topics import Room

Playing = c.Start | c.Stop | c.Continue | c.SetTempo | c.Tap | c.SetMeter | c.Cancel
TAP_OFF_US = 10 * US_PER_SECOND
"""How far a tap's time may lie from the moment when it arrives (µs)."""
_TAPPERS = 1000  # remembered at once; a tap more than 3 s old means nothing any more


def _refused(error: EditError) -> Refused:
    return Refused(cast("c.ErrorCode", error.code), error.text)


def parse_meter(text: str) -> Meter:
    """A meter as typed. Raises ``Refused``."""
    try:
        return Meter.parse(text)
    except ValueError as error:
        raise Refused("bad_request", str(error)) from error


def new_map(rev: int, now_us: int, bpm: float, meter: Meter, *, start: bool) -> Tempo:
    """The tempo map of a new room. Raises ``Refused`` for a tempo that cannot be."""
    try:
        tempo_map = TempoMap.initial(rev, now_us, bpm, meter)
        if start:
            tempo_map = edits.start(tempo_map, rev + 1, now_us, "now", count_in=0).map
        return wire_tempo.to_message(tempo_map)
    except EditError as error:
        raise _refused(error) from error
    except (ValueError, ValidationError) as error:
        raise Refused("bad_request", f"bpm {bpm:g} in {meter} cannot be: {error}") from error


@dataclass(slots=True)
class TapBoard:
    """The taps so far of everybody who taps. Lost with a restart, which only means tapping three times more."""

    _taps: dict[tuple[str, str, str], Taps] = field(default_factory=dict[tuple[str, str, str], Taps])

    def add(self, key: tuple[str, str, str], t_us: int) -> Taps:
        """One more tap of somebody in some room."""
        taps = self._taps.pop(key, Taps()).add(t_us)
        self._taps[key] = taps
        while len(self._taps) > _TAPPERS:
            del self._taps[next(iter(self._taps))]
        return taps


def play(
    control: Control, change: Change, room: RoomRow, command: Playing, taps: TapBoard, actor: str
) -> tuple[RoomRow, Reply]:
    """Do one of these commands inside a change. Raises ``Refused``."""
    now_us = control.now_us()
    edit = _edit_of(command, now_us, taps, (room.tenant, room.room, actor))
    if edit is None:
        return room, done(command.id, room.tempo_rev)
    return apply(control, change, room, command.id, edit)


def apply(
    control: Control, change: Change, room: RoomRow, command_id: str, edit: Callable[[TempoMap, int, int], Edit]
) -> tuple[RoomRow, Reply]:
    """Edit a room's map, record and publish it. An edit that changes nothing records nothing."""
    now_us = control.now_us()
    before = wire_tempo.from_message(Tempo.decode(room.tempo.encode()))
    try:
        edited = edit(before, control.next_rev(room.tempo_rev), now_us)
        message = wire_tempo.to_message(edited.map)
    except EditError as error:
        raise _refused(error) from error
    except ValidationError as error:
        raise Refused("limit", "the tempo map would become too long: wait for what is pending") from error
    if edited.map.rev != before.rev:
        used_at = max(room.used_at, control.used_s())
        room = replace(room, tempo=message.encode().decode(), tempo_rev=message.rev, used_at=used_at)
        control.store.for_tenant(room.tenant).put_room(room)
        change.effects.append(Publish(Room(room.tenant, room.room).tempo(), message))
    return room, done(command_id, room.tempo_rev, edited.n, edited.t)


def _edit_of(
    command: Playing, now_us: int, taps: TapBoard, who: tuple[str, str, str]
) -> Callable[[TempoMap, int, int], Edit] | None:
    match command:
        case c.Start():
            return lambda m, rev, now: edits.start(m, rev, now, command.at, count_in=command.count_in)
        case c.Stop():
            return lambda m, rev, now: edits.stop(m, rev, now, command.at)
        case c.Continue():
            return lambda m, rev, now: edits.continue_(m, rev, now, command.at)
        case c.SetTempo():
            return lambda m, rev, now: edits.set_tempo(
                m, rev, now, command.bpm, command.at, ramp=command.ramp, over=command.over
            )
        case c.SetMeter():
            meter = parse_meter(command.meter)
            return lambda m, rev, now: edits.set_meter(m, rev, now, meter, command.at, bpm=command.bpm)
        case c.Cancel():
            return edits.cancel
        case c.Tap():
            t_us = now_us if command.t is None else command.t
            if abs(t_us - now_us) > TAP_OFF_US:
                raise Refused("bad_request", f"t lies {abs(t_us - now_us) / 1e6:.0f} s off: give server time in µs")
            tapped = taps.add(who, t_us)
            if tapped.bpm is None:
                return None
            return lambda m, rev, now: edits.tap(m, rev, now, tapped.times_us)
