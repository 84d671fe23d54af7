"""Numbered SQL migrations: each is applied with its record in one transaction."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass
from importlib.resources import files

from bandroom.store.errors import NewerDatabase, StoreError

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_RECORD = """CREATE TABLE IF NOT EXISTS migrations (
    n INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL
) STRICT"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number from 1, its name, and the SQL."""

    n: int
    name: str
    sql: str


def migrations() -> tuple[Migration, ...]:
    """All steps in order. Raises ``StoreError`` if their numbers have a gap."""
    found: list[Migration] = []
    for entry in files("bandroom.store").joinpath("migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match is not None:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda step: step.n)
    if [step.n for step in found] != list(range(1, len(found) + 1)):
        raise StoreError(f"migrations are not numbered without a gap: {[step.n for step in found]}")
    return tuple(found)


def version(conn: sqlite3.Connection) -> int:
    """The number of the last migration in the database, 0 for an empty one."""
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone() is None:
        return 0
    return int(conn.execute("SELECT coalesce(max(n), 0) FROM migrations").fetchone()[0])


def check_known(conn: sqlite3.Connection, last: int) -> int:
    """The database's version; raises ``NewerDatabase`` when it is beyond ``last``."""
    have = version(conn)
    if have > last:
        raise NewerDatabase(
            f"the database is of schema version {have}, and this bandroom knows versions up to {last}: "
            "install the newer bandroom again, or restore a backup made by this one"
        )
    return have


def migrate(conn: sqlite3.Connection, upto: int | None = None) -> int:
    """Bring the database to the newest schema (or to ``upto``, for fixtures); returns its version.

    A crash in the middle leaves the version before: the schema changes and the record commit together.
    """
    steps = migrations()
    have = check_known(conn, len(steps))
    conn.execute(_RECORD)
    for step in steps[have:upto]:
        record = f"INSERT INTO migrations VALUES ({step.n}, '{step.name}', {int(time.time())});"  # noqa: S608
        try:
            conn.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n{record}\nCOMMIT;")
        except BaseException:
            if conn.in_transaction:
                conn.rollback()
            raise
    return version(conn)
