"""Screens: a link for the projector, and what it shows beside the beat."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from bandroom.auth.owner import Owner
from bandroom.rooms import screens
from bandroom.web.api.joining import Credentials
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Asking, Director, TheSite
from bandroom.web.errors import ApiError, responses
from bandroom.wire.ids import RoomId, TenantId

router = APIRouter(prefix="/api", tags=["screens"], route_class=StrictRoute)


class ScreenAnswer(Credentials):
    """A viewer's token for a room, and the link that opens the projector's page with it."""

    tenant: str
    room: str
    sub: str
    url: str = Field(description="the token stands behind '#': no server is sent it by this way")


class ShownAnswer(BaseModel):
    """What a screen shows for those who want to join. A new code is found by asking again."""

    tenant: str
    room: str
    name: str
    state: str
    code: str
    join_url: str


@router.post("/tenants/{tenant}/rooms/{room}/screen", status_code=201, responses=responses(401, 403, 404, 409))
async def open_screen(tenant: TenantId, room: RoomId, _: Director, response: Response, site: TheSite) -> ScreenAnswer:
    """A link for the projector: whoever has it sees the room, the code and who is in, and can change nothing."""
    minted = await site.service.call(screens.open_screen, site.service.control, tenant, room)
    await site.service.in_force()
    response.headers["Cache-Control"] = "no-store"
    row = await site.service.call(site.service.control.room, tenant, room)
    return ScreenAnswer(
        token=minted.token,
        username=minted.username,
        client_id=minted.client_id,
        expires_at=minted.expires_at,
        tenant=row.tenant,
        room=row.room,
        sub=minted.username.partition("/")[2],
        url=f"{site.state.public_url}/screen#token={minted.token}",
    )


@router.get("/screen", responses=responses(401, 403, 404, 409))
async def shown(asking: Asking, response: Response, site: TheSite) -> ShownAnswer:
    """The room's present code and join link, for a screen's own token."""
    if isinstance(asking, Owner):
        raise ApiError(403, "forbidden", "this is for screens: open one with POST …/rooms/<room>/screen")
    row = await site.service.call(screens.shown_room, site.service.control, asking)
    response.headers["Cache-Control"] = "no-store"
    return ShownAnswer(
        tenant=row.tenant,
        room=row.room,
        name=row.name,
        state=row.state.value,
        code=row.join_code,
        join_url=site.join_url(row),
    )
