"""What docs/devices.md shows is run as it stands, and the kit needs nothing of the server's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bandroom.testing import wait_until

TREE = Path(__file__).resolve().parents[3]
DOCS = TREE / "docs" / "devices.md"
SERVER_ONLY = (
    "fastapi", "uvicorn", "httpx", "jwt", "cryptography", "sqlite_utils", "structlog", "typer", "rich", "segno",
    "pydantic_settings", "prometheus_client", "psutil", "websockets", "mido",
)  # fmt: skip


def drum_program() -> str:
    """The first Python block of the page."""
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_forty_lines_work(school: Any, tmp_path: Path) -> None:
    """Saved and run as the page says: it joins, plays on the beat where others hear it, and ends with Ctrl-C."""
    program = tmp_path / "drum.py"
    program.write_text(drum_program())
    assert len(drum_program().strip().splitlines()) <= 45
    room = school.room(bpm=240)
    with (tmp_path / "out").open("wb") as out:
        drum = subprocess.Popen(
            [sys.executable, "-u", str(program), school.stack.url, school.tenant, room], stdout=out, stderr=out
        )
        try:
            ran = school.stack.run(
                "listen",
                "--tenant",
                school.tenant,
                "--room",
                room,
                "--what",
                "notes",
                "--count",
                "4",
                "--seconds",
                "20",
            )
            assert ran.code == 0, ran.err + (tmp_path / "out").read_text()
            assert "Drum" in ran.out
            wait_until(lambda: (tmp_path / "out").read_text().count("at 240 bpm") >= 2, what="two beats printed")
        finally:
            drum.send_signal(signal.SIGINT)
            assert drum.wait(10) == 0, (tmp_path / "out").read_text()


def test_the_forty_lines_say_what_is_wrong() -> None:
    """A wrong address ends in one line."""
    words = ["http://127.0.0.1:9", "lincoln", "MUSIC-1234"]
    done = subprocess.run(
        [sys.executable, "-c", drum_program(), *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("drum: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_importing_the_kit_needs_none_of_the_servers_packages() -> None:
    """Every module of the kit but the demo's picture imports where only the base install is there."""
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import importlib, pkgutil, bandroom_devices
for found in pkgutil.walk_packages(bandroom_devices.__path__, "bandroom_devices."):
    if not found.name.endswith("demo.show"):
        importlib.import_module(found.name)
server = [m for m in sys.modules if m.startswith("bandroom.") and m.split(".")[1] not in ("wire", "music", "mqtt")]
assert not server, server
print("fine")
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BANDROOM_")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.stdout == "fine\n", done.stderr
