"""Health: whether the process lives, and whether everything that it leans on works."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Response
from pydantic import BaseModel

from bandroom.web.api.metrics import certificate_state, stalled_workers
from bandroom.web.body import StrictRoute
from bandroom.web.deps import TheSite
from bandroom.web.errors import responses

router = APIRouter(tags=["health"], route_class=StrictRoute)
STARTING_S = 10.0


class Health(BaseModel):
    """The process answers."""

    ok: bool = True


class Ready(BaseModel):
    """Whether rooms can be used now; for each part "ok", or what is wrong."""

    ready: bool
    broker: str
    store: str
    gate: str
    tempo: str
    certificate: str
    """Also what is wrong with new files, while the old ones are in use: that alone makes nothing unready."""


@router.get("/healthz")
async def healthz() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses={503: {"model": Ready}, **{k: v for k, v in responses().items() if k != 503}})
async def readyz(response: Response, site: TheSite) -> Ready:
    """Broker, store, gate log, tempo workers and certificate, each tried; 503 if any of them does not work."""
    found = await site.service.readiness()
    # Workers start after the service: they are not missed at once.
    starting = time.monotonic() - site.started_s < STARTING_S
    tempo = await asyncio.to_thread(stalled_workers, site, starting=starting)
    certificate, usable = await asyncio.to_thread(certificate_state, site)
    ready = found.ready and tempo is None and usable
    response.status_code = 200 if ready else 503
    return Ready(
        ready=ready,
        broker=found.broker or "ok",
        store=found.store or "ok",
        gate=found.gate or "ok",
        tempo=tempo or "ok",
        certificate=certificate,
    )
