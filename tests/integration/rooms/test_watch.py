"""The live view that a teacher leaves open: every key, activity, clocks, limits, and restarts of what is behind it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from bandroom.paths import Home
from bandroom.testing import wait_until_async
from bandroom.wire.ids import TenantId
from bandroom.wire.messages import Note, Presence, RoomInfo, Tempo
from bandroom.wire.topics import Filter, Leaf, Room, presence

from .conftest import School


class View:
    """`bandroom rooms watch` in a terminal of its own, which is read all the time, as terminals are."""

    def __init__(self, leader: int, process: subprocess.Popen[bytes]) -> None:
        self._leader, self.process = leader, process
        self._seen = bytearray()

    def read(self) -> None:
        self._seen.extend(os.read(self._leader, 65536))

    def press(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    async def shows(self, *words: str) -> None:
        """Wait until all the words were drawn from now on."""
        self._seen.clear()

        def drawn() -> bool:
            text = self._seen.decode("utf-8", "replace")
            return all(word in text for word in words)

        await wait_until_async(drawn, timeout_s=20, what=f"{words}")


@asynccontextmanager
async def view(school: School, room: Room) -> AsyncIterator[View]:
    leader, follower = pty.openpty()
    argv = [sys.executable, "-P", "-m", "bandroom.cli", "rooms", "watch", room.room, "--tenant", school.tenant]
    env = {**school.stack.environment, "TERM": "xterm", "COLUMNS": "140", "LINES": "30"}
    process = subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, env=env)  # noqa: ASYNC220
    shown, loop = View(leader, process), asyncio.get_running_loop()
    loop.add_reader(leader, shown.read)
    try:
        yield shown
    finally:
        loop.remove_reader(leader)
        process.kill()
        await asyncio.to_thread(process.wait)
        os.close(leader)
        os.close(follower)


async def test_every_key_and_what_it_shows(school: School) -> None:
    """c, t, m, l, digits, arrows and x do what they say; notes, clock and what was dropped stand in the line."""
    room = school.room(bpm=240)
    assert school.post("/settings", {"limits": {"client_msgs": {"rate": 5, "burst": 20}}}).status_code == 200
    heard = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.ROOM, Leaf.TEMPO)]
    async with school.ear(school.join(room, nickname="Ann"), *heard) as ann, view(school, room) as screen:

        async def room_is(wanted: Callable[[RoomInfo], bool], what: str) -> None:
            ann.heard[:] = ann.heard[-1:]
            await ann.wait(lambda i: isinstance(i.message, RoomInfo) and wanted(i.message), what)

        await screen.shows("Ann", "standing still")
        await ann.connection.publish(presence(school.tenant, ann.sub), Presence("ready", 0, 4_200))
        await screen.shows("4.2", "clocks within")
        screen.press("m")
        await room_is(lambda info: info.all_muted, "all muted")
        await screen.shows("muted")
        screen.press("m")
        await room_is(lambda info: not info.all_muted, "nobody muted")
        screen.press("l")
        await room_is(lambda info: info.state == "locked", "locked")
        await screen.shows("locked")
        screen.press("1")
        await room_is(lambda info: ann.sub in info.muted, "Ann muted")
        await screen.shows("muted")
        screen.press("1")
        await room_is(lambda info: not info.muted, "Ann unmuted")
        screen.press("l")
        await screen.shows("open")  # what a key does goes by what is shown, which by now is that Ann is not muted
        screen.press("\x1b[Bx")
        await room_is(lambda info: ann.sub in info.muted, "Ann muted by the mark")
        await screen.shows("muted")
        screen.press("x")
        await room_is(lambda info: not info.muted, "Ann unmuted by the mark")
        screen.press("s")
        await screen.shows("240 bpm", "beat")
        screen.press("s")
        await screen.shows("standing still")
        screen.press("c")
        await screen.shows("240 bpm")
        maps = sum(isinstance(i.message, Tempo) for i in ann.heard)
        for _ in range(4):
            screen.press("t")
            await asyncio.sleep(0.4)  # the tempo that is tapped
        await ann.wait(lambda _: sum(isinstance(i.message, Tempo) for i in ann.heard) > maps, "a tempo by taps")
        for i in range(60):
            await ann.connection.publish(room.note(ann.sub), Note(t=None, on=i, off=None))
        await screen.shows("dropped: client_msgs")
        screen.press("q")
        await wait_until_async(lambda: screen.process.poll() == 0, what="the end of the view")


async def test_it_shows_the_code_that_opens_now(school: School) -> None:
    """Replaced by somebody else, on the command line or from the teacher's page; and with somebody put out."""
    room = school.room()
    school.join(room, nickname="Ann")
    async with view(school, room) as screen:
        await screen.shows(f"code {room.room}")
        code, out, err = school.cli("rooms", "new-code", room.room, "--tenant", school.tenant, "--json")
        assert code == 0, err
        await screen.shows(json.loads(out)["code"])
        await screen.shows(school.do(room, "kick", who="Ann")["code"])


async def test_it_stays_through_restarts(start_stack: Callable[..., Any], home: Home) -> None:
    """The service killed, then the broker: the view comes back by itself, shows who is there, and its keys work."""
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:
        school = School(stack, TenantId("lincoln"), http)
        room = school.room(bpm=240, start=True)
        info = Filter(Leaf.ROOM, room.tenant, room.room)
        async with school.ear(school.join(room, nickname="Ann"), info) as ann, view(school, room) as screen:
            await screen.shows("Ann", "240 bpm")
            for part in ("service", "broker"):
                old = stack.pid_of(part)
                stack.kill(part)
                await asyncio.to_thread(stack.wait_restarted, part, old)
                await ann.connection.wait_connected()
                await ann.connection.publish(presence(school.tenant, ann.sub), Presence("ready"))
                await screen.shows("Ann", "240 bpm", "open")
                ann.heard.clear()
                # Ready again before a key is pressed: what is sent while the service is away is lost.
                await wait_until_async(lambda: http.get("/readyz").status_code == 200, timeout_s=30, what="readiness")
                screen.press("m")
                await ann.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.all_muted, "all muted")
                await screen.shows("muted")
                screen.press("m")
                await ann.wait(lambda i: isinstance(i.message, RoomInfo) and not i.message.all_muted, "nobody muted")
            assert screen.process.poll() is None
