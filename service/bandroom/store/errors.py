"""What can go wrong with the store, told apart by what a caller can do about it."""

from __future__ import annotations

import sqlite3


class StoreError(Exception):
    """The store cannot do what was asked; the text says why and what to do."""


class NewerDatabase(StoreError):
    """The database was written by a later version of bandroom than this one."""


class InUse(StoreError):
    """Another process has this database open for writing."""


class Unavailable(StoreError):
    """The disk is full, read-only, locked or damaged: nothing was changed, and reading may still work."""


class Conflict(StoreError):
    """The change would break a rule of the tables: a name that is taken, a row that is not there."""


_CAUSES = {
    "SQLITE_FULL": "the disk (or the database's size limit) is full: make room and try again",
    "SQLITE_READONLY": "the database is read-only: check the permissions of the data folder and its disk",
    "SQLITE_BUSY": "the database is locked by another program: end it and try again",
    "SQLITE_LOCKED": "the database is locked by another program: end it and try again",
    "SQLITE_CORRUPT": "the database is damaged: restore a backup",
    "SQLITE_NOTADB": "the file is no database of bandroom's: restore a backup",
    "SQLITE_CANTOPEN": "the database cannot be opened: check that the data folder exists and may be written",
    "SQLITE_IOERR": "the disk failed to read or write: check it, and the space left on it",
    "SQLITE_NOMEM": "there is not enough memory",
}


def translate(error: sqlite3.Error) -> StoreError:
    """The store's own error for one of SQLite's."""
    name = str(getattr(error, "sqlite_errorname", "") or "")
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(str(error))
    for prefix, cause in _CAUSES.items():
        if name.startswith(prefix):
            return Unavailable(cause)
    return Unavailable(f"the database refused: {error}")
