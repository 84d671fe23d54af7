"""The boards' tempo map and clock filter, run by MicroPython itself, read what the server's do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "devices/micropython"


def test_board_modules_agree_with_the_vectors():
    """Every position, beat, offset and bound in tempo.json and clock.json comes out within 1 µs."""
    micropython = shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")
    if micropython is None:
        pytest.skip("micropython is not installed, so the boards' modules were NOT compared with the vectors")
    ran = subprocess.run(
        [micropython, "-X", "heapsize=32M", str(HERE / "read_vectors_micropython.py"), str(PACKAGE), str(HERE)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout) > 5_000
