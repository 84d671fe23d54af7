"""What the README says to type is typed here, word for word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bandroom.paths import HOME_VARIABLE, Home
from bandroom.runstate import NotRunning, RunInfo
from bandroom.testing import wait_until

TREE = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (TREE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
UP_WITHIN_S = 120.0


def _block(beginning_of_a_line: str) -> str:
    """The one block that has a line with this beginning."""
    found = [block for block in BLOCKS if any(line.startswith(beginning_of_a_line) for line in block.splitlines())]
    assert len(found) == 1, f"the README has {len(found)} blocks with {beginning_of_a_line!r}"
    return found[0]


def _type(block: str, environment: dict[str, str]) -> str:
    """Type a block into a shell that stops at the first failure; what it printed."""
    here = {**environment, "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
    # The tests' own virtual environment is active already, wherever it is.
    script = block.replace(". .venv/bin/activate\n", "")
    done = subprocess.run(
        ["bash", "-euc", script], env=here, cwd=TREE, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{block}\nexit {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_first_room_and_first_device(home: Home, start_stack: Callable[..., Any]) -> None:
    """In a new installation the commands of "The first room" and "The first device" do what they promise."""
    environment = start_stack(home).environment
    said = _type(_block("bandroom tenants create"), environment)
    assert "/join#t=lincoln&c=MUSIC-1234&k=" in said
    assert "Tempo 96" in said
    assert len(re.findall(r"^beat ", said, re.MULTILINE)) >= 5
    said = _type(_block("bandroom devices enroll"), environment)
    assert re.search(r"password +[a-z2-7]{26}\n", said)


def test_no_block_is_left_out() -> None:
    """Each block of the README is run by this file, or is `make` and is run by those who run the tests."""
    rest = [b for b in BLOCKS if not b.startswith((". .venv/bin/activate", "bandroom devices enroll"))]
    known = {"make up", 'make up ARGS="--lan"', "make test", "make demo"}
    for line in "".join(rest).splitlines():
        assert line in known or line.startswith("git clone "), f"nothing runs {line!r} of the README"


@pytest.mark.parametrize("words", [["make", "up"]])
def test_make_up(words: list[str], home: Home) -> None:
    """`make up` is ready within two minutes where everything is installed, and Ctrl-C ends it with nothing left."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BANDROOM_", "MAKE", "MFLAGS", "ARGS"))
    }
    # Any free ports, by the environment: the words stay the README's.
    settings = {HOME_VARIABLE: str(home.root), "BANDROOM_MQTT_PORT": "0", "BANDROOM_HTTP_PORT": "0"}
    process = subprocess.Popen(
        words,
        cwd=TREE,
        env={**clean, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def ready() -> bool:
        if process.poll() is not None:
            return True
        try:
            return RunInfo.read(home).pids.supervisor > 0
        except NotRunning:
            return False

    try:
        wait_until(ready, timeout_s=UP_WITHIN_S, what="make up")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches make and bandroom alike
        said = process.communicate(timeout=30)[0].decode()
    assert re.search(r"web +http://127\.0\.0\.1:\d+", said), said
    assert "Stopped." in said, said
    assert not home.run_json.exists()
