"""The data folder: closed to others, short socket paths, atomic files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bandroom.paths import SOCKET_PATH_LIMIT, Home, write_private


def test_closed_to_others(tmp_path: Path) -> None:
    """Made 0700 whatever the umask, and an open one is closed."""
    old = os.umask(0)
    try:
        (tmp_path / "data").mkdir(mode=0o777)
        home = Home(tmp_path / "data")
        home.create()
    finally:
        os.umask(old)
    for folder in (home.root, home.keys, home.gate, home.broker, home.logs):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    """One that is open and holds what is not ours (`--home /tmp`) is refused and not closed; our own is taken again."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "thesis.odt").touch()
    with pytest.raises(PermissionError, match="thesis"):
        Home(shared).create()
    assert shared.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in shared.iterdir()] == ["thesis.odt"]
    (shared / "thesis.odt").rename(shared / "bandroom.toml")
    Home(shared).create()
    assert shared.stat().st_mode & 0o777 == 0o700


def test_socket_path_fits_below_deep_temporary_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fits as well where the folders for temporary files lie deep themselves."""
    for variable in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(variable, "/" + "deep" * 25)
    monkeypatch.setattr("tempfile.tempdir", "/" + "deep" * 25)
    path = Home("/" + "x" * 120).broker_socket
    assert len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


@pytest.mark.parametrize("length", [10, 60, 90, 120, 400])
def test_socket_path_fits(tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep the folder lies, its socket's path fits a socket address; two folders never share one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)[:40])
    one, two = (Home("/" + "x" * (length // 2) + "/" + name * (length // 2)).broker_socket for name in "yz")
    assert max(len(os.fsencode(path)) for path in (one, two)) <= SOCKET_PATH_LIMIT
    assert one != two


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder means the same to a child that runs elsewhere."""
    monkeypatch.chdir(tmp_path)
    home = Home("data")
    monkeypatch.chdir("/")
    assert home.root == tmp_path / "data"


def test_write_is_atomic_and_private(tmp_path: Path) -> None:
    """A file is replaced as a whole, 0600, and nothing is left beside it, a failure included."""
    path = tmp_path / "file"
    write_private(path, "one")
    before = path.stat().st_ino
    write_private(path, b"two")
    assert path.read_text() == "two"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 (which one is the system's choice)
        write_private(tmp_path / "folder", "x")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]
