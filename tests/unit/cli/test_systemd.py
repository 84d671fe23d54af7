"""The unit: systemd takes it, it is closed in, and it names this installation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bandroom.cli.errors import CliError
from bandroom.cli.systemd import unit

ANALYZE = shutil.which("systemd-analyze")


def _lines(text: str) -> set[str]:
    return set(text.splitlines())


def test_names_this_installation() -> None:
    """Program, user and folder are as asked; a folder of systemd's own making is 0700."""
    text = _lines(unit("band", Path("/var/lib/band"), program=Path("/opt/bandroom/bin/bandroom")))
    assert {"User=band", "ExecStart=/opt/bandroom/bin/bandroom up", "Environment=BANDROOM_HOME=/var/lib/band"} <= text
    assert {"StateDirectory=band", "StateDirectoryMode=0700", "CapabilityBoundingSet="} <= text
    elsewhere = _lines(unit("band", Path("/srv/band"), program=Path("/opt/bandroom/bin/bandroom"), low_ports=True))
    assert {"ReadWritePaths=/srv/band", "AmbientCapabilities=CAP_NET_BIND_SERVICE"} <= elsewhere


@pytest.mark.parametrize(
    ("user", "home"),
    [
        ("root; x", "/var/lib/band"),
        ("", "/var/lib/band"),
        ("band", "/srv/my band"),
        ("band", "/srv/%h"),
        ("band", '/"'),
    ],
)
def test_what_a_unit_cannot_hold(user: str, home: str) -> None:
    """A user or path that would mean something else in a unit is refused, by its name."""
    with pytest.raises(CliError) as refused:
        unit(user, Path(home))
    assert refused.value.exit_code == 2
    assert (user if home == "/var/lib/band" else home) in refused.value.text


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_takes_it(tmp_path: Path) -> None:
    """systemd-analyze finds no mistake in it, and rates its exposure below 2 (of 10)."""
    file = tmp_path / "bandroom.service"
    file.write_text(unit("daemon", Path("/var/lib/bandroom"), program=Path(sys.executable)))
    checked = subprocess.run([str(ANALYZE), "verify", str(file)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--threshold=20", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in rated.stderr:
        pytest.skip("this systemd-analyze rates nothing offline")
    assert rated.returncode == 0, rated.stdout[-500:]
