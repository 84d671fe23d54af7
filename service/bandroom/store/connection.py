"""One SQLite connection: pragmas, transactions, and SQLite's errors made the store's own."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bandroom.store.errors import StoreError, Unavailable, translate

_BUSY_S = 2.0  # other programs may look into the database; the service itself is the only writer

Params = tuple[Any, ...] | dict[str, Any]


class Connection:
    """A connection that may be handed from thread to thread; a lock keeps them apart.

    Every commit is on the disk when it returns (WAL with ``synchronous=FULL``).
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        try:
            if readonly:
                if not path.exists():
                    raise Unavailable(f"there is no database at {path}: start the service once")
                self.raw = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, check_same_thread=False
                )
            else:
                # The database holds join keys: its owner's eyes only. SQLite gives -wal and -shm the same mode.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self.raw = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
            self.raw.isolation_level = None  # transactions begin and end where this file says so
            self.raw.row_factory = sqlite3.Row
            self.raw.execute("PRAGMA foreign_keys = ON")
            self.raw.execute("PRAGMA trusted_schema = OFF")
            self.raw.execute("PRAGMA secure_delete = ON")  # a name that was deleted is not left on free pages
            if not readonly:
                self.raw.execute("PRAGMA journal_mode = WAL")
                self.raw.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise translate(error) from error
        except OSError as error:
            raise Unavailable(f"cannot open the database {path}: {error.strerror}") from error
        self._lock = threading.RLock()

    def rows(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            try:
                return self.raw.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                raise translate(error) from error

    def one(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, params)
        return found[0] if found else None

    def write(self, sql: str, params: Params = ()) -> int:
        """Change rows inside a ``transaction``; returns how many."""
        with self._lock:
            if not self.raw.in_transaction:
                raise StoreError("a change outside a transaction: a mistake in the program")
            try:
                return self.raw.execute(sql, params).rowcount
            except (sqlite3.Error, OverflowError) as error:
                if isinstance(error, OverflowError):
                    raise StoreError(f"a number is too large for the database: {error}") from error
                raise translate(error) from error

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All changes inside are kept together and durable at the end, or none is."""
        with self._lock:
            if self.raw.in_transaction:
                raise StoreError("a transaction within a transaction: a mistake in the program")
            try:
                self.raw.execute("BEGIN IMMEDIATE")
                yield
                self.raw.execute("COMMIT")
            except BaseException as error:
                if self.raw.in_transaction:
                    self.raw.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise translate(error) from error
                raise

    def close(self) -> None:
        """Close it; a second time does nothing."""
        with self._lock:
            self.raw.close()
