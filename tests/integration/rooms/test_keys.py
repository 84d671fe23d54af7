"""Keys are made anew while people play: nobody is thrown out, and what is made with the new ones opens at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiomqtt
import httpx
import pytest
from bandroom.paths import Home
from bandroom.wire.ids import TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Leaf

from .conftest import School


@pytest.mark.rule("CRED-6")
@pytest.mark.rule("CRED-11")
async def test_rotated_keys_are_the_brokers_when_the_command_ends(start_stack: Callable[..., Any], home: Home) -> None:
    """After each rotation the next CONNECT with a new credential is let in, the first time it is tried; pupil, teacher
    and device stay connected through all of them, the device even when its own password opens no more.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30) as http:
        school = School(stack, TenantId("lincoln"), http)
        room = school.room(bpm=300, start=True)
        drum = school.post("/devices", {"sub": "d-drum", "room": room.room}).json()
        beats = Filter(Leaf.BEAT, room.tenant, room.room)

        async def opens(access: Any) -> None:
            host, port = stack.mqtt
            name, password = access["username"], access.get("token") or access["password"]
            async with aiomqtt.Client(host, port, username=name, password=password, identifier=access["client_id"]):
                pass

        async with AsyncExitStack() as open_:
            ears = [
                await open_.enter_async_context(school.ear(access, beats))
                for access in (school.join(room), school.token("t-smith"), drum)
            ]
            for number in range(2, 5):
                told = stack.cli("keys", "rotate", "--devices")
                assert told["masters"] == [number - 1, number]
                await opens(school.post("/devices", {"sub": f"d-new-{number}"}).json())
                stack.cli("keys", "rotate")
                await opens(school.join(room))
            code, out, err = school.cli("keys", "rotate", "--devices")
            assert code == 0, err
            assert "The broker has the new keys." in out
            assert "master key 4 and 5 open" in out
            # Three times above; the gate holds eight of a kind, and would not start with more.
            codes = [school.cli("keys", "rotate")[0] for _ in range(5)]
            assert codes == [0, 0, 0, 0, 1]
            for ear in ears:
                ear.heard.clear()
                await ear.wait(lambda i: isinstance(i.message, Beat), "beats all the same")
                assert ear.connection.counters.connects == 1
        with pytest.raises(aiomqtt.MqttError):
            await opens(drum)
