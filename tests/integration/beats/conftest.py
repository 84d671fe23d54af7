"""A bare broker for what does not depend on the gate."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))  # bench/ is no installed package

from bench.broker import Broker, running


@pytest.fixture
def bare_broker(tmp_path: Path) -> Iterator[Broker]:
    """A Mosquitto without access control, ended with the test."""
    with running(tmp_path / "broker") as broker:
        yield broker
