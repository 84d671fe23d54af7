"""The HTTP API: joining, tenants, rooms and their commands, devices, tokens, health."""

from fastapi import APIRouter

from bandroom.web.api import devices, health, joining, rooms, tenants, tokens

router = APIRouter()
for part in (joining, tenants, rooms, devices, tokens, health):
    router.include_router(part.router)
