"""The command's root: every mistake of a user is one line and an exit code, in JSON where JSON was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bandroom.cli.errors import CliError, ExitCode


def _run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "bandroom.cli", *words],
        env={"BANDROOM_HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nonsense",), 2),
        (("--bogus",), 2),
        (("rooms",), 2),
        (("rooms", "nonsense"), 2),
        (("rooms", "list", "--bogus"), 2),
        (("rooms", "show"), 2),
        (("tenants", "create"), 2),
        (("tenants", "create", "lincoln"), 3),
        (("tenants", "list"), 3),
        (("rooms", "list"), 3),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_one_line_and_a_code(tmp_path: Path, words: tuple[str, ...], code: int, as_json: bool) -> None:
    """Wrong usage is 2, nothing running is 3; stderr holds one line, or one JSON object with `err` and `text`."""
    done = _run(*words, *(["--json"] if as_json else []), home=tmp_path / "none")
    if words == ("rooms",) and not as_json:
        assert "Usage:" in done.stderr + done.stdout
        return
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    if as_json:
        assert set(json.loads(done.stderr)) == {"err", "text"}
    else:
        assert done.stderr.startswith("bandroom: ")
    assert not (tmp_path / "none").exists()


def test_the_list_of_commands_fits_a_terminal(tmp_path: Path) -> None:
    """Eighty columns, as where nothing else is known: what a command does is not cut short."""
    done = _run("--help", home=tmp_path)
    _, _, commands = done.stdout.partition("Commands:")
    assert "restore" in commands
    assert "..." not in commands


def test_help_without_arguments(tmp_path: Path) -> None:
    """Without arguments the command shows its help, as wrong usage."""
    done = _run(home=tmp_path)
    assert done.returncode == 2
    assert "Commands:" in done.stderr


def test_reader_that_goes_away(tmp_path: Path) -> None:
    """`bandroom --help | head -1` is no reason for a traceback."""
    line = f"{sys.executable} -P -m bandroom.cli --help | head -1"
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("err", "code"),
    [
        ("bad_request", ExitCode.USAGE),
        ("forbidden", ExitCode.REFUSED),
        ("not_running", ExitCode.NOT_RUNNING),
        ("unavailable", ExitCode.NOT_RUNNING),
        ("not_found", ExitCode.FAILED),
        ("conflict", ExitCode.FAILED),
        ("limit", ExitCode.FAILED),
    ],
)
def test_codes(err: str, code: ExitCode) -> None:
    """The exit code follows from the error's code."""
    assert CliError("x", err=err).exit_code == code
