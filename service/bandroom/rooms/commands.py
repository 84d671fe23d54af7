"""The one handler of a teacher's commands, whether they come over MQTT, HTTP or the command line.

Each is recorded together with its reply in one transaction before the reply is given, so that the same command sent
again (same id, same actor, same room) is answered again and not done twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from bandroom.music import edits
from bandroom.music.edits import EditError
from bandroom.rooms import people, playing
from bandroom.rooms.control import Actor, Change, Control, Refused, done, may_direct, name_of, not_done
from bandroom.rooms.effects import Clear, Publish, TellGate
from bandroom.rooms.life import CHANGES, REST_S, refusal
from bandroom.store import RoomRow, RoomState, StoreError
from bandroom.wire import commands as c
from bandroom.wire import gate_log as g
from bandroom.wire import tempo as wire_tempo
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Command, Reply, Tempo
from bandroom.wire.topics import Room, Topic


class Commands:
    """Handles commands over a ``Control``."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._taps = playing.TapBoard()

    def handle(
        self, actor: Actor, tenant: TenantId, room: RoomId, command: Command, last_word: Topic[Reply] | None = None
    ) -> Reply:
        """Do a command and say what became of it; ``room`` may be a room's id or its present join code.

        A closed room grants nothing, so a teacher who closes one over MQTT would not hear the reply any more: it goes
        to ``last_word``, if given, before the gate is told.

        Never raises for what a client can send: an error is a reply with ``err`` and ``text``. What could not be
        done is not recorded, so the same command may be sent again.
        """
        root = command.root
        try:
            return self._handle(actor, tenant, room, command, last_word)
        except Refused as error:
            return not_done(root.id, error.code, error.text)
        except StoreError as error:
            return not_done(root.id, "unavailable", str(error))

    def _handle(
        self, actor: Actor, tenant: TenantId, room_id: RoomId, command: Command, last_word: Topic[Reply] | None
    ) -> Reply:
        control, root = self._control, command.root
        if not may_direct(actor, tenant):
            raise Refused("forbidden", f"only teachers of {tenant} command its rooms")
        room = control.room(tenant, room_id)
        rows = control.tenant(tenant)
        digest = hashlib.sha256(command.encode()).hexdigest()
        answered = rows.answered(room.room, name_of(actor), root.id)
        if answered is not None:
            if answered[0] != digest:
                raise Refused("conflict", f"the id {root.id!r} was used for another command: give each a new one")
            return Reply.decode(answered[1].encode())
        if root.exp is not None and control.now_us() > root.exp:
            raise Refused("expired", "the command came after its time (exp), and was not done")
        refused = refusal(room.state, root.cmd)
        if refused is not None:
            raise Refused(*refused)
        with control.change() as change:
            room, reply = self._do(change, room, root, name_of(actor))
            if last_word is not None:
                gate = next((i for i, effect in enumerate(change.effects) if isinstance(effect, TellGate)), 0)
                change.effects.insert(gate, Publish(last_word, reply))
            rows.keep_answer(room.room, name_of(actor), root.id, digest, reply.encode().decode(), control.now_s())
        return reply

    def _do(self, change: Change, room: RoomRow, root: c.AnyCommand, actor: str) -> tuple[RoomRow, Reply]:
        match root:
            case c.Start() | c.Stop() | c.Continue() | c.SetTempo() | c.Tap() | c.SetMeter() | c.Cancel():
                return playing.play(self._control, change, room, root, self._taps, actor)
            case c.Mute() | c.Unmute() | c.Kick() | c.ResetName() | c.AssignDevice():
                return people.direct(self._control, change, room, root)
            case c.Lock() | c.Unlock() | c.Close() | c.Reopen():
                room = self._change_state(change, room, CHANGES[room.state, root.cmd])
            case c.Rename():
                # The name that it has says at least that the room is in use, which puts its closing off.
                if root.name != room.name or (room.tenant, room.room) in self._control.closing:
                    room = self._control.put_info(change, replace(room, name=root.name))
            case c.NewCode():
                room = people.replace_code(self._control, change, room)
                return room, done(root.id, room.info_rev, code=room.join_code)
        return room, done(root.id, room.info_rev)

    def _change_state(self, change: Change, room: RoomRow, state: RoomState) -> RoomRow:
        if state is room.state:
            return room
        if state is RoomState.CLOSED:
            return close(self._control, change, room)
        if room.state is RoomState.CLOSED:
            return _reopen(self._control, change, room)
        return self._control.put_info(change, replace(room, state=state))


def close(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """Close an open room: its map stands still, its topics are cleared, its members' rights end."""
    now_us, now_s = control.now_us(), control.now_s()
    tempo_map = wire_tempo.from_message(Tempo.decode(room.tempo.encode()))
    rev = control.next_rev(room.tempo_rev)
    try:
        still = edits.stop(tempo_map, rev, now_us, "now").map
    except EditError:
        still = tempo_map  # it could not be stopped where it was; reopening begins with what it is
    stopped = wire_tempo.to_message(replace(still, rev=rev))
    room = replace(
        room,
        state=RoomState.CLOSED,
        closed_at=now_s,
        rests_until=now_s + REST_S,
        tempo=stopped.encode().decode(),
        tempo_rev=rev,
    )
    rows = control.store.for_tenant(room.tenant)
    topics = Room(room.tenant, room.room)
    # Members are told while they may still hear; then the gate takes their rights, then nothing is retained.
    room = control.put_info(change, room)
    change.effects.insert(0, Publish(topics.tempo(), stopped))
    change.effects.append(TellGate((g.Close(room.tenant, room.room),)))
    change.effects += [Clear(topics.tempo()), Clear(topics.info())]
    members = [member.sub for member in rows.members(room.room)]
    devices = [device.sub for device in rows.devices_in(room.room)]
    change.moved += [(room.tenant, sub) for sub in (*members, *devices)]
    return room


def _reopen(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """Open a resting room again, standing still, with the members, mutes and code that it had."""
    check_room_limit(control, room.tenant)
    rows = control.tenant(room.tenant)
    tempo = Tempo.decode(room.tempo.encode())
    tempo = tempo.model_copy(update={"rev": control.next_rev(room.tempo_rev)})
    room = replace(
        room,
        state=RoomState.OPEN,
        closed_at=None,
        rests_until=None,
        tempo=tempo.encode().decode(),
        tempo_rev=tempo.rev,
    )
    change.gate.append(g.Open(room.tenant, room.room))
    change.gate += [g.MuteAll(room.tenant, room.room)] if room.all_muted else []
    change.gate += [g.Mute(room.tenant, room.room, sub) for sub in rows.mutes(room.room)]
    change.effects.append(Publish(Room(room.tenant, room.room).tempo(), tempo))
    room = control.put_info(change, room)
    members = [member.sub for member in rows.members(room.room)]
    devices = [device.sub for device in rows.devices_in(room.room)]
    change.moved += [(room.tenant, sub) for sub in (*members, *devices)]
    return room


def check_room_limit(control: Control, tenant: TenantId) -> None:
    """Raise ``Refused`` if the tenant may open no further room."""
    row = control.store.tenant(tenant)
    limit = control.limits.max_rooms if row is None or row.max_rooms is None else row.max_rooms
    if control.store.for_tenant(tenant).open_rooms() >= limit:
        raise Refused("limit", f"{tenant} has {limit} open rooms, as many as it may: close one first")
