"""Writing the gate log: whole lines or none, and mended from the store."""

from pathlib import Path

import pytest
from bandroom.rooms import upkeep
from bandroom.rooms.gate_log import GateLog, GateLogFailed
from bandroom.store import Unavailable
from bandroom.wire.gate_log import Close, Mute, Open
from bandroom.wire.gate_state import read_log

from .conftest import LINCOLN, MUSIC, Plane


def test_appended_lines_are_read_back_in_order(tmp_path: Path) -> None:
    """Sequence and checksum are right, the file is the owner's alone, a compaction has a new id."""
    path = tmp_path / "log"
    log = GateLog(path)
    log.compact([Open(LINCOLN, MUSIC)])
    first = log.file_id
    log.append([Close(LINCOLN, MUSIC), Open(LINCOLN, MUSIC)])
    found = read_log(path.read_bytes())
    assert (found.file_id, found.last_seq) == log.position == (first, 3)
    assert path.stat().st_mode & 0o777 == 0o600
    log.compact([])
    assert log.file_id != first
    assert read_log(path.read_bytes()).last_seq == 0
    log.close()


def test_a_full_disk_leaves_no_half_line_and_is_mended(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has it, the reply says that it is not in force yet, and the next second mends it."""
    import os

    plane.create()
    real, written = os.write, 0

    def disk_full(fd: int, data: bytes) -> int:
        nonlocal written
        written += 1
        if written > 1:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data)[:7])

    plane.join(nickname="Ann")
    monkeypatch.setattr(os, "write", disk_full)
    reply = plane.do("mute")
    monkeypatch.undo()
    assert reply.err == "unavailable"
    assert "No space left" in (reply.text or "")
    state = read_log(plane.gate._path.read_bytes()).state
    assert state.all_muted == set()
    assert plane.gate.broken
    with pytest.raises(GateLogFailed):
        plane.gate.append([Mute(LINCOLN, MUSIC, plane.store.for_tenant(LINCOLN).members(MUSIC)[0].sub)])
    upkeep.mend_gate(plane.control)
    assert not plane.gate.broken
    assert plane.gate_state().all_muted == {(LINCOLN, MUSIC)}


def test_a_full_database_refuses_the_command_and_nothing_else(music: Plane) -> None:
    """Nothing of it is kept or published; once there is room, the same command is done."""
    pages = music.store.connection.raw.execute("PRAGMA page_count").fetchone()[0]
    music.store.connection.raw.execute(f"PRAGMA max_page_count = {pages}")
    refused = None
    for i in range(200):
        reply = music.do("rename", id=f"r{i}", name="x" * 40)
        if not reply.ok:
            refused = i, reply
            break
        music.drain()
    assert refused is not None
    i, reply = refused
    assert reply.err == "unavailable"
    assert "full" in (reply.text or "")
    assert music.drain() == []
    with pytest.raises(Unavailable):
        [music.create(None) for _ in range(100)]
    music.store.connection.raw.execute("PRAGMA max_page_count = 1000000")
    assert music.do("rename", id=f"r{i}", name="y").ok


def test_a_long_log_is_compacted(music: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not grow for ever."""
    from bandroom.rooms import gate_log

    monkeypatch.setattr(gate_log, "COMPACT_BEYOND_BYTES", 100)
    for _ in range(5):
        music.do("mute")
        music.do("unmute")
    before = music.gate.file_id
    upkeep.mend_gate(music.control)
    assert music.gate.file_id != before
    assert read_log(music.gate._path.read_bytes()).last_seq == 1
