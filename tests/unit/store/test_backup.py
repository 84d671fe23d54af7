"""Backups: whole, private, and newer than anything a client has heard once they are put back."""

import io
import itertools
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bandroom.auth.keys import ensure_keys
from bandroom.paths import Home
from bandroom.store import InUse, RoomRow, RoomState, Store
from bandroom.store.backup import BadBackup, apply_restore, backup, restore
from bandroom.wire.ids import DOCTOR_TENANT, JoinCode, RoomId, TenantId

LINCOLN, MUSIC = TenantId("lincoln"), RoomId("MUSIC-1234")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home") / "data")
    home.create()
    ensure_keys(home)
    return home


def put(store: Store, rev: int, tenant: TenantId = LINCOLN) -> None:
    code = JoinCode("MUSIC-1234")
    tempo = json.dumps({"rev": rev, "seg": [], "met": []})
    row = RoomRow(tenant, MUSIC, code, "key", RoomState.OPEN, "Choir", False, rev, tempo, rev, 1, 1, None, None)
    with store.transaction():
        store.for_tenant(tenant).put_room(row)


def test_a_restored_room_is_news_to_every_client(keyed: Home, tmp_path: Path) -> None:
    """Made while the store is open for writing; after more edits than seconds, restored revisions are still higher."""
    with Store.open(keyed.database) as store:
        if store.tenant(LINCOLN) is None:
            with store.transaction():
                store.create_tenant(LINCOLN, "Lincoln", 1)
        with store.transaction():  # where the program tests itself: no room of anybody's
            store.create_tenant(DOCTOR_TENANT, "doctor", 1)
        put(store, 1_000, DOCTOR_TENANT)
        put(store, 1_000)
        file = tmp_path / "backup.tar"
        assert backup(keyed, file) == file.stat().st_size
        assert file.stat().st_mode & 0o777 == 0o600
        far_ahead = 5_000_000_000
        put(store, far_ahead)
        with pytest.raises(InUse):
            restore(keyed, file)
        with pytest.raises(FileExistsError):
            backup(keyed, file)
    keys = {path.name: path.read_bytes() for path in keyed.keys.iterdir()}
    assert restore(keyed, file) == 1
    with Store.open(keyed.database) as store:
        room = store.for_tenant(LINCOLN).room(MUSIC)
        assert room is not None
        assert room.name == "Choir"
        assert min(room.tempo_rev, room.info_rev) > far_ahead
        assert json.loads(room.tempo)["rev"] == room.tempo_rev
    assert {path.name: path.read_bytes() for path in keyed.keys.iterdir()} == keys


def test_a_backup_is_put_into_an_empty_folder_with_its_keys(keyed: Home, tmp_path: Path) -> None:
    """Another machine: devices and tokens go on working, since the keys came along."""
    Store.open(keyed.database).close()
    file = tmp_path / "backup.tar"
    backup(keyed, file)
    other = Home(tmp_path / "other")
    restore(other, file)
    names = {path.name for path in keyed.keys.iterdir()}
    assert {path.name for path in other.keys.iterdir()} == names
    assert other.owner_token.read_bytes() == keyed.owner_token.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in other.keys.iterdir()} == {0o600}


def test_a_damaged_database_gives_way_to_a_backup(keyed: Home, tmp_path: Path) -> None:
    """That is what backups are for."""
    Store.open(keyed.database).close()
    file = tmp_path / "backup.tar"
    backup(keyed, file)
    other = Home(tmp_path / "other")
    other.create()
    other.database.write_bytes(b"rubbish" * 1000)
    restore(other, file)
    Store.open(other.database).close()


def test_what_is_no_backup_changes_nothing(keyed: Home, tmp_path: Path) -> None:
    """Other archives, names that lead out of the folder, cut-short files, damaged databases."""
    Store.open(keyed.database).close()
    good = tmp_path / "good.tar"
    backup(keyed, good)
    before = {path: path.read_bytes() for path in keyed.root.rglob("*") if path.is_file()}

    def archive(**files: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as made:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        return out.getvalue()

    key = {"keys/master-1.key": b"0" * 64}
    for i, data in enumerate(
        [
            b"",
            b"rubbish" * 500,
            good.read_bytes()[:5000],
            archive(**{"../evil": b"x"}),
            archive(**{"bandroom.db": b"rubbish" * 500, **key}),
            archive(**key),
            archive(**{"bandroom.db": b"", "keys/../../x.pem": b""}),
        ]
    ):
        bad = tmp_path / f"bad-{i}.tar"
        bad.write_bytes(data)
        with pytest.raises(BadBackup):
            restore(keyed, bad)
    assert {path: path.read_bytes() for path in keyed.root.rglob("*") if path.is_file()} == before


def whole(home: Home) -> tuple[str, bytes]:
    """The name of the one room on record, and the owner's token."""
    with Store.open(home.database) as store:
        (room,) = store.all_rooms()
        return room.name, home.owner_token.read_bytes()


@pytest.mark.parametrize("at", range(9))
def test_a_restore_that_is_killed_changes_all_or_nothing(
    keyed: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """At each change of the folder: before the backup waits for the service nothing changed; then it is put back whole
    at the next start."""
    home, file = Home(tmp_path / "data"), tmp_path / "backup.tar"
    home.create()
    shutil.copytree(keyed.keys, home.keys, dirs_exist_ok=True)
    home.owner_token.write_bytes(b"the first one")
    with Store.open(home.database) as store:
        with store.transaction():
            store.create_tenant(LINCOLN, "Lincoln", 1)
        put(store, 1_000)
    before = whole(home)
    backup(home, file)
    with Store.open(home.database) as store, store.transaction():
        store.connection.write("UPDATE rooms SET name = 'Later'")
    home.owner_token.write_bytes(b"another one")
    after = whole(home)
    steps, waits = itertools.count(), home.pending_restore.exists

    class Killed(BaseException):
        pass

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **more: Any) -> None:
            if next(steps) == at:
                raise Killed
            real(*args, **more)

        return call

    with monkeypatch.context() as patched:
        for module, name in ((os, "replace"), (os, "rename"), (shutil, "rmtree")):
            patched.setattr(module, name, dying(getattr(module, name)))
        try:
            restore(home, file)
        except Killed:
            committed = waits()
        else:
            committed = True
    apply_restore(home)
    assert not waits()
    assert whole(home) == (before if committed else after)
    assert not apply_restore(home)
