"""Logs are kept within bounds while those who write go on writing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bandroom.supervisor.child import open_log
from bandroom.supervisor.logs import aside, rotate, rotate_all


def test_lines_go_aside_and_writing_goes_on(tmp_path: Path) -> None:
    """A log that is too long is put aside whole, the older one is given up, and its writer goes on at the beginning."""
    log = tmp_path / "part.log"
    handle = open_log(log)
    try:
        for text in (b"first\n" * 20, b"second\n" * 20):
            os.write(handle, text)
            assert rotate(log, most_bytes=100) == ""
            assert aside(log).read_bytes() == text
            assert log.read_bytes() == b""
        os.write(handle, b"third\n")
        assert rotate(log, most_bytes=100) == ""
    finally:
        os.close(handle)
    assert log.read_bytes() == b"third\n"
    assert stat.S_IMODE(aside(log).stat().st_mode) == 0o600


@contextmanager
def _files_of_at_most(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_room_for_a_copy(tmp_path: Path) -> None:
    """Where the copy cannot be written the log is emptied all the same, and that is said."""
    log = tmp_path / "part.log"
    log.write_bytes(b"x" * 200_000)
    with _files_of_at_most(10_000):
        said = rotate(log, most_bytes=100)
    assert os.strerror(errno.EFBIG) in said
    assert log.read_bytes() == b""
    assert not aside(log).exists()


def test_every_log_of_the_folder(tmp_path: Path) -> None:
    """All logs are looked at, what was put aside is not, and a log that cannot be kept short is named."""
    for name in ("broker", "service"):
        (tmp_path / f"{name}.log").write_bytes(b"x" * 200)
    (tmp_path / "folder.log").mkdir()
    said = list(rotate_all(tmp_path, most_bytes=100))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "broker.log",
        "broker.log.1",
        "folder.log",
        "service.log",
        "service.log.1",
    ]
    assert [line for line in said if "folder.log" in line] == said


@pytest.mark.parametrize("name", ["missing.log"])
def test_one_that_is_not_there(tmp_path: Path, name: str) -> None:
    """A part that has not written yet has no log, which is no trouble."""
    assert rotate(tmp_path / name) == ""
