"""The gate's pure parts by themselves: unit_test.c, with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import leaks
import pytest
from gatekit import GATE_SOURCE, SANITIZE, build

NAMES = [
    "names", "numbers", "patterns", "maps", "tokens", "users", "log_lines", "facts", "buckets", "kept_out",
    "publishing", "addresses", "pings", "identities", "keys_files",
]  # fmt: skip


LINES_OF_CODE = 1367
LINES_OF_A_FILE = 170


@pytest.fixture(scope="session")
def unit_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gate-units")
    build("unit", out, "SANITIZE=1")
    return out / "unit_test"


def test_all_are_run(unit_test: Path) -> None:
    """No test in C is forgotten here."""
    listed = subprocess.run([unit_test], capture_output=True, text=True, check=True).stdout.split()
    assert listed == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_unit(name: str, unit_test: Path) -> None:
    """The named test in C holds, and the sanitizers find nothing."""
    run = subprocess.run(
        [unit_test, name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


def test_no_leaks(gate_build: Path) -> None:
    """Valgrind over clients of every kind: no memory of the gate's is lost, no byte touched that is not ours."""
    if SANITIZE or not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed, or the gate is built with other sanitizers")
    assert leaks.run(gate_build / "bandroom_gate.so", 150) == []


def lines_of_code(text: str) -> int:
    """Lines that are neither blank nor comment."""
    without = re.sub(
        r'("(?:\\.|[^"\\])*")|/\*.*?\*/',
        lambda found: found[1] or re.sub(r"[^\n]", "", found[0]),
        text,
        flags=re.DOTALL,
    )
    return sum(bool(line.strip()) for line in without.split("\n"))


def test_the_gate_stays_small() -> None:
    """What runs for every message in the broker can be read in an hour: the bound only ever falls."""
    lines = {path.name: lines_of_code(path.read_text()) for path in GATE_SOURCE.glob("*.[ch]")}
    assert sum(lines.values()) <= LINES_OF_CODE, lines
    assert max(lines.values()) <= LINES_OF_A_FILE, lines
