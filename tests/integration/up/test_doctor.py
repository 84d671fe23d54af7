"""Every check of `bandroom doctor` against something that is wrong: it fails, says what, and what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bandroom.certificate import read_pair
from bandroom.cli import doctor
from bandroom.cli import doctor_machine as machine
from bandroom.cli.doctor_machine import Finding, Ill
from bandroom.paths import Home, write_private
from bandroom.runstate import HttpAddress, MqttAddress, Pids, RunInfo
from bandroom.supervisor.certificate import install

from .certificates import NAME, Authority


def _ill(look: Callable[[], object], *names: str) -> Ill:
    """What the check says is wrong; all of ``names`` must be in it, and some advice beside it."""
    with pytest.raises(Ill) as found:
        look()
    assert all(name in found.value.text for name in names), found.value.text
    assert found.value.advice
    return found.value


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is not there, is too old, says nothing, or cannot run."""
    monkeypatch.setenv("BANDROOM_MOSQUITTO", str(tmp_path / "nowhere"))
    _ill(machine.broker_program, "nowhere")
    for text, names in (
        ("echo mosquitto version 1.6.9", "1.6.9"),
        ("echo something else", "does not say its version"),
    ):
        monkeypatch.setenv("BANDROOM_MOSQUITTO", _program(tmp_path / "broker", text))
        _ill(machine.broker_program, names)
    monkeypatch.setenv("BANDROOM_MOSQUITTO", _program(tmp_path / "broker", "echo mosquitto version 2.0.22"))
    assert "2.0.22" in machine.broker_program()


def test_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that was named and is not there."""
    monkeypatch.setenv("BANDROOM_GATE", str(tmp_path / "gate.so"))
    _ill(lambda: machine.gate_library(Home(tmp_path)), "gate.so")


def test_folder(home: Home) -> None:
    """A folder, and a file deep in it, that others can read."""
    assert "not there yet" in machine.folder(home)
    home.create()
    write_private(home.owner_token, "x")
    assert "closed" in machine.folder(home)
    home.owner_token.chmod(0o640)
    assert "chmod" in _ill(lambda: machine.folder(home), "owner.token", "read by other users").advice
    home.owner_token.chmod(0o600)
    if os.getuid() == 0:
        return
    home.root.chmod(0o755)
    _ill(lambda: machine.folder(home), str(home.root))


def test_disk(home: Home) -> None:
    """A disk with less room than is wanted; one with enough is named by its room."""
    assert "GB free" in machine.disk(home)
    _ill(lambda: machine.disk(home, least_bytes=1 << 62), "MB left")


@pytest.mark.parametrize(("options", "names"), [("size=1m,ro", "Read-only"), ("size=4k", "No space left")])
def test_disk_that_cannot_be_written(tmp_path: Path, options: str, names: str) -> None:
    """A read-only and a full disk, seen by the whole command."""
    disk = tmp_path / "disk"
    disk.mkdir()
    # A page of 4 KB is all that the small one has.
    script = 'mount -t tmpfs -o "$1" none "$2" || exit 77; [ "$1" = size=4k ] && echo x > "$2/x"; shift 2; exec "$@"'
    command = [*_command(), "doctor", "--home", str(disk / "data")]
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", options, str(disk), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode == 77 or "unshare" in ran.stderr:
        pytest.skip("mounting needs more rights than this user has")
    assert ran.returncode == 1, ran.stdout
    line = next(line for line in ran.stdout.splitlines() if line.startswith("FAIL  disk"))
    assert names in line


def test_clock(home: Home) -> None:
    """A clock file that is missing or damaged."""
    home.create()
    _ill(lambda: machine.clock(home), "clock")
    write_private(home.gate_clock, "noon\n")
    _ill(lambda: machine.clock(home), "clock")


def test_ports(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that was asked for and is taken is a failure; a default one that is taken is only told."""
    home.create()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("BANDROOM_MQTT_PORT", str(port))
        monkeypatch.setenv("BANDROOM_HTTP_PORT", "0")
        _ill(lambda: machine.free_ports(home), f"port {port}", "mqtt_port")
    assert str(port) in machine.free_ports(home)
    monkeypatch.setenv("BANDROOM_MQTT_PORT", "seventy")
    _ill(lambda: machine.free_ports(home), "seventy")


def test_ports_are_looked_at_where_they_will_be(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    """With `lan` that is the network's address; with a certificate only the encrypted ones are there. An address that
    is not this machine's is told as such, not as a port that is taken.
    """
    home.create()
    port, files = free_port(), Authority(tmp_path / "certificates").sign("band", NAME)
    monkeypatch.setattr(machine, "lan_address", lambda: "127.0.0.5")
    monkeypatch.setenv("BANDROOM_LAN", "true")
    monkeypatch.setenv("BANDROOM_MQTT_PORT", str(port))
    monkeypatch.setenv("BANDROOM_HTTP_PORT", "0")
    with socket.create_server(("127.0.0.5", port)):
        _ill(lambda: machine.free_ports(home), f"port {port}", "mqtt_port")
        monkeypatch.setenv("BANDROOM_TLS_CERT", str(files.certificate))
        monkeypatch.setenv("BANDROOM_TLS_KEY", str(files.key))
        monkeypatch.setenv("BANDROOM_HTTPS_PORT", "0")
        assert str(port) in machine.free_ports(home)
        monkeypatch.setenv("BANDROOM_MQTTS_PORT", str(port))
        _ill(lambda: machine.free_ports(home), f"port {port}", "mqtts_port")
        monkeypatch.setenv("BANDROOM_TLS_HOST", "127.0.0.1")
        assert str(port) in machine.free_ports(home)
    monkeypatch.setenv("BANDROOM_TLS_HOST", "192.0.2.1")
    _ill(lambda: machine.free_ports(home), f"192.0.2.1:{port} (mqtts_port) cannot be listened on")


def test_an_owners_token_that_is_gone(start_stack: Callable[..., Any], home: Home) -> None:
    """One finding among the others, not the end of the diagnosis."""
    start_stack(home)
    home.owner_token.unlink()
    found = {finding.name: finding for finding in doctor.diagnose(home)}
    assert found["web port"].ok
    assert "owner.token" in found["test room"].text
    assert found["test room"].advice


def test_certificate(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a start: files that cannot be used. While it runs: an end that is near, and a status that is gone."""
    home.create()
    authority = Authority(tmp_path / "certificates")
    soon = authority.sign("soon", NAME, ends=timedelta(days=3, hours=1))
    assert machine.certificate_files(home) is None
    monkeypatch.setenv("BANDROOM_TLS_CERT", str(soon.certificate))
    _ill(lambda: machine.certificate_files(home), "tls_key")
    monkeypatch.setenv("BANDROOM_TLS_KEY", str(authority.sign("other", NAME).key))
    _ill(lambda: machine.certificate_files(home), "does not belong to")
    _ill(lambda: machine.certificate_in_use(home), "status.json")
    install(home, read_pair(soon.certificate, soon.key))
    assert "renew" in _ill(lambda: machine.certificate_in_use(home), "ends in 3 days").advice


def _info(mqtt: int, http: int = 1) -> RunInfo:
    return RunInfo(
        mqtt=MqttAddress(host="127.0.0.1", port=mqtt),
        http=HttpAddress(url=f"http://127.0.0.1:{http}"),
        pids=Pids(supervisor=1, broker=1, service=1, tempo=(1,)),
    )


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """A port that reads once, answers, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(4096)
                accepted.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_mqtt_port(free_port: Callable[[], int]) -> None:
    """Nobody there; something else there; a broker that lets strangers in."""
    _ill(lambda: doctor.anonymous_is_refused(_info(free_port())), "no broker answers")
    with _answering(b"SSH-2.0-x\r\n") as port:
        _ill(lambda: doctor.anonymous_is_refused(_info(port)), "no MQTT broker")
    with _answering(b"\x20\x02\x00\x00") as port:
        _ill(lambda: doctor.anonymous_is_refused(_info(port)), "strangers")


def test_gate_report(home: Home) -> None:
    """A gate that does not report, and one that reports an error."""
    home.create()
    _ill(lambda: doctor.gate_is_well(home), "does not report")
    write_private(home.gate_status, "status 7\nlog abc 3\nerror line 4: no such verb\nconnections 0\nstatus 7\n")
    _ill(lambda: doctor.gate_is_well(home), "line 4")


def test_web_port(free_port: Callable[[], int]) -> None:
    """Nobody there; a service that is not ready, with its own words."""
    _ill(lambda: doctor.web_answers(_info(1, free_port())), "nothing answers")
    body = b'{"ready":false,"store":"the disk is full"}'
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    with _answering(head + body) as port:
        _ill(lambda: doctor.web_answers(_info(1, port)), "the disk is full")


def test_no_beat(start_stack: Callable[..., Any], home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a worker that hangs no beat comes over any door: both are named, each with where to look."""
    stack = start_stack(home)
    monkeypatch.setattr(doctor, "BEAT_WITHIN_S", 0.7)
    found: dict[str, Finding] = {}
    for finding in doctor.diagnose(home):
        if finding.name == "web port":
            os.kill(stack.pid_of("tempo"), 19)
        found[finding.name] = finding
    for name in ("beat over TCP", "beat over web"):
        assert not found[name].ok
        assert "no beat" in found[name].text
        assert "logs/" in found[name].advice


def _command() -> list[str]:
    import sys

    return [sys.executable, "-P", "-m", "bandroom.cli"]
