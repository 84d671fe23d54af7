"""The database as a whole: opening it, its tenants, and what the service needs across tenants.

Rows of a tenant are reached through ``for_tenant`` alone. What crosses tenants here serves the service itself:
the beat workers' maps, the gate's state, and cleaning up.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from bandroom.store.connection import Connection
from bandroom.store.errors import Conflict, InUse, Unavailable, translate
from bandroom.store.migrate import check_known, migrate, migrations
from bandroom.store.rows import Revocation, RoomRow, RoomState, TempoRow, TenantRow, VoidDevice
from bandroom.store.tenant import TenantStore, revocation_of, room_of
from bandroom.wire.ids import RoomId, Subject, TenantId


def _tenant_of(row: sqlite3.Row) -> TenantRow:
    return TenantRow(TenantId(row["tenant"]), row["name"], row["created_at"], row["max_rooms"])


class Store:
    """The open database. One process may have it open for writing; any number may read."""

    def __init__(self, connection: Connection, lock: int | None) -> None:
        self._c = connection
        self._lock = lock

    @classmethod
    def open(cls, path: Path, readonly: bool = False) -> Self:
        """Open the database at ``path``; for writing, create or migrate it first.

        Raises ``InUse`` when another process writes it, ``NewerDatabase`` when a later version made it, and
        ``Unavailable`` when it is missing (read-only), damaged or cannot be written.
        """
        if readonly:
            connection = Connection(path, readonly=True)
            try:
                check_known(connection.raw, len(migrations()))
            except sqlite3.Error as error:
                connection.close()
                raise translate(error) from error
            return cls(connection, None)
        lock = take_writer_lock(path)
        try:
            connection = Connection(path)
            try:
                migrate(connection.raw)
            except sqlite3.Error as error:
                raise translate(error) from error
        except BaseException:
            os.close(lock)
            raise
        return cls(connection, lock)

    def close(self) -> None:
        """Close the database and let another process write it."""
        self._c.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connection(self) -> Connection:
        """The connection, for backups and checks of the whole file."""
        return self._c

    def transaction(self) -> AbstractContextManager[None]:
        """All changes inside are durable together at its end, or none is."""
        return self._c.transaction()

    # -- tenants

    def tenants(self) -> list[TenantRow]:
        """All tenants, by name of their id."""
        return [_tenant_of(row) for row in self._c.rows("SELECT * FROM tenants ORDER BY tenant")]

    def tenant(self, tenant: TenantId) -> TenantRow | None:
        """One tenant, or None."""
        row = self._c.one("SELECT * FROM tenants WHERE tenant = ?", (tenant,))
        return None if row is None else _tenant_of(row)

    def create_tenant(self, tenant: TenantId, name: str, now_s: int, max_rooms: int | None = None) -> TenantRow:
        """A new tenant; raises ``Conflict`` if there is one of that id. Inside a ``transaction``."""
        if self.tenant(tenant) is not None:
            raise Conflict(f"there is a tenant {tenant} already")
        if self.was_deleted(tenant):
            raise Conflict(f"there was a tenant {tenant}: its id is not given again")
        self._c.write("INSERT INTO tenants VALUES (?, ?, ?, ?)", (tenant, name, now_s, max_rooms))
        return TenantRow(tenant, name, now_s, max_rooms)

    def set_max_rooms(self, tenant: TenantId, max_rooms: int | None) -> None:
        """Set how many rooms a tenant may have open; None: the service's default. Inside a ``transaction``."""
        self._c.write("UPDATE tenants SET max_rooms = ? WHERE tenant = ?", (max_rooms, tenant))

    def was_deleted(self, tenant: TenantId) -> bool:
        """Whether there was a tenant of that id: it is given to no other, for old credentials would open it."""
        return self._c.one("SELECT 1 FROM deleted_tenants WHERE tenant = ?", (tenant,)) is not None

    def delete_tenant(self, tenant: TenantId, now_s: int) -> None:
        """Delete a tenant and all that it has; its id, and its devices' as void, stay. Inside a ``transaction``.

        So do revocations, until the tokens that they refuse have expired.
        """
        self._c.write("INSERT INTO deleted_tenants VALUES (?, ?)", (tenant, now_s))
        self._c.write(
            "INSERT INTO void_devices SELECT tenant, sub, generation + 1 FROM devices WHERE tenant = ?", (tenant,)
        )
        # What refers to what goes in this order; members, mutes, assignments and replies go with their rooms.
        for table in ("rooms", "resting_codes", "devices", "teachers", "token_holders", "settings", "tenants"):
            self._c.write(f"DELETE FROM {table} WHERE tenant = ?", (tenant,))  # noqa: S608  (our own names)

    def void_devices(self) -> list[VoidDevice]:
        """The devices of deleted tenants: their passwords would be good for ever."""
        rows = self._c.rows("SELECT tenant, sub, floor FROM void_devices ORDER BY tenant, sub")
        return [VoidDevice(TenantId(row[0]), Subject(row[1]), row[2]) for row in rows]

    def for_tenant(self, tenant: TenantId) -> TenantStore:
        """The rows of one tenant, and no other's."""
        return TenantStore(self._c, tenant)

    # -- across tenants, for the service itself

    def all_tempo_maps(self) -> Iterator[TempoRow]:
        """The tempo map of every open or locked room: what the beat workers play."""
        for row in self._c.rows("SELECT tenant, room, tempo, tempo_rev FROM rooms WHERE state <> 'closed'"):
            yield TempoRow(TenantId(row[0]), RoomId(row[1]), row[2], row[3])

    def all_rooms(self) -> list[RoomRow]:
        """Every room of every tenant, open or resting."""
        return [room_of(row) for row in self._c.rows("SELECT * FROM rooms ORDER BY tenant, room")]

    def closed_rooms(self) -> list[RoomRow]:
        """The resting rooms of every tenant: few, beside all."""
        return [room_of(row) for row in self._c.rows("SELECT * FROM rooms WHERE state = 'closed'")]

    def unused_rooms(self, before_s: int) -> list[RoomRow]:
        """The open and locked rooms that nobody has used since ``before_s``."""
        rows = self._c.rows("SELECT * FROM rooms WHERE state IN ('open', 'locked') AND used_at <= ?", (before_s,))
        return [room_of(row) for row in rows]

    def room_counts(self) -> list[tuple[TenantId, RoomState, int]]:
        """How many rooms each tenant has in each state."""
        rows = self._c.rows("SELECT tenant, state, count(*) FROM rooms GROUP BY tenant, state")
        return [(TenantId(row[0]), RoomState(row[1]), row[2]) for row in rows]

    def all_revocations(self, now_s: int) -> list[Revocation]:
        """The revocations that still matter."""
        rows = self._c.rows("SELECT * FROM revocations WHERE until > ? ORDER BY tenant, what, value", (now_s,))
        return [revocation_of(row) for row in rows]

    def purge(self, now_s: int, *, wall_s: int, commands_before_s: int) -> int:
        """Delete what has had its day: replaced codes, revocations, old replies.

        ``now_s`` is server time; revocations end by wall time, as tokens do. Returns how many rows went.
        Inside a ``transaction``.
        """
        return (
            self._c.write("DELETE FROM resting_codes WHERE rests_until <= ?", (now_s,))
            + self._c.write("DELETE FROM revocations WHERE until <= ?", (wall_s,))
            + self._c.write("DELETE FROM token_holders WHERE until <= ?", (wall_s,))
            + self._c.write("DELETE FROM commands WHERE at < ?", (commands_before_s,))
        )

    def check_writable(self) -> None:
        """Raise ``Unavailable`` if nothing can be written now.

        It writes a page: a row that is set to what it was would be written by nobody, and readiness would lie.
        """
        with self._c.transaction():
            row = self._c.one("PRAGMA user_version")
            # SQLite's own place for a number that it has no use for, and neither have we.
            self._c.write(f"PRAGMA user_version = {0 if row is not None and row[0] else 1}")


def take_writer_lock(path: Path) -> int:
    """The lock that makes its holder the one writer; it ends with the process, however that dies."""
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot write in the data folder {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise InUse(f"another service is running on {path.parent}: stop it first, or use another folder") from error
    return handle
