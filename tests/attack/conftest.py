"""The arena: a real broker with the gate, a beat that goes on, victims who listen, and what they must not notice."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("attack", "gate"):  # tests are not a package: their helpers lie beside them
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

from arena import Arena  # noqa: E402
from gatekit import Broker, GateHome, SigningKey, build  # noqa: E402


@pytest.fixture(scope="session")
def attack_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the session; a crash of it fails the run."""
    import shutil

    plugin = tmp_path_factory.mktemp("gate-build")
    build("all", plugin)
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert program, "no mosquitto: install the package `mosquitto`"
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:  # short: a socket's path is limited to 107 bytes
        home = GateHome(Path(folder) / "home", SigningKey("teacher,student,viewer"), SigningKey("rooms,tempo"))
        home.log(*Arena.LOG)
        broker = Broker(home, program, plugin / "bandroom_gate.so")
        broker.wait_ready()
        yield broker
        code = broker.stop()
        assert code >= 0, f"the broker died of signal {-code}:\n{broker.log}"


@pytest.fixture(scope="session")
def lasting_arena(attack_broker: Broker) -> Iterator[Arena]:
    """The victims, connected once for the whole session: no attack may cost one of them the connection."""
    arena = Arena(attack_broker)
    yield arena
    arena.close()


@pytest.fixture
def arena(lasting_arena: Arena) -> Iterator[Arena]:
    """The arena; after the attack the victims have noticed nothing."""
    lasting_arena.begin()
    yield lasting_arena
    lasting_arena.assert_unharmed()
