"""The browser's tempo map and clock filter read what Python's do."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "service/bandroom/web/static/js"


def test_browser_modules_agree_with_the_vectors():
    """Every position, beat, offset and bound in tempo.json and clock.json comes out of the ES modules within 1 µs."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so the browser's modules were NOT compared with the vectors")
    ran = subprocess.run(
        [node, str(HERE / "read_vectors.mjs"), str(MODULES), str(HERE)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 5_000
