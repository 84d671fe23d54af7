"""What a tenant may do, and the end of one: limits, retention, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from bandroom.auth.tokens import MAX_TTL_S
from bandroom.rooms.control import Control
from bandroom.rooms.effects import Clear, TellGate
from bandroom.rooms.gate_log import GateLogFailed
from bandroom.rooms.life import FORGET_PUPILS, REST_S, Event, move
from bandroom.store import TenantRow, TenantStore, Unavailable
from bandroom.wire import gate_log as g
from bandroom.wire.gate_log import LimitKey
from bandroom.wire.ids import Role, TenantId
from bandroom.wire.limits import DEFAULTS, Allowance
from bandroom.wire.topics import assignment

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a tenant may do. ``own`` are the limits that differ from the gate's; times in seconds."""

    tenant: TenantRow
    max_rooms: int
    forget_pupils_s: int
    limits: Mapping[LimitKey, Allowance]
    own: frozenset[LimitKey]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went with a tenant."""

    tenant: TenantId
    rooms: int
    members: int
    devices: int
    teachers: int


def allowed(control: Control, tenant: TenantId) -> Allowed:
    """What a tenant may do now, the service's defaults included. Raises ``Refused`` if there is none."""
    rows = control.tenant(tenant)
    row = control.store.tenant(tenant)
    assert row is not None  # noqa: S101  (found a moment ago)
    own = own_limits(rows)
    return Allowed(
        row,
        control.limits.max_rooms if row.max_rooms is None else row.max_rooms,
        int(rows.setting(FORGET_PUPILS) or REST_S),
        {**DEFAULTS, **own},
        frozenset(own),
    )


def own_limits(rows: TenantStore) -> dict[LimitKey, Allowance]:
    """The limits that a tenant was given."""
    found = {key: rows.setting(_name(key)) for key in LimitKey}
    return {key: Allowance.parse(text) for key, text in found.items() if text is not None}


def set_limits(control: Control, tenant: TenantId, limits: Mapping[LimitKey, Allowance], *, reset: bool) -> None:
    """Give a tenant these limits, in force at once; ``reset`` takes back all others, max_rooms and retention included.

    Raises ``Refused`` if there is no such tenant.
    """
    rows = control.tenant(tenant)
    with control.change() as change:
        if reset:
            control.store.set_max_rooms(tenant, None)
            for name in (FORGET_PUPILS, *map(_name, LimitKey)):
                rows.set_setting(name, None)
        for key, allowance in limits.items():
            rows.set_setting(_name(key), str(allowance))
            change.gate.append(g.Limit(tenant, key, allowance.rate, allowance.burst))
    if reset:
        # The log has no word for taking a limit back: a new one is silent about it.
        try:
            control.compact_gate()
        except GateLogFailed as error:
            raise Unavailable(f"recorded, but not yet in force at the broker: {error}") from error
    log.info("limits set", tenant=tenant, reset=reset, **{str(key): str(value) for key, value in limits.items()})


def close_all(control: Control, tenant: TenantId) -> None:
    """Close all rooms of a tenant that is to be deleted. Raises ``Refused`` if there is none.

    A change of its own, to have gone out before the next: while the rooms are on record a crash loses no goodbye, for
    what a closed room left in the broker is cleared at the next start. Of a deleted one nobody would know.
    """
    rows = control.tenant(tenant)
    with control.change() as change:
        for room in rows.rooms():
            move(control, change, room, Event.CLOSE)


def delete_tenant(control: Control, tenant: TenantId) -> Deleted:
    """Delete a tenant with all that it has, for good, after ``close_all``; its connections end.

    Raises ``Refused`` if there is none.
    """
    rows = control.tenant(tenant)
    wall_s = control.wall_s()
    rooms, devices, teachers = rows.rooms(), rows.devices(), rows.teachers()
    members = [member.sub for room in rooms for member in rows.members(room.room)]
    # Whoever may hold a token: on record, or merely heard of.
    people = {*members, *(teacher.sub for teacher in teachers), *rows.token_holders()}
    people |= {sub for sub in control.roster.of_tenant(tenant) if sub.role is not Role.DEVICE}
    last: list[g.Entry] = [g.Floor(tenant, device.sub, device.generation + 1) for device in devices]
    with control.change() as change:
        for room in rooms:
            move(control, change, move(control, change, room, Event.CLOSE), Event.TENANT_ENDS)
        for sub in sorted(people):
            revoked = rows.revoke("sub", sub, wall_s, wall_s + MAX_TTL_S)
            last.append(g.Revoke(tenant, sub, revoked.iat_max, revoked.until))
        # Written anew afterwards: nothing of the tenant stays in the log but what is void.
        change.effects.append(TellGate(tuple(last), anew=True))
        change.effects += [Clear(assignment(tenant, device.sub)) for device in devices]
        change.moved.clear()
        change.gone += [(tenant, sub) for sub in control.roster.of_tenant(tenant)]
        control.store.delete_tenant(tenant, control.now_s())
    log.info("tenant deleted", tenant=tenant, rooms=len(rooms), devices=len(devices))
    return Deleted(tenant, len(rooms), len(members), len(devices), len(teachers))


def _name(key: LimitKey) -> str:
    return f"limit.{key}"
