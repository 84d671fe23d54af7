"""The broker's configuration and the gate's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bandroom.paths import Home
from bandroom.runstate import MqttAddress, NotRunning, RunInfo
from bandroom.supervisor import broker, gate, lock
from bandroom.supervisor.errors import InTheWay, StartError


def _home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "my data")
    home.create()
    return home


def test_conf_is_complete(tmp_path: Path) -> None:
    """Every placeholder is filled in, both listeners are there, nobody is anonymous; only this user can read it."""
    home = _home(tmp_path)
    template = gate.broker_data() / "mosquitto.conf"
    broker.write_conf(home, template, Path("/x/gate.so"), MqttAddress(host="127.0.0.1", port=1883))
    lines = home.broker_conf.read_text().splitlines()
    assert not [line for line in lines if "@" in line]
    assert {"listener 1883 127.0.0.1", f"listener 0 {home.broker_socket}", "allow_anonymous false"} <= set(lines)
    assert {"per_listener_settings false", "persistence false", "set_tcp_nodelay true"} <= set(lines)
    assert ("user root" in lines) == (os.geteuid() == 0)
    assert home.broker_conf.stat().st_mode & 0o777 == 0o600


def test_a_value_cannot_add_a_line() -> None:
    """A path with a line break is refused: it could turn off the gate."""
    with pytest.raises(StartError, match="line break"):
        broker.render("plugin @GATE@\n", {"GATE": "/x\nallow_anonymous true"})


def test_gate_log_is_made_once(tmp_path: Path) -> None:
    """An empty log where there is none; an existing one is never touched."""
    home = _home(tmp_path)
    broker.ensure_gate_log(home)
    first = home.gate_log.read_text()
    assert first.startswith("bandroom-gate 1 ")
    assert len(first.split()[2]) == 16
    broker.ensure_gate_log(home)
    assert home.gate_log.read_text() == first


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("status 7\nlog 00 3\nerror -\nstatus 7\n" + " " * 100, True),
        ("status 7\nlog 00 3\nerror -\nstatus 8\n", False),
        ("status 7\n", False),
        ("", False),
        ("hello\nhello\n", False),
    ],
)
def test_torn_status_is_not_believed(tmp_path: Path, text: str, good: bool) -> None:
    """The gate's report counts only when its first and last line agree."""
    home = _home(tmp_path)
    home.gate_status.write_text(text)
    assert bool(broker.read_status(home)) == good


def test_gate_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BANDROOM_GATE is used as it is; a wrong one is named."""
    home = _home(tmp_path)
    (tmp_path / "gate.so").write_bytes(b"")
    monkeypatch.setenv("BANDROOM_GATE", str(tmp_path / "gate.so"))
    assert gate.find_gate(home) == tmp_path / "gate.so"
    monkeypatch.setenv("BANDROOM_GATE", str(tmp_path / "none.so"))
    with pytest.raises(StartError, match=r"none\.so"):
        gate.find_gate(home)


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the gate must be built and there is no compiler, the message says what to install."""
    monkeypatch.delenv("BANDROOM_GATE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="make setup") as caught:
        gate.find_gate(_home(tmp_path))
    assert "gcc" in str(caught.value)


def test_cache_open_to_others_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker loads what lies in the cache, so a cache that others can write to is passed over."""
    monkeypatch.delenv("BANDROOM_GATE", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (cache / "bandroom" / "gate").mkdir(parents=True)
    (cache / "bandroom" / "gate").chmod(0o777)
    home = _home(tmp_path)
    assert home.gate in gate.find_gate(home).parents


def test_one_holder_of_the_folder(tmp_path: Path) -> None:
    """The second is refused while the first holds the folder, and served after it."""
    home = _home(tmp_path)
    held = lock.take(home)
    with pytest.raises(InTheWay, match="my data"):
        lock.take(home)
    os.close(held)
    os.close(lock.take(home))


def test_leftovers_never_hit_a_stranger(tmp_path: Path) -> None:
    """A stale run.json whose ids now belong to others (or to us, in a container) costs nobody's life."""
    home = _home(tmp_path)
    me, parent = os.getpid(), os.getppid()
    home.run_json.write_text(
        '{"mqtt":{"host":"h","port":1},"http":{"url":"u"},'
        f'"pids":{{"supervisor":1,"broker":0,"service":{parent},"tempo":[{me},1,-1]}}}}'
    )
    lock.clear_leftovers(home)
    with pytest.raises(NotRunning):
        RunInfo.read(home)
