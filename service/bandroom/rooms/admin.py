"""What an owner or teacher sets up: tenants, rooms, devices, tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from bandroom.auth import devices as device_passwords
from bandroom.auth.tokens import MAX_TTL_S, Minted, mint
from bandroom.rooms import codes, nicknames, people, upkeep
from bandroom.rooms.control import Control, Refused
from bandroom.rooms.effects import Publish
from bandroom.rooms.life import FORGET_PUPILS, REST_S, Event, move
from bandroom.rooms.playing import new_map, parse_meter
from bandroom.store import DeviceRow, MemberRow, RoomRow, RoomState, TenantRow, TenantStore
from bandroom.wire import gate_log as g
from bandroom.wire.ids import ClientId, JoinCode, Role, RoomId, Subject, TenantId, UserName
from bandroom.wire.instruments import Instrument
from bandroom.wire.messages import Assignment
from bandroom.wire.topics import assignment

_LETTERS = "bcdfghjkmnpqrstvwxz23456789"  # no vowels, so no words; nothing that is mistaken when read aloud
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What a new room is asked to be; None takes the service's default."""

    code: JoinCode | None = None
    name: str | None = None
    bpm: float | None = None
    meter: str | None = None
    start: bool = False


@dataclass(frozen=True, slots=True)
class DeviceCredential:
    """What a device needs to connect. The password is shown once and derived, never stored."""

    device: DeviceRow
    username: UserName
    client_id: ClientId
    password: str


def create_tenant(control: Control, tenant: TenantId, name: str | None, max_rooms: int | None = None) -> TenantRow:
    """A new tenant. Raises ``Refused`` if it exists."""
    shown = tidy(name, tenant)
    with control.change():
        if control.store.tenant(tenant) is not None:
            raise Refused("conflict", f"there is a tenant {tenant} already")
        if control.store.was_deleted(tenant):
            raise Refused("conflict", f"there was a tenant {tenant}, and its id is not given again: choose another")
        return control.store.create_tenant(tenant, shown, control.now_s(), max_rooms)


def set_tenant(control: Control, tenant: TenantId, max_rooms: int | None, forget_pupils_s: int | None) -> TenantRow:
    """Change a tenant's limit of open rooms, or how soon pupils of closed rooms are forgotten (s). None: as it is."""
    rows = control.tenant(tenant)
    if forget_pupils_s is not None and not 0 <= forget_pupils_s <= REST_S:
        raise Refused("bad_request", f"pupils are forgotten 0 to {REST_S} seconds after closing, not {forget_pupils_s}")
    with control.change():
        if max_rooms is not None:
            control.store.set_max_rooms(tenant, max_rooms)
        if forget_pupils_s is not None:
            rows.set_setting(FORGET_PUPILS, str(forget_pupils_s))
        row = control.store.tenant(tenant)
    assert row is not None  # noqa: S101  (in the same transaction)
    return row


def create_room(control: Control, tenant: TenantId, asked: NewRoom) -> RoomRow:
    """A new open room, known to the gate when this returns. Raises ``Refused``."""
    rows = control.tenant(tenant)
    meter = parse_meter(control.limits.default_meter if asked.meter is None else asked.meter)
    bpm = control.limits.default_bpm if asked.bpm is None else asked.bpm
    with control.change() as change:
        now_s = control.now_s()
        # Codes whose rest is over are free again this very moment, whenever the cleaning comes round.
        upkeep.forget_rested(control, change)
        if asked.code is not None and not rows.code_is_free(asked.code):
            raise Refused("conflict", f"{asked.code} is in use by another room of {tenant}, or rests: choose another")
        try:
            code = asked.code or codes.new_code(rows.code_is_free)
        except codes.CodesExhausted as error:
            raise Refused("limit", str(error)) from error
        rev = control.next_rev(0)
        tempo = new_map(rev, control.now_us(), bpm, meter, start=asked.start)
        room = RoomRow(
            tenant=tenant,
            room=RoomId(code),
            join_code=code,
            join_key=codes.new_key(),
            state=RoomState.OPEN,
            name=tidy(asked.name, code),
            all_muted=False,
            info_rev=rev,
            tempo=tempo.encode().decode(),
            tempo_rev=tempo.rev,
            created_at=now_s,
            used_at=control.used_s(),
            closed_at=None,
            rests_until=None,
        )
        return move(control, change, room, Event.CREATE)


def enroll_device(
    control: Control,
    tenant: TenantId,
    sub: Subject,
    name: str | None,
    room: RoomId | None = None,
    instrument: Instrument | None = None,
) -> DeviceCredential:
    """A device's credential, and its room if one is given; enrolling again ends the credential before.

    ``instrument`` is what the roster says that it plays, unless the device itself says otherwise.

    Raises ``Refused``, and then nothing has changed: a mistyped room must not cost a device its credential.
    """
    rows = control.tenant(tenant)
    if sub.role is not Role.DEVICE:
        raise Refused("bad_request", f"{sub} is no device: a device's name begins with d-, as d-drum-3")
    shown = tidy(name, sub)
    target = None if room is None else _open_room(control, tenant, room)
    with control.change() as change:
        device = rows.enroll(sub, shown, instrument, control.now_s())
        change.gate.append(g.Floor(tenant, sub, device.floor))
        change.effects.append(Publish(assignment(tenant, sub), Assignment(device.room)))
        change.moved.append((tenant, sub))
        if target is not None:
            people.move_device(control, change, device, target.room)
            device = rows.device(sub) or device
    username = UserName.of(tenant, sub, device.generation)
    password = device_passwords.password(control.keys, username)
    return DeviceCredential(device, username, ClientId.of(tenant, sub), password)


def set_instrument(control: Control, tenant: TenantId, sub: Subject, instrument: Instrument | None) -> DeviceRow:
    """Say what a device plays (None: nothing), for the roster. Raises ``Refused`` if there is no such device."""
    rows = control.tenant(tenant)
    device = rows.device(sub)
    if device is None or device.revoked_at is not None:
        raise Refused("not_found", f"tenant {tenant} has no device {sub}: enroll it first")
    with control.change() as change:
        rows.set_instrument(sub, instrument)
        change.moved.append((tenant, sub))
    return rows.device(sub) or device


def revoke_device(control: Control, tenant: TenantId, sub: Subject) -> DeviceRow:
    """Refuse a device from now on and end its connections. Raises ``Refused`` if there is none."""
    rows = control.tenant(tenant)
    device = rows.device(sub)
    if device is None:
        raise Refused("not_found", f"tenant {tenant} has no device {sub}")
    if device.revoked_at is not None:
        return device
    with control.change() as change:
        rows.revoke_device(sub, control.now_s())
        rows.assign(sub, None)
        change.gate += [g.Floor(tenant, sub, device.generation + 1), g.Assign(tenant, sub, None)]
        change.effects.append(Publish(assignment(tenant, sub), Assignment(None)))
        change.gone.append((tenant, sub))
    revoked = rows.device(sub)
    assert revoked is not None  # noqa: S101  (rows of devices are never deleted)
    return revoked


def assign_device(control: Control, tenant: TenantId, sub: Subject, room: RoomId | None) -> DeviceRow:
    """Bring a device into an open room, or with None out of any. Raises ``Refused``."""
    rows = control.tenant(tenant)
    device = rows.device(sub)
    if device is None or device.revoked_at is not None:
        raise Refused("not_found", f"tenant {tenant} has no device {sub}: enroll it first")
    target = None if room is None else _open_room(control, tenant, room)
    with control.change() as change:
        people.move_device(control, change, device, None if target is None else target.room)
    return rows.device(sub) or device


def _open_room(control: Control, tenant: TenantId, room: RoomId) -> RoomRow:
    """The room, which must be open. Raises ``Refused``."""
    found = control.room(tenant, room)
    if not found.is_open:
        raise Refused("closed", f"{found.room} is closed: reopen it first")
    return found


def mint_token(control: Control, tenant: TenantId, sub: Subject, room: RoomId | None, ttl_s: int) -> Minted:
    """A token for a person. Pupils and viewers become members of their room. Raises ``Refused``."""
    rows = control.tenant(tenant)
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise Refused("bad_request", f"a token lives 1 to {MAX_TTL_S} seconds, not {ttl_s}")
    if room is not None:
        room = control.room(tenant, room).room
    try:
        minted = mint(control.keys, tenant, sub, room, now_s=control.wall_s(), ttl_s=ttl_s)
    except ValueError as error:
        raise Refused("bad_request", str(error)) from error
    with control.change() as change:
        if sub.role is Role.TEACHER and rows.teacher(sub) is None:
            rows.note_token(sub, control.wall_s() + ttl_s)
        if room is not None:
            member = rows.member(sub)
            if member is None or member.room != room or member.kicked_at is not None:
                add_member(control, rows, room, sub, None, None)
                change.moved.append((tenant, sub))
    return minted


def add_member(
    control: Control, rows: TenantStore, room: RoomId, sub: Subject, typed_name: str | None, cookie: str | None
) -> MemberRow:
    """Record a member, under the typed name or a generated one, made the only one of its kind in the room."""

    def is_free(name: str) -> bool:
        return rows.name_is_free(room, name)

    name = nicknames.generated(is_free) if typed_name is None else nicknames.free(typed_name, is_free)
    member = MemberRow(rows.tenant, room, sub, name, cookie, control.now_s(), None)
    rows.put_member(member)
    return member


def new_subject(rows: TenantStore) -> Subject:
    """A pupil's subject that nobody has, or had while a token of theirs may live."""
    while True:
        sub = Subject("s-" + "".join(secrets.choice(_LETTERS) for _ in range(5)))
        if rows.member(sub) is None and rows.revocation("sub", sub) is None:
            return sub


def tidy(name: str | None, otherwise: str) -> str:
    """A name for a tenant, room or device as typed, or ``otherwise``. Raises ``Refused``."""
    try:
        return otherwise if name is None else nicknames.typed(name, _LONGEST_NAME)
    except nicknames.BadName as error:
        raise Refused("bad_request", str(error)) from error
