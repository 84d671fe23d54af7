"""What the routes of the API share: the service, who is asking, and the forms of ids in paths."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from bandroom.auth.owner import Owner, is_owner
from bandroom.auth.tokens import BadToken, Claims, verify
from bandroom.rooms.control import Actor, Refused, may_direct, teacher_of
from bandroom.rooms.join import check_live
from bandroom.rooms.service import RoomsService
from bandroom.rooms.throttle import Throttle
from bandroom.runstate import RunState
from bandroom.store import RoomRow
from bandroom.web.errors import ApiError
from bandroom.web.tunnel import Tunnel
from bandroom.wire.ids import RoomId, TenantId


@dataclass(slots=True)
class Site:
    """The running installation as the web sees it."""

    service: RoomsService
    owner_token: str = field(repr=False)
    state: RunState
    throttle: Throttle = field(default_factory=Throttle)
    tunnel: Tunnel | None = None
    started_s: float = field(default_factory=time.monotonic)

    def join_url(self, room: RoomRow) -> str:
        """The link that lets a pupil in: what matters stands after ``#`` and is never sent as a query."""
        code, key = quote(room.join_code), quote(room.join_key)
        return f"{self.state.public_url}/join#t={room.tenant}&c={code}&k={key}"

    def mqtt_address(self) -> dict[str, Any]:
        """Where clients reach the broker: by TCP, and from browsers."""
        parts, tls = urlsplit(self.state.public_url), self.state.tls
        scheme = "wss" if parts.scheme == "https" else "ws"
        ws_url = f"{scheme}://{parts.netloc}{parts.path}/mqtt"
        if tls is not None:
            return {"host": tls.name, "port": tls.mqtts_port, "tls": True, "ws_url": ws_url}
        host = self.state.mqtt_public_host or self.state.mqtt.host
        if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
            host = parts.hostname or host
        return {"host": host, "port": self.state.mqtt.port, "tls": False, "ws_url": ws_url}

    @property
    def is_https(self) -> bool:
        """Whether browsers come by https."""
        return self.state.public_url.startswith("https:")


class Body(BaseModel):
    """A request's body: unknown fields are mistakes, and so are values of another type ("yes" is no true)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


_bearer = HTTPBearer(auto_error=False, description="The owner's token, or a teacher's")


# Dependencies are coroutines, all of them: a plain function is sent to a thread, which costs more than it does.
async def site(request: Request) -> Site:
    """The installation that the app was made for."""
    found: Site = request.app.state.site
    return found


TheSite = Annotated[Site, Depends(site)]
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def who(the_site: TheSite, credentials: _Credentials) -> Owner | Claims:
    """Who is asking, by the bearer token. Raises ``ApiError`` 401."""
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise ApiError(401, "unauthorized", "send `Authorization: Bearer <token>`", challenge)
    if is_owner(the_site.owner_token, credentials.credentials):
        return Owner()
    service = the_site.service
    try:
        claims = verify(service.control.keys, credentials.credentials, now_s=int(time.time()))
    except BadToken as error:
        raise ApiError(401, "unauthorized", str(error), challenge) from error
    await service.call(_check, service, claims)
    return claims


def _check(service: RoomsService, claims: Claims) -> None:
    check_live(service.control, claims)
    if service.control.store.tenant(claims.tenant) is None:
        raise Refused("forbidden", f"there is no tenant {claims.tenant} (any more)")


Asking = Annotated[Owner | Claims, Depends(who)]


async def owner(asking: Asking) -> Owner:
    """The machine's owner. Raises ``ApiError`` 403 for others."""
    if not isinstance(asking, Owner):
        raise ApiError(403, "forbidden", "only the machine's owner may do this")
    return asking


async def director(tenant: TenantId, asking: Asking) -> Actor:
    """Whoever may command the tenant of the path. Raises ``ApiError`` 403, ``Refused``."""
    actor: Actor = asking if isinstance(asking, Owner) else teacher_of(asking)
    if not may_direct(actor, tenant):
        raise ApiError(403, "forbidden", f"only teachers of {tenant} and the machine's owner may do this")
    return actor


TheOwner = Annotated[Owner, Depends(owner)]
Director = Annotated[Actor, Depends(director)]
__all__ = ["Asking", "Body", "Director", "RoomId", "Site", "TenantId", "TheOwner", "TheSite"]
