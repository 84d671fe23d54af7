"""Tenants: create and list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bandroom.rooms import admin
from bandroom.store import TenantRow
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, TheOwner, TheSite
from bandroom.web.errors import responses
from bandroom.wire.ids import OWN_TENANTS, TenantId

router = APIRouter(prefix="/api", tags=["tenants"], route_class=StrictRoute)


class TenantBody(Body):
    """A new tenant."""

    tenant: TenantId
    name: Annotated[str, Field(max_length=100)] | None = None
    max_rooms: Annotated[int, Field(ge=0, le=100_000)] | None = None


class TenantAnswer(BaseModel):
    """A tenant. ``max_rooms`` null: the service's default."""

    tenant: str
    name: str
    created_at: int
    max_rooms: int | None

    @classmethod
    def of(cls, row: TenantRow) -> TenantAnswer:
        """From the store's row."""
        return cls(tenant=row.tenant, name=row.name, created_at=row.created_at, max_rooms=row.max_rooms)


@router.get("/tenants", responses=responses(401, 403))
async def list_tenants(_: TheOwner, site: TheSite) -> list[TenantAnswer]:
    """All tenants, without those in which `bandroom doctor` tests and `bandroom demo` plays."""
    rows = await site.service.call(site.service.control.store.tenants)
    return [TenantAnswer.of(row) for row in rows if row.tenant not in OWN_TENANTS]


@router.post("/tenants", status_code=201, responses=responses(401, 403, 409))
async def create_tenant(_: TheOwner, body: TenantBody, site: TheSite) -> TenantAnswer:
    """A new tenant."""
    control = site.service.control
    return TenantAnswer.of(
        await site.service.call(admin.create_tenant, control, body.tenant, body.name, body.max_rooms)
    )


class SettingsBody(Body):
    """What of a tenant to change; what is left out stays."""

    max_rooms: Annotated[int, Field(ge=0, le=100_000)] | None = None
    forget_pupils_s: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        None, description="seconds from a room's closing until its pupils are forgotten"
    )


@router.post("/tenants/{tenant}/settings", responses=responses(401, 403, 404))
async def set_tenant(tenant: TenantId, _: TheOwner, body: SettingsBody, site: TheSite) -> TenantAnswer:
    """Change a tenant's limits and retention."""
    control = site.service.control
    row = await site.service.call(admin.set_tenant, control, tenant, body.max_rooms, body.forget_pupils_s)
    return TenantAnswer.of(row)
