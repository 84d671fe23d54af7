"""Settings: command line before environment before file; bad ones named."""

from __future__ import annotations

from pathlib import Path

import pytest
from bandroom.settings import BadSettings, load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("BANDROOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument wins over the environment, that over the file in the data folder, that over the default."""
    home = tmp_path / "data"
    home.mkdir()
    (home / "bandroom.toml").write_text("mqtt_port = 1001\nhttp_port = 1002\nmax_rooms = 7\n")
    monkeypatch.setenv("BANDROOM_HOME", str(home))
    monkeypatch.setenv("BANDROOM_MQTT_PORT", "2001")
    monkeypatch.setenv("BANDROOM_HTTP_PORT", "2002")
    settings = load(mqtt_port=3001, http_port=None)
    assert (settings.mqtt_port, settings.http_port, settings.max_rooms) == (3001, 2002, 7)
    assert settings.default_bpm == 120


def test_asked_for_or_default() -> None:
    """It can be told whether a port was asked for: only a default gives way to another."""
    assert "mqtt_port" in load(mqtt_port=1883).model_fields_set
    assert "mqtt_port" not in load(mqtt_port=None).model_fields_set


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mqtt_port", 65536),
        ("mqtt_port", "1e3"),
        ("tempo_workers", 0),
        ("tempo_workers", 10**30),
        ("default_bpm", float("nan")),
        ("default_bpm", -1),
        ("token_ttl_s", 12 * 3600 + 1),
        ("public_url", "http://"),
        ("public_url", "http://x/?q"),
        ("public_url", "//x"),
    ],
)
def test_bad_value(name: str, value: object) -> None:
    """A bad value is refused in one line that names the setting, its variable and the value."""
    with pytest.raises(BadSettings) as caught:
        load(**{name: value})
    text = str(caught.value)
    assert name in text
    assert f"BANDROOM_{name.upper()}" in text
    assert str(value)[:20] in text
    assert "\n" not in text


def test_bad_file(tmp_path: Path) -> None:
    """A file that is no TOML is named, with the place."""
    (tmp_path / "bandroom.toml").write_text("mqtt_port = = 1\n")
    with pytest.raises(BadSettings, match=r"bandroom\.toml.*line 1"):
        load(home=tmp_path)


def test_public_url_has_no_slash_at_its_end() -> None:
    """Links are made by appending to it."""
    assert load(public_url="https://band.example.org/").public_url == "https://band.example.org"
