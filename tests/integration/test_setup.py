"""scripts/setup.sh: nothing twice, and a clear list where it cannot install."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
TOOLS = ("sh", "cat", "cksum", "dirname", "find", "grep", "id", "ls", "printf", "uname")


def _setup(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}
    return subprocess.run(
        [str(TREE / "scripts" / "setup.sh")],
        env={**keep, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not (TREE / ".venv" / ".set-up-for-run").exists(), reason="the tree was not set up by its script")
def test_second_run_does_nothing() -> None:
    """Where all is there a run changes nothing and takes seconds."""
    _setup(os.environ["PATH"])
    stamp = TREE / ".venv" / ".set-up-for-run"
    before, began = stamp.stat().st_mtime_ns, time.monotonic()
    done = _setup(os.environ["PATH"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "setup: ready\n", "")
    assert stamp.stat().st_mtime_ns == before
    assert time.monotonic() - began < 20


def test_lists_what_to_install_by_hand(tmp_path: Path) -> None:
    """Without a compiler, and not allowed to use apt, it names the packages for each system and changes nothing."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    done = _setup(str(tmp_path), BANDROOM_NO_APT="1")
    assert done.returncode == 1
    for word in ("gcc", "make", "apt install", "dnf install", "pacman", "docker compose"):
        assert word in done.stderr
    assert done.stdout == ""
