"""Devices: enroll, list, revoke, assign, and say what they play."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bandroom.rooms import admin
from bandroom.store import DeviceRow
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, Director, TheSite
from bandroom.web.errors import responses
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.instruments import Instrument

router = APIRouter(prefix="/api/tenants/{tenant}", tags=["devices"], route_class=StrictRoute)


class DeviceBody(Body):
    """A device to enroll: its subject begins with ``d-``."""

    sub: Subject
    name: Annotated[str, Field(max_length=100)] | None = None
    room: RoomId | None = None
    instrument: Instrument | None = Field(None, description="for the roster, unless the device itself says otherwise")


class InstrumentBody(Body):
    """What a device plays; null, or left out: nobody says."""

    instrument: Instrument | None = None


class AssignBody(Body):
    """The room that a device is to play in; null: none."""

    room: RoomId | None


class DeviceAnswer(BaseModel):
    """A device. Times in Unix seconds."""

    tenant: str
    sub: str
    name: str
    generation: int
    enrolled_at: int
    revoked_at: int | None
    instrument: Instrument | None
    room: str | None

    @classmethod
    def of(cls, row: DeviceRow) -> DeviceAnswer:
        """From the store's row."""
        return cls(
            tenant=row.tenant,
            sub=row.sub,
            name=row.name,
            generation=row.generation,
            enrolled_at=row.enrolled_at,
            revoked_at=row.revoked_at,
            instrument=row.instrument,
            room=row.room,
        )


class EnrollAnswer(DeviceAnswer):
    """A device with the credential that it connects with. The password is told this once."""

    username: str
    password: str
    client_id: str


@router.get("/devices", responses=responses(401, 403, 404))
async def list_devices(tenant: TenantId, _: Director, site: TheSite) -> list[DeviceAnswer]:
    """All devices of a tenant, revoked ones included."""
    control = site.service.control
    rows = await site.service.call(lambda: control.tenant(tenant).devices())
    return [DeviceAnswer.of(row) for row in rows]


@router.post("/devices", status_code=201, responses=responses(401, 403, 404, 409))
async def enroll(tenant: TenantId, _: Director, body: DeviceBody, site: TheSite) -> EnrollAnswer:
    """A device's credential. Enrolling again raises the generation: the credential before stops working."""
    control, service = site.service.control, site.service
    made = await service.call(admin.enroll_device, control, tenant, body.sub, body.name, body.room, body.instrument)
    await service.in_force()
    return EnrollAnswer(
        **DeviceAnswer.of(made.device).model_dump(),
        username=made.username,
        password=made.password,
        client_id=made.client_id,
    )


@router.post("/devices/{sub}/revoke", responses=responses(401, 403, 404))
async def revoke(tenant: TenantId, sub: Subject, _: Director, site: TheSite) -> DeviceAnswer:
    """Refuse a device from now on and end its connections."""
    row = await site.service.call(admin.revoke_device, site.service.control, tenant, sub)
    await site.service.in_force()
    return DeviceAnswer.of(row)


@router.post("/devices/{sub}/assign", responses=responses(401, 403, 404, 409))
async def assign(tenant: TenantId, sub: Subject, _: Director, body: AssignBody, site: TheSite) -> DeviceAnswer:
    """Bring a device into a room, or with null out of any."""
    row = await site.service.call(admin.assign_device, site.service.control, tenant, sub, body.room)
    await site.service.in_force()
    return DeviceAnswer.of(row)


@router.post("/devices/{sub}/instrument", responses=responses(401, 403, 404))
async def set_instrument(
    tenant: TenantId, sub: Subject, _: Director, body: InstrumentBody, site: TheSite
) -> DeviceAnswer:
    """Say what a device plays, for the roster; its credential stays as it is."""
    row = await site.service.call(admin.set_instrument, site.service.control, tenant, sub, body.instrument)
    return DeviceAnswer.of(row)
