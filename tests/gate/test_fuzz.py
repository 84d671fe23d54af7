"""The gate's parsers under libFuzzer, for a bounded time: FUZZ_SECONDS for each target, 60 by default."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from gatekit import build


@pytest.mark.fuzz
def test_fuzz(tmp_path: Path) -> None:
    """Tokens, topics, the log and pings: no crash, no sanitizer's finding, no broken invariant."""
    if not shutil.which("clang"):
        pytest.skip("THE FUZZERS DID NOT RUN: no clang: install the package `clang`")
    build("fuzz", tmp_path, f"SECONDS={os.environ.get('FUZZ_SECONDS', '60')}", f"PYTHON={sys.executable}")


@pytest.mark.soak
def test_ten_thousand_connects_under_valgrind(gate_build: Path) -> None:
    """No leak of the gate's over 10,000 connections of every kind."""
    if not shutil.which("valgrind"):
        pytest.skip("VALGRIND DID NOT RUN: install the package `valgrind`")
    build("leaks", gate_build, "CONNECTS=10000", f"PYTHON={sys.executable}")
