"""The browser's tempo map and clock filter read what Python's do."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "service/bandroom/web/static/js"


def test_browser_modules_agree_with_the_vectors(node: str) -> None:
    """Every position, beat, offset and bound in tempo.json and clock.json comes out of the ES modules within 1 µs."""
    ran = subprocess.run(
        [node, str(HERE / "read_vectors.mjs"), str(MODULES), str(HERE)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 5_000
