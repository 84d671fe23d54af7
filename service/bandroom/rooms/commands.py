"""The one handler of a teacher's commands, whether they come over MQTT, HTTP or the command line.

Each is recorded together with its reply in one transaction before the reply is given, so that the same command sent
again (same id, same actor, same room) is answered again and not done twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from bandroom.rooms import people, playing
from bandroom.rooms.control import Actor, Change, Control, Refused, done, may_direct, name_of, not_done
from bandroom.rooms.effects import Publish, TellGate
from bandroom.rooms.life import Event, move, refusal
from bandroom.store import RoomRow, StoreError
from bandroom.wire import commands as c
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Command, Reply
from bandroom.wire.topics import Topic


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
            if room.is_open:  # whatever was done, the room was used
                rows.touch_room(room.room, max(room.used_at, control.used_s()))
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
                room = move(self._control, change, room, Event(root.cmd))
            case c.Rename():
                # The name that it has says at least that the room is in use, which puts its closing off.
                if root.name != room.name or (room.tenant, room.room) in self._control.closing:
                    room = self._control.put_info(change, replace(room, name=root.name))
            case c.NewCode():
                room = people.replace_code(self._control, change, room)
                return room, done(root.id, room.info_rev, code=room.join_code)
        return room, done(root.id, room.info_rev)
