"""The gate's pure parts by themselves: unit_test.c, with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from gatekit import build

NAMES = [
    "names", "numbers", "splitting", "maps", "json", "log_lines", "facts", "buckets", "kept_out", "pings", "identities", "expiry",
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
    run = subprocess.run([unit_test, name], capture_output=True, text=True, check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"})
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
