"""Fixtures of the gate's tests: the built plugin, two keys, a folder, a broker of each version that can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are not a package: their helpers lie beside them

from gatekit import GATE_SOURCE, SANITIZE, Broker, GateHome, Leg, SigningKey, build

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bandroom" / "mosquitto"
LEGS = ["installed"] if SANITIZE else ["installed", "2.0.21", "2.1"]


def sanitizer_env() -> dict[str, str]:
    """What the broker, itself not built with the sanitizers, needs to load a plugin that is."""
    found = [
        subprocess.check_output(["cc", f"-print-file-name={lib}.so"], text=True).strip()
        for lib in ("libasan", "libubsan")
    ]
    return {
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "abort_on_error=1",
    }


@pytest.fixture(scope="session")
def gate_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gate-build")
    build("all", out, *(["SANITIZE=1"] if SANITIZE else []))
    build("driver", out)
    return out


@pytest.fixture(scope="session", params=LEGS)
def leg(request: pytest.FixtureRequest, gate_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Leg:
    name: str = request.param
    if name == "installed":
        found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        assert found, "no mosquitto: install the package `mosquitto`"
        return Leg(name, found, gate_build / "bandroom_gate.so", sanitizer_env() if SANITIZE else {})
    there = sorted(CACHE.glob(f"{name}*/bin/mosquitto"))
    if not there:
        pytest.skip(
            f"THIS LEG DID NOT RUN: no mosquitto {name} in {CACHE}: {GATE_SOURCE.name}/fetch-mosquitto.sh brings it"
        )
    out = tmp_path_factory.mktemp(f"gate-{name}")
    build("all", out, f"INCLUDE={there[0].parents[1] / 'include'}")
    return Leg(name, str(there[0]), out / "bandroom_gate.so", {})


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
