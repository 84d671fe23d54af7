"""The record of rooms as a worker reads it: never written, and in slices, so that no beat waits for a long query."""

import os
from collections.abc import Iterator
from pathlib import Path

from bandroom.beats.engine import RoomKey
from bandroom.beats.spelling import room_key
from bandroom.store import Store

_ROOMS = "SELECT tenant, room, tempo_rev, tempo FROM rooms WHERE state <> 'closed'"


class Record:
    """The database at `path`, opened when it is first asked, and anew when another file took its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None

    def changed(self) -> bool:
        """Whether anything was written since `rooms` was last called. Takes microseconds.

        Raises `bandroom.store.StoreError` or `sqlite3.Error` when the database cannot be read.
        """
        return self._data_version() != self._version

    def rooms(self) -> Iterator[tuple[RoomKey, int, str]]:
        """(room, revision, tempo as JSON) of every room that is not closed, as of one moment.

        Take a few at a time; abandon the iterator rather than hold it for seconds. Raises as `changed` does.
        """
        self._version = self._data_version()
        assert self._store is not None  # noqa: S101  (opened by _data_version)
        for tenant, room, rev, tempo in self._store.connection.raw.execute(_ROOMS):
            yield room_key(tenant, room), rev, tempo

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store, self._file, self._version = None, None, None

    def _data_version(self) -> int:
        try:
            stat = os.stat(self._path)
            file = (stat.st_dev, stat.st_ino)
        except FileNotFoundError:
            file = None
        if self._store is None or file != self._file:
            self.close()
            self._store = Store.open(self._path, readonly=True)
            self._file = file
            # Read once from end to end, and rarely: pages are not worth keeping.
            self._store.connection.raw.execute("PRAGMA cache_size = -64")
        return int(self._store.connection.raw.execute("PRAGMA data_version").fetchone()[0])
