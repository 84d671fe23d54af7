"""Joining a room and renewing a token."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response
from pydantic import BaseModel, Field

from bandroom.auth.owner import Owner
from bandroom.rooms import join as joining
from bandroom.rooms.join import JoinRequest, NoSuchRoom
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Asking, Body, TheSite
from bandroom.web.errors import ApiError, responses
from bandroom.web.tunnel_limits import address_key

router = APIRouter(prefix="/api", tags=["joining"], route_class=StrictRoute)

COOKIE = "bandroom"
COOKIE_S = 24 * 3600
SAME_TIME_S = 0.25
"""Every refusal takes this long from its beginning, so that its cause cannot be told by the clock."""


class JoinBody(Body):
    """A code that was typed, or what a join link carries."""

    tenant: Annotated[str, Field(max_length=64)]
    code: Annotated[str, Field(max_length=64)]
    nickname: Annotated[str, Field(max_length=100)] | None = None
    key: Annotated[str, Field(max_length=64)] | None = None


class MqttPlace(BaseModel):
    """Where the broker is: by TCP (encrypted, where ``tls`` is true), and from a browser."""

    host: str
    port: int
    tls: bool
    ws_url: str


class Credentials(BaseModel):
    """A token and how to use it: user name, client id, and the token as the password."""

    token: str
    username: str
    client_id: str
    expires_at: int


class JoinAnswer(Credentials):
    """A pupil's place in a room."""

    tenant: str
    room: str
    sub: str
    name: str
    mqtt: MqttPlace


@router.post("/join", responses=responses(404, 429))
async def join(
    body: JoinBody,
    request: Request,
    response: Response,
    site: TheSite,
    bandroom: Annotated[str | None, Cookie(include_in_schema=False)] = None,
) -> JoinAnswer:
    """Join a room by its code: a pupil's token. A link's key is never throttled; failures with a typed code are."""
    began_s = time.monotonic()
    service, control = site.service, site.service.control
    asked = JoinRequest(body.tenant, body.code, body.key, body.nickname, bandroom)
    address = address_key(request.client.host if request.client else None)
    wait_s = site.throttle.wait_s(address, began_s)
    if wait_s > 0 and not await service.call(joining.has_right_key, control, asked):
        service.figures.joins.labels("throttled").inc()
        text = "too many wrong codes from here: wait a little, or use the link"
        raise ApiError(429, "limit", text, {"Retry-After": str(int(wait_s) + 1)})
    try:
        joined = await service.entrance.join(asked)
    except NoSuchRoom:
        service.figures.joins.labels("no such room").inc()
        # A right link that does not open guesses nothing: a class at the door of a locked room slows nobody down.
        if asked.key is None or not await service.call(joining.has_right_key, control, asked):
            site.throttle.failed(address, time.monotonic())
        await asyncio.sleep(max(0.0, began_s + SAME_TIME_S - time.monotonic()))
        raise
    service.figures.joins.labels("ok").inc()
    response.set_cookie(
        COOKIE,
        joined.cookie,
        max_age=COOKIE_S,
        path="/api",
        httponly=True,
        samesite="strict",
        secure=site.is_https,
    )
    response.headers["Cache-Control"] = "no-store"
    return JoinAnswer(
        token=joined.minted.token,
        username=joined.minted.username,
        client_id=joined.minted.client_id,
        expires_at=joined.minted.expires_at,
        tenant=joined.room.tenant,
        room=joined.room.room,
        sub=joined.member.sub,
        name=joined.member.name,
        mqtt=MqttPlace.model_validate(site.mqtt_address()),
    )


@router.post("/renew", responses=responses(401, 403, 409))
async def renew(asking: Asking, response: Response, site: TheSite) -> Credentials:
    """A fresh token for the bearer of a good one: same subject, same room. Allowed while the room is locked."""
    if isinstance(asking, Owner):
        raise ApiError(403, "forbidden", "the owner's token does not expire: there is nothing to renew")
    minted = await site.service.call(joining.renew, site.service.control, asking)
    response.headers["Cache-Control"] = "no-store"
    return Credentials(
        token=minted.token, username=minted.username, client_id=minted.client_id, expires_at=minted.expires_at
    )
