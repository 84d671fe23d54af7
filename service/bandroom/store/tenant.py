"""The rows of one tenant. Nothing here takes a tenant: it was given once, by ``Store.for_tenant``."""

from __future__ import annotations

import sqlite3

from bandroom.store.connection import Connection
from bandroom.store.errors import Conflict
from bandroom.store.rows import DeviceRow, MemberRow, Revocation, RoomRow, RoomState, TeacherRow
from bandroom.wire.ids import JoinCode, RoomId, Subject, TenantId
from bandroom.wire.instruments import Instrument, known_instrument


def room_of(row: sqlite3.Row) -> RoomRow:
    """A row of ``rooms``."""
    return RoomRow(
        tenant=TenantId(row["tenant"]),
        room=RoomId(row["room"]),
        join_code=JoinCode(row["join_code"]),
        join_key=row["join_key"],
        state=RoomState(row["state"]),
        name=row["name"],
        all_muted=bool(row["all_muted"]),
        info_rev=row["info_rev"],
        tempo=row["tempo"],
        tempo_rev=row["tempo_rev"],
        created_at=row["created_at"],
        used_at=row["used_at"],
        closed_at=row["closed_at"],
        rests_until=row["rests_until"],
    )


def revocation_of(row: sqlite3.Row) -> Revocation:
    """A row of ``revocations``."""
    return Revocation(TenantId(row["tenant"]), row["what"], row["value"], row["iat_max"], row["until"])


def _member_of(row: sqlite3.Row) -> MemberRow:
    return MemberRow(
        TenantId(row["tenant"]),
        RoomId(row["room"]),
        Subject(row["sub"]),
        row["name"],
        row["cookie"],
        row["joined_at"],
        row["kicked_at"],
    )


def _device_of(row: sqlite3.Row) -> DeviceRow:
    return DeviceRow(
        TenantId(row["tenant"]),
        Subject(row["sub"]),
        row["name"],
        row["generation"],
        row["enrolled_at"],
        row["revoked_at"],
        None if row["instrument"] is None else known_instrument(row["instrument"]),
        None if row["room"] is None else RoomId(row["room"]),
    )


def _teacher_of(row: sqlite3.Row) -> TeacherRow:
    return TeacherRow(
        TenantId(row["tenant"]),
        Subject(row["sub"]),
        row["name"],
        row["key_hash"],
        row["added_at"],
        row["revoked_at"],
    )


_TEACHERS = "SELECT * FROM teachers WHERE tenant = ?"
_DEVICES = "SELECT d.*, a.room FROM devices d LEFT JOIN assignments a USING (tenant, sub) WHERE d.tenant = ?"


class TenantStore:
    """What one tenant has. Changes need a ``Store.transaction`` around them."""

    def __init__(self, connection: Connection, tenant: TenantId) -> None:
        self._c = connection
        self.tenant = tenant

    # -- rooms

    def rooms(self) -> list[RoomRow]:
        """All rooms, open and resting, the newest last."""
        rows = self._c.rows("SELECT * FROM rooms WHERE tenant = ? ORDER BY created_at, room", (self.tenant,))
        return [room_of(row) for row in rows]

    def room(self, room: RoomId) -> RoomRow | None:
        """One room by its id, or None."""
        row = self._c.one("SELECT * FROM rooms WHERE tenant = ? AND room = ?", (self.tenant, room))
        return None if row is None else room_of(row)

    def room_by_code(self, code: JoinCode) -> RoomRow | None:
        """The room that a join code leads to now, whatever its state, or None."""
        row = self._c.one("SELECT * FROM rooms WHERE tenant = ? AND join_code = ?", (self.tenant, code))
        return None if row is None else room_of(row)

    def open_rooms(self) -> int:
        """How many rooms are open or locked."""
        row = self._c.one("SELECT count(*) FROM rooms WHERE tenant = ? AND state <> 'closed'", (self.tenant,))
        return 0 if row is None else int(row[0])

    def code_is_free(self, code: JoinCode) -> bool:
        """Whether no open or resting room has this code or id, and no replaced code of this form rests."""
        found = self._c.one(
            "SELECT 1 FROM rooms WHERE tenant = :t AND (room = :c OR join_code = :c)"
            " UNION ALL SELECT 1 FROM resting_codes WHERE tenant = :t AND code = :c",
            {"t": self.tenant, "c": code},
        )
        return found is None

    def rest_code(self, code: JoinCode, until_s: int) -> None:
        """Give ``code`` to no room before ``until_s``."""
        self._c.write("INSERT OR REPLACE INTO resting_codes VALUES (?, ?, ?)", (self.tenant, code, until_s))

    def put_room(self, room: RoomRow) -> None:
        """Insert or overwrite a room. Raises ``Conflict`` if another room has its code."""
        if room.tenant != self.tenant:
            raise Conflict(f"room {room.room} is not of tenant {self.tenant}")
        self._c.write(
            "INSERT INTO rooms VALUES (:tenant, :room, :join_code, :join_key, :state, :name, :all_muted, :info_rev,"
            " :tempo, :tempo_rev, :created_at, :used_at, :closed_at, :rests_until)"
            " ON CONFLICT (tenant, room) DO UPDATE SET join_code = :join_code, join_key = :join_key, state = :state,"
            " name = :name, all_muted = :all_muted, info_rev = :info_rev, tempo = :tempo, tempo_rev = :tempo_rev,"
            " used_at = :used_at, closed_at = :closed_at, rests_until = :rests_until",
            {
                "tenant": room.tenant,
                "room": room.room,
                "join_code": room.join_code,
                "join_key": room.join_key,
                "state": str(room.state),
                "name": room.name,
                "all_muted": int(room.all_muted),
                "info_rev": room.info_rev,
                "tempo": room.tempo,
                "tempo_rev": room.tempo_rev,
                "created_at": room.created_at,
                "used_at": room.used_at,
                "closed_at": room.closed_at,
                "rests_until": room.rests_until,
            },
        )

    def delete_room(self, room: RoomId) -> None:
        """Delete a room with its members, mutes, assignments and replies."""
        self._c.write("DELETE FROM rooms WHERE tenant = ? AND room = ?", (self.tenant, room))

    def touch_room(self, room: RoomId, used_s: int) -> None:
        """Note that a room is, or was, in use until ``used_s``. Inside a ``transaction``."""
        self._c.write("UPDATE rooms SET used_at = ? WHERE tenant = ? AND room = ?", (used_s, self.tenant, room))

    # -- members

    def members(self, room: RoomId) -> list[MemberRow]:
        """Who joined a room, those who were kicked included, in order of joining."""
        rows = self._c.rows(
            "SELECT * FROM members WHERE tenant = ? AND room = ? ORDER BY joined_at, sub", (self.tenant, room)
        )
        return [_member_of(row) for row in rows]

    def member(self, sub: Subject) -> MemberRow | None:
        """One member by subject, or None."""
        row = self._c.one("SELECT * FROM members WHERE tenant = ? AND sub = ?", (self.tenant, sub))
        return None if row is None else _member_of(row)

    def members_by_cookie(self, room: RoomId, cookie: str) -> list[MemberRow]:
        """The members of a room that a browser was, the newest first."""
        rows = self._c.rows(
            "SELECT * FROM members WHERE tenant = ? AND room = ? AND cookie = ? ORDER BY joined_at DESC, sub",
            (self.tenant, room, cookie),
        )
        return [_member_of(row) for row in rows]

    def name_is_free(self, room: RoomId, name: str) -> bool:
        """Whether nobody who is not kicked has this name in the room."""
        sql = "SELECT 1 FROM members WHERE tenant = ? AND room = ? AND name = ? AND kicked_at IS NULL"
        return self._c.one(sql, (self.tenant, room, name)) is None

    def forget_members(self, room: RoomId) -> int:
        """Delete all that is known of a room's pupils, their mutes included; returns how many there were."""
        self._c.write("DELETE FROM mutes WHERE tenant = ? AND room = ?", (self.tenant, room))
        return self._c.write("DELETE FROM members WHERE tenant = ? AND room = ?", (self.tenant, room))

    def put_member(self, member: MemberRow) -> None:
        """Insert or overwrite a member. Raises ``Conflict`` for a name that is taken."""
        if member.tenant != self.tenant:
            raise Conflict(f"member {member.sub} is not of tenant {self.tenant}")
        values = (member.room, member.name, member.cookie, member.joined_at, member.kicked_at)
        self._c.write(
            "INSERT INTO members (tenant, sub, room, name, cookie, joined_at, kicked_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (tenant, sub) DO UPDATE SET room = ?, name = ?, cookie = ?, joined_at = ?, kicked_at = ?",
            (self.tenant, member.sub, *values, *values),
        )

    # -- mutes

    def mutes(self, room: RoomId) -> list[Subject]:
        """Who is muted in a room one by one (beside ``all_muted``)."""
        sql = "SELECT sub FROM mutes WHERE tenant = ? AND room = ? ORDER BY sub"
        return [Subject(row[0]) for row in self._c.rows(sql, (self.tenant, room))]

    def mute(self, room: RoomId, sub: Subject) -> bool:
        """Mute a subject; False if it was."""
        return self._c.write("INSERT OR IGNORE INTO mutes VALUES (?, ?, ?)", (self.tenant, room, sub)) > 0

    def unmute(self, room: RoomId, sub: Subject | None) -> int:
        """Unmute a subject, or all with None; returns how many were muted."""
        sql = "DELETE FROM mutes WHERE tenant = ? AND room = ?"
        if sub is None:
            return self._c.write(sql, (self.tenant, room))
        return self._c.write(f"{sql} AND sub = ?", (self.tenant, room, sub))

    # -- devices

    def devices(self) -> list[DeviceRow]:
        """All devices, the revoked ones included."""
        return [_device_of(row) for row in self._c.rows(f"{_DEVICES} ORDER BY d.sub", (self.tenant,))]

    def device(self, sub: Subject) -> DeviceRow | None:
        """One device, or None."""
        row = self._c.one(f"{_DEVICES} AND d.sub = ?", (self.tenant, sub))
        return None if row is None else _device_of(row)

    def devices_in(self, room: RoomId) -> list[DeviceRow]:
        """The devices that are assigned to a room."""
        rows = self._c.rows(f"{_DEVICES} AND a.room = ? ORDER BY d.sub", (self.tenant, room))
        return [_device_of(row) for row in rows]

    def enroll(self, sub: Subject, name: str, instrument: Instrument | None, now_s: int) -> DeviceRow:
        """A new device, or an old one with its generation raised: what it had before stops working.

        With ``instrument`` None an old one keeps what it had.
        """
        self._c.write(
            "INSERT INTO devices (tenant, sub, name, generation, enrolled_at, instrument) VALUES (?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (tenant, sub) DO UPDATE SET name = excluded.name, generation = generation + 1,"
            " enrolled_at = excluded.enrolled_at, revoked_at = NULL,"
            " instrument = coalesce(excluded.instrument, instrument)",
            (self.tenant, sub, name, now_s, instrument),
        )
        device = self.device(sub)
        assert device is not None  # noqa: S101  it was written a moment ago, in the same transaction
        return device

    def set_instrument(self, sub: Subject, instrument: Instrument | None) -> None:
        """What a device is; None: nobody has said."""
        self._c.write("UPDATE devices SET instrument = ? WHERE tenant = ? AND sub = ?", (instrument, self.tenant, sub))

    def revoke_device(self, sub: Subject, now_s: int) -> bool:
        """Refuse the device's credentials from now on; False if there is none to refuse."""
        sql = "UPDATE devices SET revoked_at = ? WHERE tenant = ? AND sub = ? AND revoked_at IS NULL"
        return self._c.write(sql, (now_s, self.tenant, sub)) > 0

    def assign(self, sub: Subject, room: RoomId | None) -> None:
        """Put a device into a room, or with None out of any. Raises ``Conflict`` if either does not exist."""
        if room is None:
            self._c.write("DELETE FROM assignments WHERE tenant = ? AND sub = ?", (self.tenant, sub))
        else:
            self._c.write("INSERT OR REPLACE INTO assignments VALUES (?, ?, ?)", (self.tenant, sub, room))

    # -- teachers

    def teachers(self) -> list[TeacherRow]:
        """All teachers who were given a link, the revoked ones included."""
        return [_teacher_of(row) for row in self._c.rows(f"{_TEACHERS} ORDER BY sub", (self.tenant,))]

    def teacher(self, sub: Subject) -> TeacherRow | None:
        """One teacher, or None."""
        row = self._c.one(f"{_TEACHERS} AND sub = ?", (self.tenant, sub))
        return None if row is None else _teacher_of(row)

    def teacher_by_key(self, key_hash: str) -> TeacherRow | None:
        """The teacher whose link has the key of this hash, or None."""
        row = self._c.one(f"{_TEACHERS} AND key_hash = ?", (self.tenant, key_hash))
        return None if row is None else _teacher_of(row)

    def put_teacher(self, teacher: TeacherRow) -> None:
        """Insert or overwrite a teacher."""
        self._c.write(
            "INSERT OR REPLACE INTO teachers (tenant, sub, name, key_hash, added_at, revoked_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self.tenant, teacher.sub, teacher.name, teacher.key_hash, teacher.added_at, teacher.revoked_at),
        )

    # -- tokens by the owner's hand, revocations, replies, settings

    def note_token(self, sub: Subject, until_s: int) -> None:
        """Remember that a subject may hold a token until ``until_s``; the latest such time counts."""
        self._c.write(
            "INSERT INTO token_holders VALUES (?, ?, ?)"
            " ON CONFLICT (tenant, sub) DO UPDATE SET until = max(until, excluded.until)",
            (self.tenant, sub, until_s),
        )

    def token_holders(self) -> list[Subject]:
        """Who was given a token by the owner's hand that may still be good."""
        rows = self._c.rows("SELECT sub FROM token_holders WHERE tenant = ? ORDER BY sub", (self.tenant,))
        return [Subject(row[0]) for row in rows]

    def revoke(self, what: str, value: str, iat_max: int, until_s: int) -> Revocation:
        """Refuse tokens until they expire: see ``Revocation``. A later one of the same value replaces it."""
        self._c.write(
            "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?, ?)", (self.tenant, what, value, iat_max, until_s)
        )
        return Revocation(self.tenant, what, value, iat_max, until_s)

    def revocation(self, what: str, value: str) -> Revocation | None:
        """What is refused of a subject or jti, or None."""
        sql = "SELECT * FROM revocations WHERE tenant = ? AND what = ? AND value = ?"
        row = self._c.one(sql, (self.tenant, what, value))
        return None if row is None else revocation_of(row)

    def answered(self, room: RoomId, actor: str, command_id: str) -> tuple[str, str] | None:
        """The digest of a command that was answered, and the reply's JSON, or None."""
        row = self._c.one(
            "SELECT digest, reply FROM commands WHERE tenant = ? AND room = ? AND actor = ? AND id = ?",
            (self.tenant, room, actor, command_id),
        )
        return None if row is None else (row[0], row[1])

    def keep_answer(self, room: RoomId, actor: str, command_id: str, digest: str, reply: str, now_s: int) -> None:
        """Remember the reply to a command, in the transaction that did it."""
        self._c.write(
            "INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.tenant, room, actor, command_id, digest, reply, now_s),
        )

    def setting(self, key: str) -> str | None:
        """A setting of the tenant, or None where the service's default holds."""
        row = self._c.one("SELECT value FROM settings WHERE tenant = ? AND key = ?", (self.tenant, key))
        return None if row is None else str(row[0])

    def set_setting(self, key: str, value: str | None) -> None:
        """Set a setting of the tenant; None takes it away."""
        if value is None:
            self._c.write("DELETE FROM settings WHERE tenant = ? AND key = ?", (self.tenant, key))
        else:
            self._c.write("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (self.tenant, key, value))
