"""The Arduino sketch's time and beats, compiled for this computer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]
SKETCH = TREE / "devices" / "arduino" / "bandroom_drum"


def test_the_sketchs_clock_and_beats_keep_their_claims(tmp_path: Path) -> None:
    """Each claim in test_bandroom.cpp holds, compiled as C++11 (what boards have) with every warning an error."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here, so the Arduino sketch's clock and beats were NOT tested")
    program = tmp_path / "test"
    source = Path(__file__).parent / "arduino" / "test_bandroom.cpp"
    options = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", f"-I{SKETCH}"]
    built = subprocess.run(
        [compiler, *options, str(source), "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout == "ok\n", ran.stdout + ran.stderr
