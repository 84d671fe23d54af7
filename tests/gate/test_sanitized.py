"""The whole of bandroom on a broker whose gate has the address and undefined-behaviour sanitizers in it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from gatekit import build_leg

TREE = Path(__file__).parents[2]
WHEEL = "tests/integration/test_wheel.py"
WITHIN_S = 1800


@pytest.mark.soak
def test_integration_suite(tmp_path: Path) -> None:
    """Every integration test passes; a sanitizer that finds something ends the broker, and with it a test."""
    leg = build_leg("sanitized", tmp_path)
    assert leg
    folder = tmp_path / "bin"  # of the first mosquitto in the path
    folder.mkdir()
    broker = folder / "mosquitto"
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in leg.env.items())
    broker.write_text(f'#!/bin/sh\nexec env {settings} {leg.program} "$@"\n')
    broker.chmod(0o755)
    output = tmp_path / "integration.log"
    with output.open("wb") as file:
        done = subprocess.run(
            # The wheel builds a gate of its own.
            [sys.executable, "-m", "pytest", "-q", "-n2", "--dist=loadfile", "tests/integration", f"--ignore={WHEEL}"],
            cwd=TREE,
            env={**os.environ, "BANDROOM_GATE": str(leg.plugin), "PATH": f"{folder}:{os.environ['PATH']}"},
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=WITHIN_S,
            check=False,
        )
    shown = output.read_text(errors="replace")
    print(shown[-300:])
    assert done.returncode == 0, shown[-20_000:]
