"""A database that cannot be written or read: what is asked is refused whole, what was confirmed stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bandroom.rooms import admin
from bandroom.rooms.control import Refused
from bandroom.store import StoreError, Unavailable
from bandroom.wire.ids import Subject

from .conftest import LINCOLN, Plane


@contextmanager
def full(plane: Plane) -> Iterator[None]:
    """No page more, and none free."""
    raw = plane.store.connection.raw
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {pages}")
    yield
    raw.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(plane: Plane) -> Iterator[None]:
    """What SQLite says of a disk that was mounted anew without the right to write."""
    plane.store.connection.raw.execute("PRAGMA query_only = ON")
    yield
    plane.store.connection.raw.execute("PRAGMA query_only = OFF")


@contextmanager
def locked(plane: Plane) -> Iterator[None]:
    """Another program holds the database."""
    plane.store.connection.raw.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(plane.folder / "bandroom.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.rule("CMD-5")
@pytest.mark.parametrize(
    ("trouble", "said"), [(full, "full"), (read_only, "read-only"), (locked, "locked by another program")]
)
def test_nothing_is_done_by_halves(music: Plane, trouble: Callable[[Plane], Iterator[None]], said: str) -> None:
    """Commands, rooms, devices and joins are refused with the cause; nothing of them is in store, gate log or messages;
    who is in can be looked up all the while; afterwards the same is done.
    """
    sub = music.join(nickname="Ann").member.sub
    music.drain()
    before, gate = "\n".join(music.store.connection.raw.iterdump()), music.gate_state()
    refused = 0
    with trouble(music):  # type: ignore[attr-defined]
        for i in range(400):
            reply = music.do("rename", id=f"r{i}", name="x" * 40)
            if not reply.ok:
                refused += 1
                assert (reply.err, said in (reply.text or "")) == ("unavailable", True), reply.text
                break
            music.drain()
            before = "\n".join(music.store.connection.raw.iterdump())
        assert refused == 1
        assert "\n".join(music.store.connection.raw.iterdump()) == before
        assert music.gate_state() == gate
        assert music.drain() == []
        for attempt in (
            lambda: [music.create(None) for _ in range(50)],
            lambda: [admin.enroll_device(music.control, LINCOLN, Subject(f"d-{i}"), "x" * 40) for i in range(200)],
            lambda: [music.join(nickname=f"pupil {i}") for i in range(200)],
        ):
            with pytest.raises((StoreError, Refused), match=said):
                attempt()
        # Where not even one of many is done, nothing has changed.
        if said != "full":
            assert "\n".join(music.store.connection.raw.iterdump()) == before
            assert music.gate_state() == gate
            assert music.drain() == []
        assert music.control.room(LINCOLN, music.room().room).is_open
        assert music.store.for_tenant(LINCOLN).member(sub) is not None
    assert music.do("rename", id="again", name="Choir").ok
    music.restart()
    assert music.room().name == "Choir"


def test_readiness_writes_in_earnest(music: Plane) -> None:
    """What asks whether the disk can be written has it written to, each time: SQLite skips rows that do not change."""
    wal = music.folder / "bandroom.db-wal"
    sizes = [wal.stat().st_size]
    for _ in range(3):
        music.store.check_writable()
        sizes.append(wal.stat().st_size)
    assert sizes == sorted(set(sizes))


def test_damage_is_named_while_it_runs(music: Plane, tmp_path: Path) -> None:
    """Pages that turn to rubbish under the service: an error with the remedy, no traceback, no wrong answer."""
    for _ in range(60):
        music.create(None)
    raw = music.store.connection.raw
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.execute("PRAGMA cache_size = 0")
    path = tmp_path / "bandroom.db"
    good = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * (len(good) - 3 * 4096))
    raw.execute("PRAGMA shrink_memory")
    raw.execute("BEGIN").close()  # a new look at the file
    raw.execute("ROLLBACK")
    reply = music.do("lock")
    assert (reply.ok, reply.err) == (False, "unavailable"), reply
    assert "restore a backup" in (reply.text or "")
    with pytest.raises(Unavailable, match="restore a backup"):
        music.store.all_rooms()
