"""The schema: its steps, what a crash leaves, databases of every earlier version."""

import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from bandroom.store import NewerDatabase, Store, Unavailable, migrate
from bandroom.store.migrate import migrations
from bandroom.wire.ids import RoomId, TenantId
from sqlite_utils import Database

FIXTURES = Path(__file__).parent / "databases"


def _schema(store: Store) -> list[str]:
    return sorted((Database(store.connection.raw).schema + "\n").split(";\n"))


def test_every_step_of_the_schema_has_a_database_kept_from_its_time() -> None:
    """A migration that comes without its fixture would never be tried on old data."""
    kept = sorted(int(path.stem.removeprefix("v")) for path in FIXTURES.glob("v*.sql"))
    assert kept == [step.n for step in migrations()]


@pytest.mark.parametrize("dump", sorted(FIXTURES.glob("v*.sql")), ids=lambda path: path.stem)
def test_a_database_of_an_earlier_schema_opens_with_all_it_held(dump: Path, tmp_path: Path) -> None:
    """What was recorded under an old schema is there under the new one."""
    path = tmp_path / "bandroom.db"
    conn = sqlite3.connect(path)
    conn.executescript(dump.read_text())
    conn.close()
    with Store.open(path) as store:
        lincoln = store.for_tenant(TenantId("lincoln"))
        room = lincoln.room(RoomId("MUSIC-1234"))
        assert room is not None
        assert (room.join_code, room.name, room.tempo_rev) == ("MUSIC-1234", "Choir", 1700000003)
        assert [member.name for member in lincoln.members(room.room)] == ["Blue Tiger 12"]
        assert [(device.sub, device.generation, device.room) for device in lincoln.devices()] == [
            ("d-drum-3", 2, "MUSIC-1234")
        ]
        assert lincoln.mutes(room.room) == ["s-7f3k2"]
        assert lincoln.devices()[0].instrument == ("drums" if int(dump.stem.removeprefix("v")) >= 4 else None)


def test_an_old_database_brought_up_equals_a_new_one(tmp_path: Path) -> None:
    """All ways through the migrations end in one schema."""
    fresh = Store.open(tmp_path / "new.db")
    wanted = _schema(fresh)
    fresh.close()
    for dump in FIXTURES.glob("v*.sql"):
        path = tmp_path / f"{dump.stem}.db"
        conn = sqlite3.connect(path)
        conn.executescript(dump.read_text())
        conn.close()
        with Store.open(path) as store:
            assert _schema(store) == wanted, dump.name


def test_a_newer_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """An older bandroom must not write into what it does not know."""
    path = tmp_path / "bandroom.db"
    Store.open(path).close()
    conn = sqlite3.connect(path)
    conn.execute("INSERT INTO migrations VALUES (999, 'later', 0)")
    conn.commit()
    conn.close()
    for readonly in (False, True):
        with pytest.raises(NewerDatabase, match=r"version 999.*install the newer bandroom"):
            Store.open(path, readonly=readonly)


def test_a_step_that_fails_leaves_the_version_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema changes and their record are one transaction: no half of a step remains."""
    bad = migrate.Migration(len(migrations()) + 1, "bad", "CREATE TABLE half (x); SELECT no_such_function();")
    path = tmp_path / "bandroom.db"
    Store.open(path).close()
    steps = (*migrations(), bad)
    monkeypatch.setattr(migrate, "migrations", lambda: steps)
    conn = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate.migrate(conn)
    assert migrate.version(conn) == len(steps) - 1
    assert "half" not in Database(conn).table_names()
    conn.close()


def test_a_file_that_is_no_database_is_named_as_one(tmp_path: Path) -> None:
    """Garbage in the database's place is an error with a remedy, no traceback of SQLite's."""
    path = tmp_path / "bandroom.db"
    path.write_bytes(b"not a database at all, but long enough to look like one" * 40)
    with pytest.raises(Unavailable, match="restore a backup"):
        Store.open(path)


def test_migrations_travel_with_the_package() -> None:
    """The SQL files are package data, found without a source tree."""
    assert files("bandroom.store").joinpath("migrations/0001_first.sql").is_file()


def test_the_database_is_closed_to_other_users(tmp_path: Path) -> None:
    """It holds join keys; its side files get the same mode."""
    path = tmp_path / "bandroom.db"
    with Store.open(path) as store, store.transaction():
        store.create_tenant(TenantId("lincoln"), "Lincoln", 1)
    store = Store.open(path)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    store.close()
    assert set(modes.values()) == {0o600}, modes
