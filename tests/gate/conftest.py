"""Fixtures of the gate's tests: the built plugin, two keys, a folder, a broker."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
sys.path.insert(0, str(Path(__file__).parent))  # tests are not a package: their helpers lie beside them

from gatekit import Broker, GateHome, SigningKey, build  # noqa: E402


@pytest.fixture(scope="session")
def gate_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gate-build")
    build("all", out)
    build("driver", out)
    return out


@pytest.fixture(scope="session")
def mosquitto() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert found, "no mosquitto: install the package `mosquitto`"
    return found


@pytest.fixture(scope="session")
def signing_keys() -> tuple[SigningKey, SigningKey]:
    return SigningKey("teacher,student,viewer"), SigningKey("rooms,tempo")


@pytest.fixture
def home(signing_keys: tuple[SigningKey, SigningKey]) -> Iterator[GateHome]:
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:  # short: a socket's path is limited to 107 bytes
        yield GateHome(Path(folder) / "home", *signing_keys)



@pytest.fixture
def start_broker(home: GateHome, gate_build: Path, mosquitto: str) -> Iterator[Callable[..., Broker]]:
    """Starts brokers (by default on `home`) and stops them all at the end; a broker that crashed fails the test."""
    started: list[Broker] = []

    def start(wait: bool = True, extra_conf: str = "") -> Broker:
        broker = Broker(home, mosquitto, gate_build / "bandroom_gate.so", extra_conf)
        started.append(broker)
        if wait:
            broker.wait_ready()
        return broker

    yield start
    for broker in started:
        code = broker.stop()
        assert code >= 0, f"the broker died of signal {-code}:\n{broker.log}"


@pytest.fixture
def broker(home: GateHome, start_broker: Callable[..., Broker]) -> Broker:
    home.log("open lincoln MUSIC-1234", "open lincoln CHOIR-0001", "open other MUSIC-1234")
    return start_broker()


@pytest.fixture(scope="module")
def shared_broker(signing_keys: tuple[SigningKey, SigningKey], gate_build: Path, mosquitto: str) -> Iterator[Broker]:
    """One broker for the tests of a module that leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        home = GateHome(Path(folder) / "home", *signing_keys)
        home.log("open lincoln MUSIC-1234", "open lincoln CHOIR-0001", "open other MUSIC-1234")
        broker = Broker(home, mosquitto, gate_build / "bandroom_gate.so")
        try:
            broker.wait_ready()
            yield broker
        finally:
            code = broker.stop()
        assert code >= 0, f"the broker died of signal {-code}:\n{broker.log}"
