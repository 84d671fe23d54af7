"""The wheel: what a user gets from it, outside the tree and in an environment with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bandroom.paths import Home

TREE = Path(__file__).parents[2]
StartStack = Callable[..., Any]


def _run(*words: str | Path, cwd: Path, ok: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BANDROOM_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**clean, **more},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not ok or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, TREE, cwd=folder)
    return next(folder.glob("bandroom-*.whl"))


def _environment(folder: Path, what: str) -> Path:
    """A virtual environment with ``what`` installed; its bin folder."""
    venv.create(folder / "venv", with_pip=True)
    bin_folder = folder / "venv" / "bin"
    _run(bin_folder / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", what, cwd=folder)
    return bin_folder


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base package, as a device installs it."""
    return _environment(tmp_path_factory.mktemp("base"), str(wheel))


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the server's parts."""
    return _environment(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


def test_contents(wheel: Path) -> None:
    """The wheel holds both packages, the pages, the broker's files, and nothing built, secret or of the tests."""
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "bandroom/cli/main.py",
        "bandroom_devices/__init__.py",
        "bandroom/web/static/vendor/mqtt.esm.js",
        "bandroom/_broker/mosquitto.conf",
        "bandroom/_broker/gate/Makefile",
        "bandroom/_broker/gate/gate.c",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bandroom", "bandroom_devices"}
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc", ".pem", ".key", ".db"))]


def test_device_needs_no_server_parts(base: Path, tmp_path: Path) -> None:
    """`import bandroom_devices` works in the base installation, which has none of the server's dependencies."""
    code = """
import importlib, sys
import bandroom_devices, bandroom.wire, bandroom.music, bandroom.mqtt
for name in ("fastapi", "uvicorn", "sqlite_utils", "cryptography", "jwt", "structlog", "httpx", "pydantic_settings"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(name + " is installed")
"""
    _run(base / "python", "-P", "-c", code, cwd=tmp_path)


def test_help_in_the_base_installation(base: Path, tmp_path: Path) -> None:
    """`bandroom --help` lists every command."""
    shown = _run(base / "bandroom", "--help", cwd=tmp_path).stdout
    for command in ("up", "doctor", "tenants", "rooms", "devices", "tokens", "listen", "play"):
        assert f"\n  {command} " in shown
    assert _run(base / "bandroom", "--version", cwd=tmp_path).stdout.startswith("bandroom ")


@pytest.mark.parametrize("command", [("up",), ("tenants", "list"), ("rooms", "list"), ("doctor",)])
def test_server_command_names_the_extra(base: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A command of the server says in one line what to install; nothing is made on disk."""
    done = _run(base / "bandroom", *command, cwd=tmp_path, ok=False)
    assert done.returncode == 1
    assert "pip install 'bandroom[server]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_up_from_the_wheel(server: Path, start_stack: StartStack, tmp_path: Path) -> None:
    """With the server extra `bandroom up` works outside the tree: the gate is built from the wheel's own source."""
    folder = tmp_path / "elsewhere"
    home = Home(folder / "data")
    stack = start_stack(home, command=(str(server / "bandroom"),), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert list((tmp_path / "cache").rglob("bandroom_gate.so"))
    assert str(server.parent) in Path(f"/proc/{stack.pid_of('service')}/cmdline").read_text()
    done = _run(server / "bandroom", "tenants", "create", "lincoln", "--json", cwd=folder, BANDROOM_HOME=str(home.root))
    assert "lincoln" in done.stdout
    assert stack.stop() == 0
