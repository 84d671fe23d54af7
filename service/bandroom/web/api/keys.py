"""Rotating keys."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from bandroom.web.body import StrictRoute
from bandroom.web.deps import Body, TheOwner, TheSite
from bandroom.web.errors import responses

router = APIRouter(prefix="/api", tags=["keys"], route_class=StrictRoute)


class RotateBody(Body):
    """Which keys: those that sign tokens, or the master key of device passwords."""

    devices: bool = False


class RotateAnswer(BaseModel):
    """The keys in use now, by name; no key is ever told."""

    signs: str
    masters: list[int]


@router.post("/keys/rotate", responses=responses(401, 403, 409))
async def rotate(_: TheOwner, body: RotateBody, site: TheSite) -> RotateAnswer:
    """New keys beside the old ones, which stay valid: tokens until they expire, the last master key until the next."""
    ring = await site.service.rotate_keys(masters=body.devices)
    return RotateAnswer(signs=ring.signs_people.kid, masters=[n for n, _ in ring.masters[-2:]])
