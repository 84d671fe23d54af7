"""Rooms and their commands."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Body as JsonBody
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from bandroom.rooms import admin
from bandroom.rooms.admin import NewRoom
from bandroom.rooms.control import Control
from bandroom.store import RoomRow
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, Director, Site, TheSite
from bandroom.web.errors import STATUS, ApiError, responses
from bandroom.wire import tempo as wire_tempo
from bandroom.wire.ids import JoinCode, RoomId, TenantId
from bandroom.wire.instruments import Instrument
from bandroom.wire.messages import BadMessage, Command, Tempo

router = APIRouter(prefix="/api/tenants/{tenant}", tags=["rooms"], route_class=StrictRoute)


class RoomBody(Body):
    """A new room; what is left out takes the service's default."""

    code: JoinCode | None = None
    name: Annotated[str, Field(max_length=100)] | None = None
    bpm: Annotated[float, Field(ge=20, le=400)] | None = None
    meter: Annotated[str, Field(max_length=40)] | None = None
    start: bool = False


class RoomAnswer(BaseModel):
    """A room. ``bpm``, ``meter`` and ``playing`` as of now; times in Unix seconds."""

    tenant: str
    room: str
    code: str
    join_url: str
    name: str
    state: str
    bpm: float
    meter: str
    playing: bool
    rev: int
    all_muted: bool
    created_at: int
    closes_at: int | None = Field(description="when it is closed if nobody comes or does anything before")
    rests_until: int | None
    worst_err_ms: float | None = Field(
        None, description="the worst clock of the members that are there is off by no more; null: none has said"
    )


class MemberAnswer(BaseModel):
    """A line of the roster. ``state`` null: joined, and not connected now."""

    sub: str
    name: str
    kind: str
    state: str | None
    since: int | None = Field(description="server time in µs when the member connected")
    muted: bool
    err: float | None = Field(None, description="ms: the member's clock is off by no more, as far as it knows")
    instrument: Instrument | None = Field(None, description="what the member plays; null: nobody has said")


class RoomDetail(RoomAnswer):
    """A room with its members and devices."""

    members: list[MemberAnswer]


class ReplyAnswer(BaseModel):
    """What became of a command."""

    id: str
    ok: bool
    rev: int | None = None
    n: int | None = None
    t: int | None = None
    code: str | None = None
    err: str | None = None
    text: str | None = None


def _room(site: Site, row: RoomRow) -> dict[str, Any]:
    tempo_map = wire_tempo.from_message(Tempo.decode(row.tempo.encode()))
    now_us = site.service.control.now_us()
    return {
        "tenant": row.tenant,
        "room": row.room,
        "code": row.join_code,
        "join_url": site.join_url(row),
        "name": row.name,
        "state": row.state.value,
        "bpm": tempo_map.bpm_at(now_us),
        "meter": str(tempo_map.meter_at(tempo_map.position_at(now_us)).meter),
        "playing": row.is_open and (tempo_map.next_beat(now_us) is not None),
        "rev": row.tempo_rev,
        "all_muted": row.all_muted,
        "created_at": row.created_at,
        "closes_at": site.service.control.closes_at_s(row) if row.is_open else None,
        "rests_until": row.rests_until,
    }


def _members(control: Control, row: RoomRow) -> list[MemberAnswer]:
    rows = control.store.for_tenant(row.tenant)
    muted = set(rows.mutes(row.room))
    present = {line.sub: line.member for line in control.roster.present(row.tenant, row.room)}
    known = {m.sub: (m.name, m.sub.role.value, None) for m in rows.members(row.room) if m.kicked_at is None}
    known |= {device.sub: (device.name, "device", device.instrument) for device in rows.devices_in(row.room)}
    return [
        MemberAnswer(
            sub=sub,
            name=name,
            kind=kind,
            state=present[sub].state if sub in present else None,
            since=present[sub].since if sub in present else None,
            muted=row.all_muted or sub in muted,
            err=present[sub].err if sub in present else None,
            instrument=present[sub].instrument if sub in present else instrument,
        )
        for sub, (name, kind, instrument) in known.items()
    ]


@router.get("/rooms", responses=responses(401, 403, 404))
async def list_rooms(tenant: TenantId, _: Director, site: TheSite) -> list[RoomAnswer]:
    """All rooms of a tenant, open, locked and resting."""
    control = site.service.control
    rows, worst = await site.service.call(
        lambda: (control.tenant(tenant).rooms(), control.roster.worst_errors_ms(tenant))
    )
    return [RoomAnswer.model_validate({**_room(site, row), "worst_err_ms": worst.get(row.room)}) for row in rows]


@router.post("/rooms", status_code=201, responses=responses(401, 403, 404, 409))
async def create_room(tenant: TenantId, _: Director, body: RoomBody, site: TheSite) -> RoomAnswer:
    """A new open room. Whoever has the answer can connect to it at once."""
    asked = NewRoom(body.code, body.name, body.bpm, body.meter, body.start)
    row = await site.service.call(admin.create_room, site.service.control, tenant, asked)
    await site.service.in_force()
    return RoomAnswer.model_validate(_room(site, row))


@router.get("/rooms/{room}", responses=responses(401, 403, 404))
async def show_room(tenant: TenantId, room: RoomId, _: Director, site: TheSite) -> RoomDetail:
    """One room, by its id or its present code, with who is in."""
    control = site.service.control
    row = await site.service.call(control.room, tenant, room)
    members = await site.service.call(_members, control, row)
    worst = max((member.err for member in members if member.err is not None), default=None)
    return RoomDetail.model_validate({**_room(site, row), "members": members, "worst_err_ms": worst})


_COMMAND_SCHEMA = {"schema": {"$ref": "#/components/schemas/Command"}}


@router.post(
    "/rooms/{room}/commands",
    responses=responses(401, 403, 404, 409),
    response_model_exclude_none=True,
    response_model=ReplyAnswer,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": _COMMAND_SCHEMA}}},
)
async def command(
    tenant: TenantId, room: RoomId, actor: Director, body: Annotated[dict[str, Any], JsonBody()], site: TheSite
) -> JSONResponse:
    """One of the teacher's commands, as over MQTT. An ``id`` makes it safe to send again; one is made where missing."""
    try:
        # By the very path that a message over MQTT takes.
        asked = Command.decode(json.dumps({"id": f"http-{secrets.token_hex(8)}", **body}).encode())
    except BadMessage as error:
        raise ApiError(422, "bad_request", str(error)) from error
    reply = await site.service.command(actor, tenant, room, asked)
    status = 200 if reply.ok else STATUS[reply.err or "unavailable"]
    return JSONResponse(reply.model_dump(mode="json", exclude_none=True), status)
