"""Which addresses are ours: of pages that open the tunnel, and of requests; and whose word counts on others'."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.stdlib.get_logger(__name__)


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a URL in one spelling, the scheme's usual port left out; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" if port in (None, usual) else f"{parts.scheme}://{host}:{port}"


_LOCAL_NAMES = (".local", ".localhost", ".lan", ".internal", ".home.arpa")


def host_known(host: str | None, public_url: str | None) -> bool:
    """Whether ``host`` (a Host header) is a name of ours, and not one that another site has pointed at this machine.

    An address, a name without a dot and the names of local networks cannot be another site's; any other name must
    be the public URL's.
    """
    parts = origin_of(f"http://{host}") if host else None
    name = urlsplit(parts).hostname if parts else None
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        name = name.rstrip(".")
        return "." not in name or name.endswith(_LOCAL_NAMES) or name == urlsplit(public_url or "").hostname
    return True


def origin_allowed(origin: str | None, host: str | None, public_url: str | None) -> bool:
    """Whether a page of ``origin`` may open a tunnel at ``host`` (the Host header).

    Browsers always send an Origin; without one it is a program, which no other site can have tricked.
    """
    if origin is None:
        return True
    theirs = origin_of(origin)
    if theirs is None:
        return False
    scheme = theirs.partition("://")[0]
    ours = {origin_of(f"{scheme}://{host}") if host_known(host, public_url) else None}
    ours.add(origin_of(public_url) if public_url else None)
    return theirs in ours - {None}


class ProxyNotice:
    """Says once in the log that a proxy's word is not believed: all behind it then count as one address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._told and scope["type"] in ("http", "websocket") and scope.get("client"):
            told = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            # A proxy that is trusted has been taken at its word by now.
            if told and scope["client"][0].encode() not in told:
                self._told = True
                log.warning(
                    "a proxy's X-Forwarded-For is not believed: name it in trusted_proxies, if it is yours",
                    proxy=scope["client"][0],
                )
        await self._app(scope, receive, send)
