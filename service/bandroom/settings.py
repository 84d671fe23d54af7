"""Settings: from the command line, the environment (``BANDROOM_…``) and ``bandroom.toml``, in this order."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bandroom.paths import DEFAULT_HOME, Home

Port = Annotated[int, Field(ge=0, le=65535)]


def _public_url(value: str) -> str:
    """An address that links can be built on: http(s), a host, no query; without the slash at its end."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it must look like https://band.example.org")
    return value.rstrip("/")


def _listed(value: Any) -> Any:
    """A list may come as words with commas between, as in an environment variable."""
    return [part for word in value.split(",") if (part := word.strip())] if isinstance(value, str) else value


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks. All the world is no proxy."""
    for part in value:
        if ipaddress.ip_network(part).prefixlen == 0:
            raise ValueError("this would let everybody claim any address: name the proxy's own")
    return value


class Settings(BaseSettings):
    """Everything that can be set, with its default."""

    model_config = SettingsConfigDict(env_prefix="BANDROOM_", extra="ignore", frozen=True)

    home: Path = Path(DEFAULT_HOME)
    """The data folder."""
    mqtt_host: str = "127.0.0.1"
    """Address that the broker listens on."""
    mqtt_port: Port = 1883
    """0 takes any free one."""
    http_host: str = "127.0.0.1"
    http_port: Port = 8080
    public_url: Annotated[str, AfterValidator(_public_url)] | None = None
    """Address in links and QR codes, where it is not the one that is listened on (a proxy, a name)."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_proxies)] = ()
    """Addresses or networks (``127.0.0.1, 10.0.0.0/24``) of proxies whose ``X-Forwarded-For`` says who is asking."""
    lan: bool = False
    """Listen on this machine's address in the local network, so that phones can join."""
    tls_cert: Path | None = None
    """Certificate with its chain (PEM), for HTTPS and MQTT over TLS; read again when it changes."""
    tls_key: Path | None = None
    """Its private key (PEM, without a passphrase), closed to other users."""
    tls_host: str | None = None
    """Address that the encrypted listeners are on; by default the local network's with ``lan``, else loopback."""
    https_port: Port = 8443
    mqtts_port: Port = 8883
    external_broker: bool = False
    """The broker runs elsewhere (in a container of its own) on the same data folder: configure it, don't start it."""
    mqtt_listen: str | None = None
    """Address in the broker's configuration, where that is not ``mqtt_host``: every one, inside a container."""
    tempo_workers: int = Field(default=1, ge=1, le=64)
    """Processes that share the rooms and publish their beats."""

    max_rooms: int = Field(default=100, ge=1, le=100_000)
    """Open rooms a tenant."""
    default_bpm: float = Field(default=120, ge=20, le=400)
    """Counted beats a minute of a new room."""
    default_meter: str = "4/4"
    idle_close_s: int = Field(default=3600, ge=60)
    """A room without anybody is closed after this many seconds."""
    token_ttl_s: int = Field(default=12 * 3600, ge=60, le=12 * 3600)
    """Life of a token for people, in seconds."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The file lies in the data folder, and which folder that is comes from the other two.
        given = init_settings()
        home = given.get("home") or env_settings().get("home") or DEFAULT_HOME
        file = TomlConfigSettingsSource(settings_cls, toml_file=Home(home).settings_file)
        return init_settings, env_settings, file

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key, absolute; None without. Raises ``BadSettings`` for one without the other."""
        match self.tls_cert, self.tls_key:
            case None, None:
                return None
            case Path() as certificate, Path() as key:
                return certificate.expanduser().absolute(), key.expanduser().absolute()
            case certificate, _:
                given, missing = ("tls_cert", "tls_key") if certificate else ("tls_key", "tls_cert")
                raise BadSettings(f"{given} needs {missing} (BANDROOM_{missing.upper()}) beside it")

    @property
    def home_dir(self) -> Home:
        return Home(self.home)


class BadSettings(ValueError):
    """A setting has a value that it cannot have; the text says which, and where it came from."""


def load(**given: Any) -> Settings:
    """The settings, with ``given`` (the command line; None counts as not given) before all else.

    Raises ``BadSettings`` with one line on the first bad value.
    """
    from pydantic import ValidationError

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{Home(given.get('home') or DEFAULT_HOME).settings_file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        value = first.get("input")
        why = first["msg"].removeprefix("Value error, ").lower()
        raise BadSettings(f"{name} (BANDROOM_{name.upper()}) cannot be {str(value)[:60]!r}: {why}") from error
