"""The two files that tell others what runs where: run.json (for scripts) and state.json (for our own parts)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from bandroom.paths import Home, write_private


class NotRunning(RuntimeError):
    """Nothing runs on this data folder."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MqttAddress(_Frozen):
    """Where the broker's TCP listener is."""

    host: str
    port: int


class HttpAddress(_Frozen):
    """Where the web address is, as programs on this machine reach it."""

    url: str


class TlsAddress(_Frozen):
    """Where the encrypted listeners are; ``name`` is the host that the certificate is for, as clients name it."""

    host: str
    https_port: int
    mqtts_port: int
    name: str

    @property
    def url(self) -> str:
        """The web address, by the certificate's name."""
        return f"https://{_bracketed(self.name)}:{self.https_port}"


class Pids(_Frozen):
    """Process ids of the parts; ``tempo`` in the order of the workers' indices, ``broker`` 0 where it is not ours."""

    supervisor: int
    broker: int
    service: int
    tempo: tuple[int, ...]


class RunInfo(_Frozen):
    """run.json: exists while everything runs, and is written anew when a part was restarted."""

    mqtt: MqttAddress
    http: HttpAddress
    pids: Pids
    tls: TlsAddress | None = None
    """Where a certificate is in use."""

    @classmethod
    def read(cls, home: Home) -> RunInfo:
        """The handles of what runs on ``home``. Raises ``NotRunning`` if nothing does."""
        try:
            return cls.model_validate_json(home.run_json.read_bytes())
        except FileNotFoundError:
            raise NotRunning(f"nothing runs on {home.root}; start it with `bandroom up`") from None
        except ValidationError as error:
            raise NotRunning(f"{home.run_json} is damaged; start `bandroom up` again") from error

    def write(self, home: Home) -> None:
        write_private(home.run_json, self.to_json() + "\n")

    def to_json(self) -> str:
        """On one line; ``tls`` is there where a certificate is."""
        return self.model_dump_json(exclude_none=True)


class RunState(_Frozen):
    """state.json: what a part needs to know of this run. No secrets; written before the parts start."""

    mqtt: MqttAddress
    http_host: str
    http_port: int
    public_url: str
    """Without a slash at its end; join links and QR codes begin with it."""
    lan: bool
    tempo_workers: int
    mqtt_public_host: str = ""
    """The broker's name for clients, where our own parts know it by another: seen from outside a container."""
    tls: TlsAddress | None = None
    """Where a certificate is in use: clients are sent there."""

    @property
    def http_url(self) -> str:
        """The address as programs on this machine reach it."""
        return http_url(self.http_host, self.http_port)

    @classmethod
    def read(cls, home: Home) -> RunState:
        """Raises ``NotRunning`` if there is none."""
        try:
            return cls.model_validate_json(home.state_json.read_bytes())
        except FileNotFoundError:
            raise NotRunning(f"{home.state_json} is missing; `bandroom up` writes it") from None
        except ValidationError as error:
            raise NotRunning(f"{home.state_json} is damaged; start `bandroom up` again") from error

    def write(self, home: Home) -> None:
        write_private(home.state_json, self.model_dump_json() + "\n")


def http_url(host: str, port: int) -> str:
    """``http://host:port``, with the brackets that an IPv6 address needs; every address becomes loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    return f"http://{_bracketed(reachable)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
