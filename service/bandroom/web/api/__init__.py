"""The HTTP API: joining, tenants, rooms and their commands, devices, tokens, health."""

from fastapi import APIRouter

from bandroom.web.api import devices, health, joining, keys, metrics, rooms, screens, teachers, tenants, tokens

router = APIRouter()
for part in (joining, tenants, teachers, rooms, screens, devices, tokens, keys, health, metrics):
    router.include_router(part.router)
