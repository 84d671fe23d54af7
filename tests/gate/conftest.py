"""Fixtures of the gate's tests: the built plugin, two keys, a folder, a broker of each version that can be had."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are not a package: their helpers lie beside them

from gatekit import CACHE, GATE_SOURCE, SANITIZE, Broker, GateHome, Leg, SigningKey, build, build_leg

LEGS = ["installed"] if SANITIZE else ["installed", "2.0.21", "2.1", pytest.param("sanitized", marks=pytest.mark.soak)]


@pytest.fixture(scope="session")
def gate_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gate-build")
    build("all", out, *(["SANITIZE=1"] if SANITIZE else []))
    build("driver", out)
    return out


@pytest.fixture(scope="session", params=LEGS)
def leg(request: pytest.FixtureRequest, gate_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Leg:
    name: str = request.param
    out = gate_build if name == "installed" else tmp_path_factory.mktemp(f"gate-{name}")
    found = build_leg("sanitized" if SANITIZE else name, out)
    if not found:
        pytest.skip(
            f"THIS LEG DID NOT RUN: no mosquitto {name} in {CACHE}: {GATE_SOURCE.name}/fetch-mosquitto.sh brings it"
        )
    return found


@pytest.fixture(scope="session")
def signing_keys() -> tuple[SigningKey, SigningKey]:
    return SigningKey("teacher,student,viewer"), SigningKey("rooms,tempo")


@pytest.fixture
def home(signing_keys: tuple[SigningKey, SigningKey]) -> Iterator[GateHome]:
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:  # short: a socket's path is limited to 107 bytes
        yield GateHome(Path(folder) / "home", *signing_keys)


@pytest.fixture
def start_broker(home: GateHome, leg: Leg) -> Iterator[Callable[..., Broker]]:
    """Starts brokers on `home` and stops them all at the end; a broker that crashed fails the test."""
    started: list[Broker] = []

    def start(wait: bool = True, extra_conf: str = "", host: str = "127.0.0.1") -> Broker:
        broker = Broker(home, leg.program, leg.plugin, extra_conf, host, leg.env)
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
def shared_broker(signing_keys: tuple[SigningKey, SigningKey], leg: Leg) -> Iterator[Broker]:
    """One broker for the tests of a module that leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        home = GateHome(Path(folder) / "home", *signing_keys)
        home.log("open lincoln MUSIC-1234", "open lincoln CHOIR-0001", "open other MUSIC-1234")
        home.log(*(f"limit lincoln {key} 1000000 1000000" for key in ("client_msgs", "client_bytes", "subs")))
        broker = Broker(home, leg.program, leg.plugin, env=leg.env)
        try:
            broker.wait_ready()
            yield broker
        finally:
            code = broker.stop()
        assert code >= 0, f"the broker died of signal {-code}:\n{broker.log}"
