"""The arena: a real broker with the gate, a beat that goes on, victims who listen, and what they must not notice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in ("attack", "gate"):  # tests are not a package: their helpers lie beside them
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

from arena import Arena, running  # noqa: E402


@pytest.fixture(scope="session")
def lasting_arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The victims, connected once for the whole session: no attack may cost one of them the connection."""
    with running(tmp_path_factory.mktemp("gate-build"), Arena.LOG) as broker:
        arena = Arena(broker)
        yield arena
        arena.close()


@pytest.fixture
def arena(lasting_arena: Arena) -> Iterator[Arena]:
    """The arena; after the attack the victims have noticed nothing."""
    lasting_arena.begin()
    yield lasting_arena
    lasting_arena.assert_unharmed()
