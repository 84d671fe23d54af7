"""Teachers: add, list, revoke, and signing in by a link."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from bandroom.rooms import teachers
from bandroom.rooms.control import Refused
from bandroom.store import TeacherRow
from bandroom.web.api.joining import Credentials
from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, TheOwner, TheSite
from bandroom.web.errors import ApiError, responses
from bandroom.web.tunnel_limits import address_key
from bandroom.wire.ids import Subject, TenantId

router = APIRouter(prefix="/api", tags=["teachers"], route_class=StrictRoute)


class TeacherBody(Body):
    """A teacher to add: the subject begins with ``t-``."""

    sub: Subject
    name: Annotated[str, Field(max_length=100)] | None = None


class TeacherAnswer(BaseModel):
    """A teacher. Times in Unix seconds."""

    tenant: str
    sub: str
    name: str
    added_at: int
    revoked_at: int | None

    @classmethod
    def of(cls, row: TeacherRow) -> TeacherAnswer:
        """From the store's row."""
        return cls(tenant=row.tenant, sub=row.sub, name=row.name, added_at=row.added_at, revoked_at=row.revoked_at)


class AddedAnswer(TeacherAnswer):
    """A teacher with the sign-in link, which is told this once."""

    sign_in_url: str


class SignInBody(Body):
    """What a sign-in link carries."""

    tenant: Annotated[str, Field(max_length=64)]
    key: Annotated[str, Field(max_length=64)]


class SignedIn(Credentials):
    """A teacher's token."""

    tenant: str
    sub: str
    name: str


@router.get("/tenants/{tenant}/teachers", responses=responses(401, 403, 404))
async def list_teachers(tenant: TenantId, _: TheOwner, site: TheSite) -> list[TeacherAnswer]:
    """All teachers of a tenant who were given a link, revoked ones included."""
    control = site.service.control
    return [TeacherAnswer.of(row) for row in await site.service.call(lambda: control.tenant(tenant).teachers())]


@router.post("/tenants/{tenant}/teachers", status_code=201, responses=responses(401, 403, 404))
async def add_teacher(tenant: TenantId, _: TheOwner, body: TeacherBody, site: TheSite) -> AddedAnswer:
    """A teacher with a sign-in link. Adding one again replaces the link."""
    row, key = await site.service.call(teachers.add, site.service.control, tenant, body.sub, body.name)
    link = f"{site.state.public_url}/teacher#t={tenant}&k={key}"
    return AddedAnswer(**TeacherAnswer.of(row).model_dump(), sign_in_url=link)


@router.post("/tenants/{tenant}/teachers/{sub}/revoke", responses=responses(401, 403, 404))
async def revoke_teacher(tenant: TenantId, sub: Subject, _: TheOwner, site: TheSite) -> TeacherAnswer:
    """End a teacher's link, tokens and connections."""
    row = await site.service.call(teachers.revoke, site.service.control, tenant, sub)
    await site.service.in_force()
    return TeacherAnswer.of(row)


@router.post("/sign-in", responses=responses(403, 409, 429))
async def sign_in(body: SignInBody, request: Request, response: Response, site: TheSite) -> SignedIn:
    """A sign-in link becomes a teacher's token."""
    address = address_key(request.client.host if request.client else None)
    try:
        minted, row = await site.service.call(teachers.sign_in, site.service.control, body.tenant, body.key)
    except Refused as error:
        if error.code == "forbidden":
            # Only now: whoever guesses codes at a school's one address must not keep its teachers out.
            wait_s = site.throttle.wait_s(address, time.monotonic())
            if wait_s > 0:
                text = "too many wrong links from here: wait a little"
                raise ApiError(429, "limit", text, {"Retry-After": str(int(wait_s) + 1)}) from error
            site.throttle.failed(address, time.monotonic())
        raise
    response.headers["Cache-Control"] = "no-store"
    return SignedIn(
        token=minted.token,
        username=minted.username,
        client_id=minted.client_id,
        expires_at=minted.expires_at,
        tenant=row.tenant,
        sub=row.sub,
        name=row.name,
    )
