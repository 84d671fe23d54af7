"""Tokens by the owner's hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from bandroom.auth.tokens import MAX_TTL_S
from bandroom.rooms import admin
from bandroom.web.api.joining import Credentials
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, TheOwner, TheSite
from bandroom.web.errors import responses
from bandroom.wire.ids import RoomId, Subject, TenantId

router = APIRouter(prefix="/api/tenants/{tenant}", tags=["tokens"], route_class=StrictRoute)


class TokenBody(Body):
    """Whose token: the subject's first letter is the role; pupils and viewers need a room."""

    sub: Subject
    room: RoomId | None = None
    ttl_s: Annotated[int, Field(ge=1, le=MAX_TTL_S)] = MAX_TTL_S


@router.post("/tokens", status_code=201, responses=responses(401, 403, 404, 409))
async def mint(tenant: TenantId, _: TheOwner, body: TokenBody, response: Response, site: TheSite) -> Credentials:
    """A token for a teacher, pupil or viewer."""
    minted = await site.service.call(admin.mint_token, site.service.control, tenant, body.sub, body.room, body.ttl_s)
    response.headers["Cache-Control"] = "no-store"
    return Credentials(
        token=minted.token, username=minted.username, client_id=minted.client_id, expires_at=minted.expires_at
    )
