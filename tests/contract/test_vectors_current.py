"""The vector files are what their scripts make, so that no client is held to an older Python."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["tempo_vectors.py", "clock_vectors.py"])
def test_vector_file_is_up_to_date(name: str):
    """The script makes the very file that is kept, byte for byte."""
    ran = subprocess.run([sys.executable, str(HERE / name), "--check"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
