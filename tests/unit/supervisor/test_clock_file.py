"""Server time comes from one file a boot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bandroom.clock import ClockFileError, ServerClock, boot_id, ensure_clock_file
from bandroom.testing import ManualClock


def test_reads_as_time_since_the_epoch(tmp_path: Path) -> None:
    """Fixed from wall time: within 50 ms of it right after the file was written."""
    clock = ensure_clock_file(tmp_path / "clock")
    assert abs(clock.now_us() - time.time_ns() // 1000) < 50_000


def test_written_once_a_boot(tmp_path: Path) -> None:
    """A file of this boot is kept, whatever the wall clock says by now; all readers get its offset."""
    path = tmp_path / "clock"
    path.write_text(f"{boot_id()} 12345\n")
    assert ensure_clock_file(path).offset_us == 12345
    assert ServerClock.from_file(path) == ServerClock(12345)


def test_of_an_earlier_boot(tmp_path: Path) -> None:
    """After a reboot readers refuse the old file, and the supervisor renews it; only this user can read it."""
    path = tmp_path / "clock"
    path.write_text("00000000-0000-0000-0000-000000000000 12345\n")
    with pytest.raises(ClockFileError, match="earlier boot"):
        ServerClock.from_file(path)
    assert ensure_clock_file(path).offset_us != 12345
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "x", "{boot}", "{boot} ", "{boot} 1", "{boot} 1e5\n", "{boot} 1 2\n", "\0\n"])
def test_damaged(tmp_path: Path, text: str) -> None:
    """A torn or foreign file is never half believed."""
    path = tmp_path / "clock"
    path.write_text(text.format(boot=boot_id()) if "{" in text else text)
    with pytest.raises(ClockFileError):
        ServerClock.from_file(path)


def test_missing(tmp_path: Path) -> None:
    """Without the file the error says who writes it."""
    with pytest.raises(ClockFileError, match="bandroom up"):
        ServerClock.from_file(tmp_path / "clock")


def test_manual_clock() -> None:
    """The test clock stands still until told, and only `set` goes backwards."""
    clock = ManualClock(5)
    assert clock.now_us() == clock.now_us() == 5
    assert clock.advance(10) == 15
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    clock.set(3)
    assert clock.now_us() == 3
