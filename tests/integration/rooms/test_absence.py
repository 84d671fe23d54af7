"""Nobody is there: rooms are closed with a warning, and those who are gone without a word leave the roster."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import aiomqtt
import httpx
import pytest
from bandroom.paths import Home
from bandroom.testing import wait_until_async
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Member, RoomInfo
from bandroom.wire.topics import Filter, Leaf, Room
from bandroom_devices import Device

from .conftest import School


@pytest.mark.rule("ROOM-1")
async def test_a_warning_is_retained_and_taken_back_when_somebody_comes(
    start_stack: Callable[..., Any], home: Home
) -> None:
    """A room unused for an hour, over a restart: the teacher hears when it closes; a pupil comes, and it does not."""
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    stack.cli("rooms", "create", "--code", "MUSIC-1234")
    stack.stop()
    with sqlite3.connect(home.database) as database:
        database.execute("UPDATE rooms SET used_at = used_at - 7200")
    database.close()
    stack = start_stack(home)
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    with httpx.Client(base_url=stack.url, headers=headers) as http:
        school = School(stack, TenantId("lincoln"), http)
        room = Room(school.tenant, RoomId("MUSIC-1234"))
        info = Filter(Leaf.ROOM, room.tenant, room.room)
        async with school.ear(school.token("t-smith"), info) as smith:
            warned = await smith.wait(
                lambda i: isinstance(i.message, RoomInfo) and bool(i.message.closing_t), "closing"
            )
            assert isinstance(warned.message, RoomInfo)
            closes_at = stack.cli("rooms", "show", room.room)["closes_at"]
            assert warned.message.closing_t == closes_at * 1_000_000
            async with school.ear(school.token("t-late"), info) as late:
                kept = await late.wait(lambda i: i.retained, "the retained message")
                assert kept.message == warned.message
            async with school.ear(school.join(room)):
                await smith.wait(
                    lambda i: (
                        isinstance(i.message, RoomInfo)
                        and i.message.rev > warned.message.rev
                        and i.message.closing_t is None
                    ),
                    "the warning taken back",
                )


# With the service's time hurried, and so in every run of the tests, it is in test_long_drills.py.
@pytest.mark.soak
@pytest.mark.rule("PRES-5")
async def test_ghosts_leave_and_quiet_boards_stay(school: School) -> None:
    """Gone with neither Will nor word: lost within 80 s, cleared a minute later. Who is there is ready all the time:
    a device that tells of its clock, and a board that spoke once.
    """
    room = school.room()
    ghost, board, smith = school.join(room, nickname="Ghost"), school.join(room, nickname="Board"), school.token("t-a")
    host, port = school.stack.mqtt

    def raw(access: Any) -> aiomqtt.Client:
        return aiomqtt.Client(
            host, port, username=access["username"], password=access["token"], identifier=access["client_id"]
        )

    where = f"/api/tenants/{room.tenant}/rooms/{room.room}"

    def states() -> dict[str, str | None]:
        return {m["name"]: m["state"] for m in school.http.get(where).json()["members"]}

    device = Device.join(school.stack.url, room.tenant, str(room.room), nickname="Device")
    async with school.ear(smith, Filter(Leaf.MEMBER, room.tenant, room.room)) as teacher, device, raw(board) as quiet:
        await quiet.publish(f"tenant/{room.tenant}/presence/{board['sub']}", b"ready 0", qos=1, retain=True)
        async with raw(ghost) as gone:  # it has no Will, and says no goodbye
            await gone.publish(f"tenant/{room.tenant}/presence/{ghost['sub']}", b"ready 0 850", qos=1, retain=True)
            await wait_until_async(lambda: states() == dict.fromkeys(("Ghost", "Board", "Device"), "ready"))
        await asyncio.sleep(70)
        assert states() == dict.fromkeys(("Ghost", "Board", "Device"), "ready")
        wanted = {"Ghost": "lost", "Board": "ready", "Device": "ready"}
        await wait_until_async(lambda: states() == wanted, timeout_s=15, what="the ghost lost")
        wanted["Ghost"] = None  # type: ignore[assignment]
        await wait_until_async(lambda: states() == wanted, timeout_s=75, what="the ghost gone")
        told = [i.message for i in teacher.heard if i.topic.subject != ghost["sub"]]
        assert all(isinstance(m, Member) and m.state == "ready" for m in told)
