"""Commands about who is in a room: mute, unmute, kick, reset_name, assign_device."""

from __future__ import annotations

from dataclasses import replace

from bandroom.auth.tokens import MAX_TTL_S
from bandroom.rooms import codes, nicknames
from bandroom.rooms.control import Change, Control, Refused, done
from bandroom.rooms.effects import Publish
from bandroom.rooms.life import REST_S
from bandroom.store import DeviceRow, RoomRow
from bandroom.wire import commands as c
from bandroom.wire import gate_log as g
from bandroom.wire.ids import BadId, Role, RoomId, Subject
from bandroom.wire.messages import Assignment, Reply
from bandroom.wire.topics import assignment

People = c.Mute | c.Unmute | c.Kick | c.ResetName | c.AssignDevice
MAX_MUTED = 400
"""Single mutes a room: its retained message lists them. Beyond that, mute all."""


def find(control: Control, room: RoomRow, who: str) -> Subject:
    """The member or assigned device that a subject or a nickname names. Raises ``Refused``: none, or several."""
    rows = control.tenant(room.tenant)
    names = {member.sub: member.name for member in rows.members(room.room) if member.kicked_at is None}
    names |= {device.sub: device.name for device in rows.devices_in(room.room)}
    try:
        if (sub := Subject.parse(who)) in names:
            return sub
    except BadId:
        pass  # not a subject: a nickname then
    found = [sub for sub, name in names.items() if name.casefold() == who.strip().casefold()]
    if not found:
        raise Refused("not_found", f"nobody in {room.room} is called {who[:40]!r}")
    if len(found) > 1:
        raise Refused("conflict", f"several in {room.room} are called {who[:40]!r}: give one of {', '.join(found)}")
    return found[0]


def direct(control: Control, change: Change, room: RoomRow, command: People) -> tuple[RoomRow, Reply]:
    """Do one of these commands inside a change. Raises ``Refused``."""
    match command:
        case c.Mute():
            room = _mute(control, change, room, command.who)
        case c.Unmute():
            room = _unmute(control, change, room, command.who)
        case c.Kick():
            return _kick(control, change, room, command)
        case c.ResetName():
            _reset_name(control, change, room, command.who)
        case c.AssignDevice():
            _assign(control, change, room, command)
    return room, done(command.id, room.info_rev)


def _mute(control: Control, change: Change, room: RoomRow, who: str | None) -> RoomRow:
    rows = control.tenant(room.tenant)
    if who is None:
        if room.all_muted:
            return room
        change.gate.append(g.MuteAll(room.tenant, room.room))
        return control.put_info(change, replace(room, all_muted=True))
    sub = find(control, room, who)
    if len(rows.mutes(room.room)) >= MAX_MUTED:
        raise Refused("limit", f"{MAX_MUTED} are muted one by one already: mute all instead")
    if not rows.mute(room.room, sub):
        return room
    change.gate.append(g.Mute(room.tenant, room.room, sub))
    return control.put_info(change, room)


def _unmute(control: Control, change: Change, room: RoomRow, who: str | None) -> RoomRow:
    rows = control.tenant(room.tenant)
    if who is None:
        muted = rows.mutes(room.room)
        if not muted and not room.all_muted:
            return room
        rows.unmute(room.room, None)
        change.gate += [g.Unmute(room.tenant, room.room, sub) for sub in muted]
        change.gate += [g.UnmuteAll(room.tenant, room.room)] if room.all_muted else []
        return control.put_info(change, replace(room, all_muted=False))
    sub = find(control, room, who)
    if not rows.unmute(room.room, sub):
        return room
    change.gate.append(g.Unmute(room.tenant, room.room, sub))
    return control.put_info(change, room)


def replace_code(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """Give a room another code and key; the old code rests. The room's id stays."""
    rows = control.tenant(room.tenant)
    rows.rest_code(room.join_code, control.now_s() + REST_S)
    try:
        code = codes.new_code(rows.code_is_free)
    except codes.CodesExhausted as error:
        raise Refused("limit", str(error)) from error
    return control.put_info(change, replace(room, join_code=code, join_key=codes.new_key()))


def _kick(control: Control, change: Change, room: RoomRow, command: c.Kick) -> tuple[RoomRow, Reply]:
    rows = control.tenant(room.tenant)
    sub = find(control, room, command.who)
    if sub.role is Role.DEVICE:
        rows.assign(sub, None)
        change.gate += [g.Assign(room.tenant, sub, None), g.Kick(room.tenant, sub)]
        change.effects.append(Publish(assignment(room.tenant, sub), Assignment(None)))
        change.moved.append((room.tenant, sub))
    else:
        member = rows.member(sub)
        assert member is not None  # noqa: S101  (found a moment ago)
        now_s = control.wall_s()
        revoked = rows.revoke("sub", sub, now_s, now_s + MAX_TTL_S)
        rows.put_member(replace(member, kicked_at=control.now_s()))
        change.gate.append(g.Revoke(room.tenant, sub, revoked.iat_max, revoked.until))
        change.gone.append((room.tenant, sub))
    if command.keep_code:
        return room, done(command.id, room.info_rev)
    room = replace_code(control, change, room)
    return room, done(command.id, room.info_rev, code=room.join_code)


def _reset_name(control: Control, change: Change, room: RoomRow, who: str) -> None:
    rows = control.tenant(room.tenant)
    sub = find(control, room, who)
    member = rows.member(sub)
    if member is None:
        raise Refused("bad_request", f"{sub} is a device: devices are named when they are enrolled")
    rows.put_member(replace(member, name=nicknames.generated(lambda name: rows.name_is_free(room.room, name))))
    change.moved.append((room.tenant, sub))


def _assign(control: Control, change: Change, room: RoomRow, command: c.AssignDevice) -> None:
    rows = control.tenant(room.tenant)
    device = rows.device(command.device)
    if device is None or device.revoked_at is not None:
        raise Refused("not_found", f"tenant {room.tenant} has no device {command.device}: enroll it first")
    if command.away and device.room != room.room:
        return  # it is not here: nothing to take away
    move_device(control, change, device, None if command.away else room.room)


def move_device(control: Control, change: Change, device: DeviceRow, target: RoomId | None) -> None:
    """Put a device into a room or out of any, inside a change."""
    if device.room == target:
        return
    control.store.for_tenant(device.tenant).assign(device.sub, target)
    change.gate.append(g.Assign(device.tenant, device.sub, target))
    change.effects.append(Publish(assignment(device.tenant, device.sub), Assignment(target)))
    change.moved.append((device.tenant, device.sub))
