"""How far off their clocks may be: devices tell, and whoever leads the room reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bandroom.testing import wait_until_async
from bandroom_devices import Device

WITHIN_S = 30


def told(school: Any, room: str) -> dict[str, float]:
    """Each member's error bound in ms, of those who have told."""
    found = school.ask("GET", f"/api/tenants/{school.tenant}/rooms/{room}")
    errors = {m["sub"]: m["err"] for m in found["members"] if m["err"] is not None}
    assert found["worst_err_ms"] == max(errors.values(), default=None)
    return errors


@pytest.mark.rule("PRES-4")
async def test_a_device_tells_by_how_much_its_clock_may_be_off(school: Any) -> None:
    """Within seconds of joining it stands in the roster, in the room and in the list of rooms, the worst on top."""
    room = school.room()
    assert await asyncio.to_thread(told, school, room) == {}
    async with (
        Device.join(school.stack.url, school.tenant, room) as one,
        Device.join(school.stack.url, school.tenant, room) as other,
    ):
        here = {one.subject, other.subject}
        await wait_until_async(
            lambda: {sub for sub, member in one.members.items() if member.err} == here,
            timeout_s=WITHIN_S,
            what="both to have told",
        )
        errors = await asyncio.to_thread(told, school, room)
        assert set(errors) == here
        assert all(0 < ms < 1000 for ms in errors.values())
        rooms = await asyncio.to_thread(school.ask, "GET", f"/api/tenants/{school.tenant}/rooms")
        assert [found["worst_err_ms"] for found in rooms if found["room"] == room] == [max(errors.values())]
    # Those who have left tell no more.
    left: set[str] = set()
    async with Device.join(school.stack.url, school.tenant, room) as ear:
        await wait_until_async(
            lambda: all(ear.members[sub].state != "ready" for sub in here if sub in ear.members),
            timeout_s=WITHIN_S,
            what="the two to have left",
        )
        left = here & set(await asyncio.to_thread(told, school, room))
    assert left == set()
