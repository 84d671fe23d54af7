"""What the passing of time asks for: rested rooms are deleted, idle ones closed, the gone leave the roster."""

from __future__ import annotations

import structlog

from bandroom.auth.tokens import MAX_TTL_S
from bandroom.rooms.control import Change, Control
from bandroom.rooms.gate_log import GateLogFailed
from bandroom.rooms.life import FORGET_PUPILS, REST_S, Event, move
from bandroom.wire import gate_log as g
from bandroom.wire.ids import RoomId, TenantId

InRoom = tuple[TenantId, RoomId]

log = structlog.stdlib.get_logger(__name__)

KEEP_REPLIES_S = 24 * 3600
"""How long a repeated command is recognised (s)."""
WARN_BEFORE_S = 300
"""How long before an idle room is closed its members and the log are told (s); half its time at most."""
NOTE_EVERY_S = 45
"""How often it is put on record that somebody is in a room (s)."""
NOTE_AHEAD_S = 60
"""And for how long from then on (s): until after the next time, however busy the service is."""
LEAST_WARNING_S = 60
"""And at least so long, even where nothing could be told in time: the service was not running (s)."""


def forget_rested(control: Control, change: Change) -> None:
    """Delete what has had its day, and free the devices of deleted rooms. Inside a change."""
    now_s = control.now_s()
    for room in control.store.closed_rooms():
        if room.rests_until is not None and room.rests_until <= now_s:
            move(control, change, room, Event.RESTED)
            log.info("room deleted: its rest is over", tenant=room.tenant, room=room.room)
    control.store.purge(now_s, wall_s=control.wall_s(), commands_before_s=now_s - KEEP_REPLIES_S)


def forget_pupils(control: Control) -> None:
    """Delete what is known of the pupils of closed rooms once the tenant's time for it is over.

    Their tokens are refused from then on: were the room reopened, they would join anew.
    """
    now_s, wall_s = control.now_s(), control.wall_s()
    for room in control.store.closed_rooms():
        rows = control.store.for_tenant(room.tenant)
        after_s = int(rows.setting(FORGET_PUPILS) or REST_S)
        if room.closed_at is None or room.closed_at + after_s > now_s:
            continue
        members = rows.members(room.room)
        if not members:
            continue
        with control.change() as change:
            for member in members:
                revoked = rows.revoke("sub", member.sub, wall_s, wall_s + MAX_TTL_S)
                change.gate.append(g.Revoke(room.tenant, member.sub, revoked.iat_max, revoked.until))
                change.gone.append((room.tenant, member.sub))
            rows.forget_members(room.room)
        log.info("pupils forgotten", tenant=room.tenant, room=room.room, count=len(members))


def note_use(control: Control) -> None:
    """Note which rooms are in use, and until when those were that somebody has left.

    Where somebody is, it is noted ahead until after the next note: were everything cut off now, they would have been
    there until then at the latest, and the room is closed rather too late than too early.
    """
    now_s, used_s = control.now_s(), control.used_s()
    occupied, left = control.roster.occupied(), frozenset(control.roster.left)
    noted = {key: at_s for key, at_s in control.noted.items() if key in occupied}
    due = [key for key in occupied if key not in noted or now_s - noted[key] >= NOTE_EVERY_S]
    if due or left - occupied:
        with control.change():
            for tenant, room in due:
                control.store.for_tenant(tenant).touch_room(room, used_s + NOTE_AHEAD_S)
            for tenant, room in left - occupied:
                control.store.for_tenant(tenant).touch_room(room, used_s)
    # Only now: what a bad disk has not taken is noted next time.
    control.noted = noted | dict.fromkeys(due, now_s)
    control.roster.left -= left


def close_idle(control: Control) -> None:
    """Close rooms where nobody was for too long, never without having told the room some time before.

    Whoever comes, and whatever is done there, puts it off.
    """
    now_s, idle_s = control.now_s(), control.limits.idle_close_s
    warn_s = min(WARN_BEFORE_S, idle_s // 2)
    due = {(room.tenant, room.room): room for room in control.store.unused_rooms(now_s - idle_s + warn_s)}
    occupied = control.roster.occupied() if due or control.closing else set[InRoom]()
    for key in [key for key in control.closing if key not in due or key in occupied]:
        _put_off(control, *key)
    for key, room in due.items():
        if key in occupied:
            continue
        closing_s = control.closing.get(key)
        if closing_s is None:
            # A service that was away for long has warned nobody yet.
            control.closing[key] = max(room.used_at + idle_s, now_s + min(LEAST_WARNING_S, warn_s))
            with control.change() as change:
                control.put_info(change, room, used=False)
            log.warning("room closes soon: nobody is there", tenant=room.tenant, room=room.room)
        elif closing_s <= now_s:
            with control.change() as change:
                move(control, change, room, Event.IDLE)
            log.info("room closed: nobody was there", tenant=room.tenant, room=room.room)


def _put_off(control: Control, tenant: TenantId, name: RoomId) -> None:
    del control.closing[tenant, name]
    room = control.store.for_tenant(tenant).room(name)
    if room is not None and room.is_open:
        with control.change() as change:
            control.put_info(change, room)


def mend_gate(control: Control) -> None:
    """Write the gate log anew where it is broken or has become long."""
    if control.gate.broken or control.gate.is_long:
        try:
            control.compact_gate()
        except GateLogFailed as error:
            log.error("the gate log cannot be written", error=str(error))


def each_second(control: Control) -> None:
    """The roster's time-outs, and the gate log."""
    control.emit(control.roster.tick(control.now_us()))
    mend_gate(control)


def every_few_seconds(control: Control) -> None:
    """Noting which rooms are in use, and closing those that are not."""
    note_use(control)
    close_idle(control)


def each_minute(control: Control) -> None:
    """Deleting what has had its day."""
    forget_pupils(control)
    with control.change() as change:
        forget_rested(control, change)
