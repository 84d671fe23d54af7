"""The gate's pure parts by themselves: unit_test.c, with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import leaks
import pytest
from gatekit import SANITIZE, build

NAMES = [
    "names", "numbers", "splitting", "maps", "json", "log_lines", "facts", "buckets", "kept_out", "addresses", "pings",
    "identities", "expiry",
]  # fmt: skip


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
