"""The arena: a real broker with the gate, a beat that goes on, victims who listen, and what they must not notice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("attack", "gate"):  # tests are not a package: their helpers lie beside them
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

from arena import Arena, running  # noqa: E402
from gatekit import CACHE, Leg, build_leg  # noqa: E402

LEGS = ["installed", *(pytest.param(name, marks=pytest.mark.soak) for name in ("sanitized", "2.0.21", "2.1"))]
"""`make test` attacks the installed broker; `make soak` the others, too, and the gate with ASan and UBSan in it."""


@pytest.fixture(scope="session", params=LEGS)
def leg(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Leg:
    """The broker that is attacked."""
    found = build_leg(request.param, tmp_path_factory.mktemp("gate-build"))
    if not found:
        pytest.skip(f"THIS LEG DID NOT RUN: no mosquitto {request.param} in {CACHE}: fetch-mosquitto.sh brings it")
    return found


@pytest.fixture(scope="session")
def lasting_arena(leg: Leg) -> Iterator[Arena]:
    """The victims, connected once for the whole session: no attack may cost one of them the connection."""
    with running(leg, Arena.LOG) as broker:
        arena = Arena(broker)
        yield arena
        arena.close()


@pytest.fixture
def arena(lasting_arena: Arena) -> Iterator[Arena]:
    """The arena; after the attack the victims have noticed nothing."""
    lasting_arena.begin()
    yield lasting_arena
    lasting_arena.assert_unharmed()
