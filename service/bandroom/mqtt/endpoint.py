"""Where a broker listens, as values: nothing here connects."""

import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP listener; with `tls` the connection is encrypted and the host name checked by that context."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        _check_host(self.host)
        _check_port(self.port)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A listener on a Unix socket. The kernel takes at most 107 bytes of path."""

    path: str

    def __post_init__(self) -> None:
        length = len(self.path.encode())
        if not 0 < length <= 107:
            raise ValueError(f"a Unix socket's path has 1 to 107 bytes, this one {length}: {self.path!r}")

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class WebSocket:
    """MQTT inside a WebSocket, as browsers speak it: `ws://host:port/mqtt` or `wss://…`."""

    url: str
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss"):
            raise ValueError(f"a WebSocket address begins with ws:// or wss://, this one does not: {self.url!r}")
        if parts.username or parts.password:
            raise ValueError("a WebSocket address carries no user name or password")
        _check_host(parts.hostname or "")
        _check_port(self.port)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "wss" else 80)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path or "/mqtt"

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "wss"

    def __str__(self) -> str:
        return self.url


Endpoint = Tcp | UnixSocket | WebSocket


@cache
def system_trust() -> ssl.SSLContext:
    """A context that trusts whom this machine trusts. Made once: reading all authorities takes 25 ms of CPU, and a
    connection that is made anew makes it on the event loop."""
    return ssl.create_default_context()


def _check_host(host: str) -> None:
    if not host or any(ch.isspace() or ch in "/\0" for ch in host):
        raise ValueError(f"not a host name or address: {host!r}")


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ValueError(f"a port is 1 to 65535, not {port}")
