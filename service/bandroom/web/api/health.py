"""Health: whether the process lives, and whether everything that it leans on works."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from bandroom.web.body import StrictRoute
from bandroom.web.deps import TheSite
from bandroom.web.errors import responses

router = APIRouter(tags=["health"], route_class=StrictRoute)


class Health(BaseModel):
    """The process answers."""

    ok: bool = True


class Ready(BaseModel):
    """Whether rooms can be used now; for each part "ok", or what is wrong."""

    ready: bool
    broker: str
    store: str
    gate: str


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses={503: {"model": Ready}, **{k: v for k, v in responses().items() if k != 503}})
async def readyz(response: Response, site: TheSite) -> Ready:
    """Broker, store and gate log, each tried; 503 if any of them does not work."""
    found = await site.service.readiness()
    response.status_code = 200 if found.ready else 503
    return Ready(ready=found.ready, broker=found.broker or "ok", store=found.store or "ok", gate=found.gate or "ok")
