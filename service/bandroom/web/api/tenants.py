"""Tenants: create, list, limits and retention, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bandroom.rooms import admin, schools
from bandroom.store import TenantRow
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, Director, TheOwner, TheSite
from bandroom.web.errors import ApiError, responses
from bandroom.wire.gate_log import LimitKey
from bandroom.wire.ids import OWN_TENANTS, TenantId
from bandroom.wire.limits import MAX_RATE, Allowance

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


class AllowanceBody(Body):
    """So many a second, and so many at once."""

    rate: Annotated[int, Field(ge=1, le=MAX_RATE)]
    burst: Annotated[int, Field(ge=1, le=MAX_RATE)]


class SettingsBody(Body):
    """What of a tenant to change; what is left out stays."""

    max_rooms: Annotated[int, Field(ge=0, le=100_000)] | None = None
    forget_pupils_s: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        None, description="seconds from a room's closing until its pupils are forgotten"
    )
    limits: dict[str, AllowanceBody] = Field(
        {}, description="by kind, as client_msgs: what the broker lets through, in force at once"
    )
    reset: bool = Field(False, description="take back all that was set before; then what else stands here holds")


class LimitAnswer(BaseModel):
    """So many a second, and so many at once; ``own``: the tenant was given it, it is not the broker's default."""

    rate: int
    burst: int
    own: bool


class AllowedAnswer(TenantAnswer):
    """A tenant with all that it may do, defaults included: ``rooms`` open at once, retention in seconds, limits."""

    rooms: int
    forget_pupils_s: int
    limits: dict[str, LimitAnswer]

    @classmethod
    def of_allowed(cls, found: schools.Allowed) -> AllowedAnswer:
        """From what the service says."""
        limits = {
            str(key): LimitAnswer(rate=value.rate, burst=value.burst, own=key in found.own)
            for key, value in found.limits.items()
        }
        return cls(
            **TenantAnswer.of(found.tenant).model_dump(),
            rooms=found.max_rooms,
            forget_pupils_s=found.forget_pupils_s,
            limits=limits,
        )


@router.get("/tenants/{tenant}", responses=responses(401, 403, 404))
async def show_tenant(tenant: TenantId, _: Director, site: TheSite) -> AllowedAnswer:
    """A tenant and what it may do."""
    return AllowedAnswer.of_allowed(await site.service.call(schools.allowed, site.service.control, tenant))


@router.post("/tenants/{tenant}/settings", responses=responses(401, 403, 404))
async def set_tenant(tenant: TenantId, _: TheOwner, body: SettingsBody, site: TheSite) -> AllowedAnswer:
    """Change a tenant's limits and retention; limits are in force at the broker when this returns."""
    control, service = site.service.control, site.service
    limits = {_key(name): Allowance(given.rate, given.burst) for name, given in body.limits.items()}
    if limits or body.reset:
        await service.call(lambda: schools.set_limits(control, tenant, limits, reset=body.reset))
    await service.call(admin.set_tenant, control, tenant, body.max_rooms, body.forget_pupils_s)
    await service.in_force()
    return AllowedAnswer.of_allowed(await service.call(schools.allowed, control, tenant))


def _key(name: str) -> LimitKey:
    try:
        return LimitKey(name)
    except ValueError:
        known = ", ".join(LimitKey)
        raise ApiError(422, "bad_request", f"limits: {name[:40]!r} is no kind of limit: give {known}") from None


class DeleteBody(Body):
    """The tenant's id once more: what is deleted cannot be brought back but from a backup."""

    confirm: str


class DeletedAnswer(BaseModel):
    """What went with the tenant."""

    tenant: str
    rooms: int
    members: int
    devices: int
    teachers: int


@router.post("/tenants/{tenant}/delete", responses=responses(401, 403, 404, 409))
async def delete_tenant(tenant: TenantId, _: TheOwner, body: DeleteBody, site: TheSite) -> DeletedAnswer:
    """Delete a tenant with its rooms, pupils, devices and teachers; their connections end."""
    if body.confirm != tenant:
        raise ApiError(422, "bad_request", f"confirm must be {tenant}, the tenant that is to be deleted")
    await site.service.call(schools.close_all, site.service.control, tenant)
    await site.service.in_force()
    gone = await site.service.call(schools.delete_tenant, site.service.control, tenant)
    await site.service.in_force()
    return DeletedAnswer(
        tenant=gone.tenant, rooms=gone.rooms, members=gone.members, devices=gone.devices, teachers=gone.teachers
    )
