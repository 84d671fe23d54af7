"""One set of keys for all tests here: making RSA keys takes a while."""

from pathlib import Path

import pytest
from bandroom.auth.keys import KeyRing, ensure_keys
from bandroom.paths import Home


@pytest.fixture(scope="session")
def keyed_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home") / "data")
    home.create()
    ensure_keys(home)
    return home


@pytest.fixture(scope="session")
def keys(keyed_home: Home) -> KeyRing:
    return ensure_keys(keyed_home)


@pytest.fixture
def empty_home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "data")
    home.create()
    return home
