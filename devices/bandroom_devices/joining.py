"""Joining a room by its code, and renewing what that gave: the two HTTP calls of a device.

Only the standard library, so that the base install stays what a board needs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from http.client import HTTPException
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast

from bandroom.mqtt.endpoint import system_trust
from bandroom.wire.ids import BadId, ClientId, JoinCode, RoomId, Subject, TenantId, UserName

from bandroom_devices.errors import DeviceError, JoinRefused, Unreachable

_TIMEOUT_S = 10
_MAX_REPLY = 65_536  # bytes; a genuine one has about 1,500


@dataclass(frozen=True, slots=True, repr=False)
class Membership:
    """A seat in a room: who one is there, with the token that proves it. Its ``repr`` keeps the token back."""

    tenant: TenantId
    room: RoomId
    subject: Subject
    name: str
    username: UserName
    client_id: ClientId
    token: str
    lifetime_s: float
    """How long the token holds, from its issue: by its own claims, since a device's wall clock may be wrong."""
    mqtt_host: str
    mqtt_port: int
    ws_url: str
    mqtt_tls: bool = False
    cookie: str = ""

    def __repr__(self) -> str:
        return f"Membership({self.username} in {self.room} as {self.name!r})"


@dataclass(frozen=True, slots=True)
class JoinDesk:
    """Where to join, and with what. ``url`` is the web address that ``bandroom up`` prints.

    ``tls`` says whom to trust on https, where that is not one of the authorities that the system knows.
    """

    url: str
    tenant: TenantId
    code: JoinCode
    nickname: str | None = None
    key: str | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(
        cls,
        url: str,
        tenant: str,
        code: str,
        nickname: str | None = None,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> JoinDesk:
        """Checks all of it. Raises ``BadId`` (a ``ValueError``) or ``ValueError`` naming the bad value."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is not a web address: it begins with http:// or https://")
        return cls(url.rstrip("/"), TenantId.parse(tenant), JoinCode.typed(code), nickname, key, tls)

    @classmethod
    def from_link(cls, link: str, nickname: str | None = None, tls: ssl.SSLContext | None = None) -> JoinDesk:
        """The desk that a join link points to. Raises ``ValueError`` when it is none."""
        parts = urllib.parse.urlsplit(link)
        told = dict(urllib.parse.parse_qsl(parts.fragment))
        if not (told.get("t") and told.get("c")):
            raise ValueError(f"{link!r} is not a join link: http://…/join#t=<tenant>&c=<code>")
        base = urllib.parse.urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        return cls.of(base, told["t"], told["c"], nickname, told.get("k"), tls)

    async def join(self, former: Membership | None = None) -> Membership:
        """Take a seat. ``former`` asks for the same subject again, where the service still knows it.

        Raises ``JoinRefused`` or ``Unreachable``.
        """
        wanted = {"nickname": self.nickname, "key": self.key}
        body = {"tenant": self.tenant, "code": self.code} | {k: v for k, v in wanted.items() if v}
        headers = {"Cookie": former.cookie} if former and former.cookie else {}
        return _membership(*await asyncio.to_thread(_post, f"{self.url}/api/join", body, headers, self.tls))

    async def renew(self, seat: Membership) -> Membership:
        """The same seat with a newer token. Raises ``JoinRefused`` or ``Unreachable``."""
        headers = {"Authorization": f"Bearer {seat.token}"}
        told, _ = await asyncio.to_thread(_post, f"{self.url}/api/renew", {}, headers, self.tls)
        token = _text(told, "token")
        return replace(seat, token=token, lifetime_s=_lifetime_s(token))


def _opener(place: str, tls: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Opens addresses, past any proxy of the environment for an address of this machine or the local network.

    A school's proxy is the way out to the internet; it has none to this machine's loopback or back into a classroom.
    """
    host = urllib.parse.urlsplit(f"//{place}").hostname or ""
    try:
        local = ipaddress.ip_address(host).is_private
    except ValueError:
        local = host == "localhost"
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})] if local else []
    return urllib.request.build_opener(*handlers, urllib.request.HTTPSHandler(context=tls))


def _default_tls(scheme: str) -> ssl.SSLContext:
    # Where urllib is given none it reads all authorities of the system, 25 ms of CPU; from Python 3.12 on for http too.
    return system_trust() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _post(
    url: str, body: dict[str, Any], headers: dict[str, str], tls: ssl.SSLContext | None = None
) -> tuple[dict[str, Any], str]:
    """POST JSON; the JSON object that came back, and the cookies as they are to be sent again."""
    request = urllib.request.Request(  # noqa: S310  (the scheme is checked where the address comes in)
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    try:
        with _opener(request.host, tls or _default_tls(request.type)).open(request, timeout=_TIMEOUT_S) as response:
            cookies = cast("list[str]", response.headers.get_all("Set-Cookie") or [])
            told = _json_object(url, response.read(_MAX_REPLY))
            return told, _kept_cookies(cookies)
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Unreachable(
                f"{url} shows a certificate that this machine does not trust ({reason.verify_message}). Whoever runs it"
                " has the authority's certificate: name that (tls=…, or --ca FILE)"
            ) from None
        raise Unreachable(
            f"nothing answers at {url} ({reason}). Is `bandroom up` running there, and the address right?"
        ) from None


def _refusal(url: str, error: urllib.error.HTTPError) -> DeviceError:
    try:
        told = _json_object(url, error.read(_MAX_REPLY))
    except (DeviceError, OSError, HTTPException):
        told = {}
    text = str(told.get("text") or told.get("detail") or f"{url} answered {error.code} {error.reason}")
    if error.code >= 500:
        return Unreachable(f"{text} ({url} answered {error.code}: try again in a moment)")
    return JoinRefused(str(told.get("err") or error.code), text)


def _json_object(url: str, data: bytes) -> dict[str, Any]:
    try:
        told: object = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise Unreachable(f"{url} did not answer as a bandroom service does. Is the address right?")
    return cast("dict[str, Any]", told)


def _kept_cookies(headers: list[str]) -> str:
    jar = SimpleCookie()
    for header in headers:
        try:
            jar.load(header)
        except CookieError:
            continue  # a proxy's own: the seat does without
    return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())


def _membership(told: dict[str, Any], cookie: str) -> Membership:
    try:
        mqtt = told.get("mqtt")
        mqtt = cast("dict[str, Any]", mqtt) if isinstance(mqtt, dict) else {}
        token = _text(told, "token")
        return Membership(
            tenant=TenantId.parse(told.get("tenant")),
            room=RoomId.parse(told.get("room")),
            subject=Subject.parse(told.get("sub")),
            name=str(told.get("name") or told.get("sub")),
            username=UserName.parse(told.get("username")),
            client_id=ClientId.parse(told.get("client_id")),
            token=token,
            lifetime_s=_lifetime_s(token),
            mqtt_host=str(mqtt.get("host") or ""),
            mqtt_port=int(mqtt.get("port") or 0),
            ws_url=str(mqtt.get("ws_url") or ""),
            mqtt_tls=mqtt.get("tls") is True,
            cookie=cookie,
        )
    except (BadId, ValueError, TypeError) as error:
        raise Unreachable(f"the service's answer to the join cannot be read: {error}") from None


def _text(told: dict[str, Any], field: str) -> str:
    value = told.get(field)
    if not isinstance(value, str) or not value:
        raise Unreachable(f"the service's answer has no {field!r}")
    return value


def _lifetime_s(token: str) -> float:
    """Seconds from issue to expiry, by the token's own claims. (The broker verifies them; the holder need not.)"""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return float(claims["exp"]) - float(claims["iat"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        raise Unreachable("the service's answer holds a token that is none") from None
