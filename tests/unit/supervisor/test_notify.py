"""What systemd is told, over a socket as it opens one."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

import pytest
from bandroom.supervisor import notify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_words_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Each telling is one datagram, one word a line, whether the socket has a path or an abstract name."""
    name = str(tmp_path / "notify") if kind == "path" else f"@bandroom-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name if kind == "path" else "\0" + name[1:])
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify.tell("READY=1", "STATUS=here")
        assert systemd.recv(100) == b"READY=1\nSTATUS=here"


def test_without_systemd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a socket nothing is said; one that nobody reads is said on stderr, and is no reason to end."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.tell("READY=1")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify.tell("READY=1")
    assert "READY=1" in capsys.readouterr().err


def test_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life are wanted twice as often as systemd's limit, and only where they are asked of this process."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert notify.watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert notify.watchdog_s() == 15
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_s() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_s() is None
