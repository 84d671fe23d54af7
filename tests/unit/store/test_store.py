"""Rows: tenants apart, codes unique, all or nothing, one writer."""

import dataclasses
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bandroom.store import Conflict, InUse, MemberRow, RoomRow, RoomState, Store, StoreError, Unavailable
from bandroom.wire.ids import JoinCode, RoomId, Subject, TenantId
from hypothesis import given, settings
from hypothesis import strategies as st

LINCOLN, LINCOLN2 = TenantId("lincoln"), TenantId("lincoln-2")
MUSIC = RoomId("MUSIC-1234")
NOW = 1_700_000_000


def a_room(tenant: TenantId = LINCOLN, room: str = "MUSIC-1234", **changes: object) -> RoomRow:
    row = RoomRow(
        tenant,
        RoomId(room),
        JoinCode(room),
        "key",
        RoomState.OPEN,
        "Choir",
        False,
        NOW,
        "{}",
        NOW,
        NOW,
        NOW,
        None,
        None,
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def a_member(sub: str, name: str, tenant: TenantId = LINCOLN, **changes: object) -> MemberRow:
    row = MemberRow(tenant, MUSIC, Subject(sub), name, None, NOW, None)
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "bandroom.db") as store:
        with store.transaction():
            store.create_tenant(LINCOLN, "Lincoln", NOW)
            store.create_tenant(LINCOLN2, "Lincoln the second", NOW)
        yield store


def test_two_tenants_hold_the_same_code_at_once(store: Store) -> None:
    """Every key begins with the tenant: MUSIC-1234 exists twice and neither sees the other."""
    with store.transaction():
        store.for_tenant(LINCOLN).put_room(a_room(name="one"))
        store.for_tenant(LINCOLN2).put_room(a_room(LINCOLN2, name="two"))
    code = JoinCode("MUSIC-1234")
    found = [store.for_tenant(tenant).room_by_code(code) for tenant in (LINCOLN, LINCOLN2)]
    assert [room.name for room in found if room] == ["one", "two"]
    with store.transaction():
        store.for_tenant(LINCOLN).put_member(a_member("s-1", "Blue Fox 1"))
    assert store.for_tenant(LINCOLN2).member(Subject("s-1")) is None
    assert store.for_tenant(LINCOLN2).members(MUSIC) == []


def test_a_tenant_cannot_write_anothers_rows(store: Store) -> None:
    """A row of another tenant is refused at the door, and by the database itself."""
    with pytest.raises(Conflict), store.transaction():
        store.for_tenant(LINCOLN2).put_room(a_room(LINCOLN))
    with store.transaction():
        store.for_tenant(LINCOLN).put_room(a_room())
    with pytest.raises(Conflict), store.transaction():
        store.for_tenant(LINCOLN2).mute(MUSIC, Subject("s-1"))  # lincoln-2 has no such room
    with pytest.raises(Conflict), store.transaction():
        store.for_tenant(LINCOLN2).put_member(a_member("s-1", "x", LINCOLN2))


def test_a_code_is_one_rooms_as_long_as_that_room_is_open_or_rests(store: Store) -> None:
    """The partial index refuses a second room with the code; once it is deleted the code is free."""
    lincoln = store.for_tenant(LINCOLN)
    closed = a_room(state=RoomState.CLOSED, closed_at=NOW, rests_until=NOW + 86400)
    for first in (a_room(), closed):
        with store.transaction():
            lincoln.put_room(first)
        with pytest.raises(Conflict), store.transaction():
            lincoln.put_room(a_room(room="TABLE-0001", join_code=JoinCode("MUSIC-1234")))
        assert not lincoln.code_is_free(JoinCode("MUSIC-1234"))
    with store.transaction():
        lincoln.delete_room(MUSIC)
    assert lincoln.room(MUSIC) is None
    assert lincoln.code_is_free(JoinCode("MUSIC-1234"))


def test_deleting_a_room_deletes_all_it_held(store: Store) -> None:
    """Members, mutes, assignments and replies go with their room; the device itself stays."""
    lincoln = store.for_tenant(LINCOLN)
    with store.transaction():
        lincoln.put_room(a_room(state=RoomState.CLOSED, closed_at=NOW, rests_until=NOW + 1))
        lincoln.put_member(a_member("s-1", "Blue Fox 1"))
        lincoln.mute(MUSIC, Subject("s-1"))
        lincoln.enroll(Subject("d-drum-3"), "Drum", None, NOW)
        lincoln.assign(Subject("d-drum-3"), MUSIC)
        lincoln.keep_answer(MUSIC, "owner", "1", "digest", "{}", NOW)
        lincoln.delete_room(MUSIC)
    assert lincoln.members(MUSIC) == []
    assert lincoln.mutes(MUSIC) == []
    assert [device.room for device in lincoln.devices()] == [None]
    assert lincoln.answered(MUSIC, "owner", "1") is None


def test_names_are_unique_among_those_who_are_in(store: Store) -> None:
    """Two pupils never share a name on the roster; a kicked one's name is free again."""
    lincoln = store.for_tenant(LINCOLN)
    with store.transaction():
        lincoln.put_room(a_room())
        lincoln.put_member(a_member("s-1", "Blue Fox 1"))
    with pytest.raises(Conflict), store.transaction():
        lincoln.put_member(a_member("s-2", "Blue Fox 1"))
    with store.transaction():
        lincoln.put_member(a_member("s-1", "Blue Fox 1", kicked_at=NOW))
        lincoln.put_member(a_member("s-2", "Blue Fox 1"))


def test_enrolling_again_raises_generation_and_floor(store: Store) -> None:
    """A device's old password stops working when it is enrolled again, and all of them when it is revoked."""
    lincoln, drum = store.for_tenant(LINCOLN), Subject("d-drum-3")
    with store.transaction():
        first = lincoln.enroll(drum, "Drum", None, NOW)
        second = lincoln.enroll(drum, "Drum", None, NOW)
    assert [(d.generation, d.floor) for d in (first, second)] == [(1, 1), (2, 2)]
    with store.transaction():
        assert lincoln.revoke_device(drum, NOW)
        assert not lincoln.revoke_device(drum, NOW)
    device = lincoln.device(drum)
    assert device is not None
    assert (device.generation, device.floor) == (2, 3)
    with store.transaction():
        assert lincoln.enroll(drum, "Drum", None, NOW).floor == 3


def test_a_transaction_is_kept_whole_or_not_at_all(store: Store) -> None:
    """An error in the middle takes back what came before it."""
    lincoln = store.for_tenant(LINCOLN)

    def fails() -> None:
        with store.transaction():
            lincoln.put_room(a_room())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert lincoln.rooms() == []
    with pytest.raises(StoreError, match="outside a transaction"):
        lincoln.put_room(a_room())


def test_there_is_one_writer_in_this_process_and_among_all(store: Store, tmp_path: Path) -> None:
    """A second service on one folder is refused while the first lives, and only then."""
    with pytest.raises(InUse, match="another service is running"):
        Store.open(tmp_path / "bandroom.db")
    code = (
        "import sys; from pathlib import Path; from bandroom.store import Store, InUse\n"
        "try: Store.open(Path(sys.argv[1]))\n"
        "except InUse: sys.exit(7)"
    )
    path = str(tmp_path / "bandroom.db")
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 7
    store.close()
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0


def test_workers_read_what_was_committed_and_cannot_write(store: Store, tmp_path: Path) -> None:
    """The read-only door shows each commit at once, open rooms only, and refuses a change."""
    reader = Store.open(tmp_path / "bandroom.db", readonly=True)
    assert list(reader.all_tempo_maps()) == []
    with store.transaction():
        store.for_tenant(LINCOLN).put_room(a_room(tempo='{"rev":7}', tempo_rev=7))
        store.for_tenant(LINCOLN).put_room(
            a_room(room="TABLE-0001", state=RoomState.CLOSED, closed_at=NOW, rests_until=NOW)
        )
    assert list(reader.all_tempo_maps()) == [(LINCOLN, MUSIC, '{"rev":7}', 7)]
    with pytest.raises(Unavailable, match="read-only"), reader.transaction():
        reader.for_tenant(LINCOLN).mute(MUSIC, Subject("s-1"))
    reader.close()


def test_a_missing_database_is_named_to_a_reader(tmp_path: Path) -> None:
    """A worker that starts before the service learns why."""
    with pytest.raises(Unavailable, match="start the service"):
        Store.open(tmp_path / "none.db", readonly=True)


def test_a_full_database_refuses_the_change_and_keeps_the_rest(store: Store) -> None:
    """Disk full in the middle of a change: a clear error, nothing of it kept, reading goes on."""
    lincoln = store.for_tenant(LINCOLN)
    with store.transaction():
        lincoln.put_room(a_room())
    pages = store.connection.raw.execute("PRAGMA page_count").fetchone()[0]
    store.connection.raw.execute(f"PRAGMA max_page_count = {pages}")

    def too_much() -> None:
        with store.transaction():
            for i in range(2000):
                lincoln.put_member(a_member(f"s-{i}", f"Blue Fox {i}" + "x" * 100))

    with pytest.raises(Unavailable, match="full"):
        too_much()
    assert lincoln.members(MUSIC) == []
    assert lincoln.room(MUSIC) == a_room()
    store.connection.raw.execute("PRAGMA max_page_count = 100000")
    with store.transaction():
        lincoln.put_member(a_member("s-1", "Blue Fox 1"))


def test_numbers_beyond_the_database_are_an_error_of_ours(store: Store) -> None:
    """10^30 never reaches the caller as an OverflowError."""
    with pytest.raises(StoreError, match="too large"), store.transaction():
        store.for_tenant(LINCOLN).put_room(a_room(info_rev=10**30))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "mute", "unmute", "member", "fail"]), st.integers(0, 3)), max_size=12)
)
def test_rows_match_a_plain_model(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """Whatever the order of changes and failures, the database says what a dictionary would."""
    path = tmp_path_factory.mktemp("db") / "bandroom.db"
    mutes: set[str] = set()
    members: dict[str, str] = {}
    with Store.open(path) as store:
        lincoln = store.for_tenant(LINCOLN)
        with store.transaction():
            store.create_tenant(LINCOLN, "", NOW)
            lincoln.put_room(a_room())
        for step, i in steps:
            sub = Subject(f"s-{i}")
            try:
                with store.transaction():
                    match step:
                        case "mute":
                            lincoln.mute(MUSIC, sub)
                            mutes.add(sub)
                        case "unmute":
                            lincoln.unmute(MUSIC, sub)
                            mutes.discard(sub)
                        case "member":
                            lincoln.put_member(a_member(sub, f"n{i}"))
                            members[sub] = f"n{i}"
                        case "fail":
                            lincoln.mute(MUSIC, sub)
                            raise sqlite3.OperationalError("disk gone")
                        case _:
                            lincoln.put_room(a_room(name=f"r{i}"))
            except Unavailable:
                assert step == "fail"
    with Store.open(path, readonly=True) as store:
        lincoln = store.for_tenant(LINCOLN)
        assert set(lincoln.mutes(MUSIC)) == mutes
        assert {member.sub: member.name for member in lincoln.members(MUSIC)} == members
