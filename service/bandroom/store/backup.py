"""Backups: one file with the database and the keys, made while everything runs; and putting one back.

The file is a tar archive: ``bandroom.db`` as of one moment, the key files, and the settings. It opens every door that
the installation has, so it is written for its owner alone (0600).
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from bandroom.paths import Home, write_private
from bandroom.store.connection import Connection
from bandroom.store.database import Store, take_writer_lock
from bandroom.store.errors import Conflict, InUse, StoreError, translate
from bandroom.wire.ids import OWN_TENANTS

_KEY = re.compile(r"keys/(?:(?:people|service)-[0-9a-f]{8}\.pem|master-[1-9][0-9]{0,5}\.key)")
_OTHERS = frozenset({"bandroom.db", "owner.token", "bandroom.toml"})
_LARGEST = 4 << 30


class BadBackup(StoreError):
    """The file is no backup of bandroom's, or a damaged one."""


def backup(home: Home, target: Path) -> int:
    """Write a backup to ``target``, which must not exist; returns its size in bytes. Works while the service runs.

    Raises ``StoreError`` if the database cannot be read, ``OSError`` if the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        copy = Path(folder) / "bandroom.db"
        source = Connection(home.database, readonly=True)
        try:
            os.close(os.open(copy, os.O_CREAT | os.O_RDWR, 0o600))
            target_db = sqlite3.connect(copy)
            try:
                source.raw.backup(target_db)
                target_db.execute("PRAGMA journal_mode = DELETE")
            finally:
                target_db.close()
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            source.close()
        _check(copy)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                with tarfile.open(fileobj=file, mode="w") as archive:
                    _add(archive, "bandroom.db", copy.read_bytes())
                    for key in sorted(home.keys.iterdir()):
                        if _KEY.fullmatch(f"keys/{key.name}"):
                            _add(archive, f"keys/{key.name}", key.read_bytes())
                    for other in (home.owner_token, home.settings_file):
                        if other.exists():
                            _add(archive, other.name, other.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return target.stat().st_size


def restore(home: Home, source: Path) -> int:
    """Put a backup in the place of what is there; returns the number of rooms in it. No service may be running.

    Raises ``InUse`` while one runs, ``BadBackup`` for a file that is none; what was there is then as it was.
    """
    rooms = prepare_restore(home, source)
    try:
        apply_restore(home)
    except InUse:
        shutil.rmtree(home.pending_restore)
        raise
    return rooms


def prepare_restore(home: Home, source: Path) -> int:
    """Take a backup apart, check it, and lay it down for the service's next start; returns the number of rooms in it,
    but for those in which the program tests itself.

    Once ``home.pending_restore`` is there, the backup will be put back, whatever happens; before that nothing changed.
    Raises ``BadBackup`` for a file that is none, ``Conflict`` while another backup waits there.
    """
    files = read_backup(source)
    home.create()
    if home.pending_restore.exists():
        raise Conflict(f"another backup is being put back: it waits in {home.pending_restore}")
    with tempfile.TemporaryDirectory(dir=home.root) as folder:
        parts = Path(folder) / "parts"
        parts.mkdir(mode=0o700)
        (parts / "keys").mkdir(mode=0o700)
        for name, data in files.items():
            write_private(parts / name, data)
        copy = parts / home.database.name
        _check(copy)
        with Store.open(copy) as restored:  # brings an old schema up
            rooms = sum(room.tenant not in OWN_TENANTS for room in restored.all_rooms())
            _into_one_file(restored)
        copy.with_name(copy.name + ".lock").unlink(missing_ok=True)
        os.rename(parts, home.pending_restore)
    _sync_folder(home.root)
    return rooms


def apply_restore(home: Home) -> bool:
    """Put a backup that waits in ``home.pending_restore`` in the place of what is there; False if none waits.

    Revisions of all rooms are raised above what clients may have heard since, so that they take the restored maps
    for news. Killed at any point, it is done again from the start, to the same end. Raises ``InUse`` while a service
    runs.
    """
    pending = home.pending_restore
    if not pending.exists():
        return False
    lock = take_writer_lock(home.database)
    try:
        copy = pending / home.database.name
        if copy.exists():
            floor = max(int(time.time()), _highest_rev(home.database)) + 1
            with Store.open(copy) as restored:
                _raise_revs(restored, floor)
                _into_one_file(restored)
        for name in sorted(str(path.relative_to(pending)) for path in pending.rglob("*") if path.is_file()):
            if name in _OTHERS - {home.database.name} or _KEY.fullmatch(name):
                write_private(home.root / name, (pending / name).read_bytes())
        if copy.exists():
            for side in ("-wal", "-shm"):
                home.database.with_name(home.database.name + side).unlink(missing_ok=True)
            os.replace(copy, home.database)
            _sync_folder(home.root)
        shutil.rmtree(pending)
    finally:
        os.close(lock)
    return True


def _into_one_file(store: Store) -> None:
    store.connection.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.connection.raw.execute("PRAGMA journal_mode = DELETE")


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    archive.addfile(info, io.BytesIO(data))


def read_backup(source: Path) -> dict[str, bytes]:
    """The files in a backup; only names that we write, whatever else an archive may hold. Raises ``BadBackup``."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(source, "r:") as archive:
            for member in archive:
                known = member.name in _OTHERS or _KEY.fullmatch(member.name) is not None
                if not member.isfile() or not known or member.size > _LARGEST:
                    raise BadBackup(f"{source} is no backup of bandroom's: it holds {member.name[:80]!r}")
                file = archive.extractfile(member)
                files[member.name] = b"" if file is None else file.read()
    except tarfile.TarError as error:
        raise BadBackup(f"{source} is no backup of bandroom's, or was cut short: {error}") from error
    if "bandroom.db" not in files or not any(name.startswith("keys/") for name in files):
        raise BadBackup(f"{source} is no whole backup: database or keys are missing")
    return files


def _check(database: Path) -> None:
    """Raise ``BadBackup`` for a database that is damaged."""
    try:
        conn = sqlite3.connect(database)
        try:
            verdict: Any = conn.execute("PRAGMA integrity_check").fetchone()[0]
        finally:
            conn.close()
    except sqlite3.Error as error:
        raise BadBackup(f"the database in it is damaged: {error}") from error
    if verdict != "ok":
        raise BadBackup(f"the database in it is damaged: {verdict}")


def _highest_rev(database: Path) -> int:
    """The highest revision on record where one can be read: what is there may be damaged, which is why one restores."""
    try:
        with Store.open(database, readonly=True) as store:
            return max((max(room.info_rev, room.tempo_rev) for room in store.all_rooms()), default=0)
    except StoreError:
        return 0


def _raise_revs(store: Store, floor: int) -> int:
    rooms = store.all_rooms()
    with store.transaction():
        for room in rooms:
            tempo: dict[str, Any] = json.loads(room.tempo)
            tempo["rev"] = rev = max(floor, room.tempo_rev + 1)
            store.connection.write(
                "UPDATE rooms SET tempo = ?, tempo_rev = ?, info_rev = ? WHERE tenant = ? AND room = ?",
                (json.dumps(tempo, separators=(",", ":")), rev, max(floor, room.info_rev + 1), room.tenant, room.room),
            )
    return len(rooms)
