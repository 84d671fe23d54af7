"""Limits of a tenant and its deletion, as those feel it who are connected."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from bandroom.auth.keys import load_keys
from bandroom.auth.tokens import mint_service
from bandroom.mqtt import Connection, Credential, Disconnected, UnixSocket, connect
from bandroom.paths import Home
from bandroom.testing import wait_until
from bandroom.wire.ids import Role, RoomId, Subject, TenantId
from bandroom.wire.messages import LimitReport, Note, Presence, RoomInfo
from bandroom.wire.topics import Filter, Leaf, Room, assignment, presence

from .conftest import Ear, School


@pytest.mark.rule("LIM-5")
async def test_a_tenants_own_limits_are_in_force_at_once(school: School) -> None:
    """Set while a pupil plays: what is over it reaches nobody and is reported; reset, all is heard again."""
    room = school.room()
    heard = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.NOTE, Leaf.LIMIT, Leaf.ROOM)]
    marks = itertools.count()

    async with (
        school.ear(school.join(room)) as ann,
        school.ear(school.token("t-smith"), *heard) as smith,
    ):

        async def heard_of(first: int) -> int:
            """How many of forty notes in one go are heard."""
            smith.heard.clear()
            for i in range(40):
                await ann.connection.publish(room.note(ann.sub), Note(t=None, on=first + i % 40, off=None))
            # Acknowledged behind them, so the mark that follows is behind them, too.
            await ann.connection.publish(presence(school.tenant, ann.sub), Presence("ready"))
            name = f"mark {next(marks)}"
            school.do(room, "rename", name=name)
            await smith.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.name == name, "the mark")
            return sum(i.topic.subject == ann.sub for i in smith.heard if isinstance(i.message, Note))

        assert await heard_of(40) == 40
        cli = ("tenants", "limits", school.tenant)
        code, out, err = school.cli(*cli, "--set", "client_msgs=1:5", "--max-rooms", "7")
        assert code == 0, err
        assert "client_msgs" in out
        assert await heard_of(40) <= 6
        report = await smith.wait(lambda i: isinstance(i.message, LimitReport), "a report")
        assert isinstance(report.message, LimitReport)
        assert report.message.why == "client_msgs"
        shown = school.http.get(f"/api/tenants/{school.tenant}").json()
        assert (shown["max_rooms"], shown["rooms"]) == (7, 7)
        assert shown["limits"]["client_msgs"] == {"rate": 1, "burst": 5, "own": True}
        assert shown["limits"]["subs"]["own"] is False
        assert school.cli(*cli, "--reset")[0] == 0
        # The bucket fills at its old rate again: a hundred a second.
        deadline = asyncio.get_running_loop().time() + 10
        while (count := await heard_of(40)) < 40:
            assert asyncio.get_running_loop().time() < deadline, count
            await asyncio.sleep(0.5)
        assert school.http.get(f"/api/tenants/{school.tenant}").json()["max_rooms"] is None
    pupil, teacher = school.join(room)["token"], school.token("t-smith")["token"]
    where = f"/api/tenants/{school.tenant}"
    assert school.call(f"{where}/settings", teacher, {"max_rooms": 1}).status_code == 403
    assert school.call(f"{where}/settings", pupil, {"max_rooms": 1}).status_code == 403
    for bad in ({"limits": {"none": {"rate": 1, "burst": 1}}}, {"limits": {"subs": {"rate": 0, "burst": 1}}}):
        assert school.post("/settings", bad).status_code == 422
    for words in (["--set", "none=1:1"], ["--set", "subs=0:1"], ["--set", "subs"]):
        assert school.cli(*cli, *words)[0] == 2


def test_how_long_pupils_are_kept_is_settable(school: School) -> None:
    """By the command line, as docs/privacy.md says; never longer than a room rests."""
    words = ("tenants", "set", school.tenant, "--forget-pupils-after")
    assert school.http.get(f"/api/tenants/{school.tenant}").json()["forget_pupils_s"] == 86_400
    for seconds in (0, 600):
        code, _, err = school.cli(*words, str(seconds))
        assert code == 0, err
        assert school.http.get(f"/api/tenants/{school.tenant}").json()["forget_pupils_s"] == seconds
    for bad in ("86401", "-1", "soon"):
        assert school.cli(*words, bad)[0] == 2
    assert school.http.get(f"/api/tenants/{school.tenant}").json()["forget_pupils_s"] == 600


@pytest.mark.soak
def test_pupils_are_forgotten_within_a_minute(school: School) -> None:
    """With 0 as docs/privacy.md says it: closed, and a minute later the running service knows no pupil of the room."""
    assert school.cli("tenants", "set", school.tenant, "--forget-pupils-after", "0")[0] == 0
    room = school.room()
    token = school.join(room, nickname="Ann")["token"]
    school.do(room, "close")
    where = f"/api/tenants/{school.tenant}/rooms/{room.room}"
    wait_until(lambda: not school.http.get(where).json()["members"], timeout_s=65, what="nobody on record")
    school.do(room, "reopen")
    assert school.call("/api/renew", token).status_code == 403


@asynccontextmanager
async def beside_the_service(home: Home) -> AsyncGenerator[Connection]:
    """A connection with the service's rights, beside its own."""
    fresh = Credential(
        "bandroom/rooms",
        "bandroom_rooms_7",
        lambda: mint_service(load_keys(home), Role.ROOMS, "rooms", now_s=int(time.time())),
    )
    async with connect(UnixSocket(str(home.broker_socket)), fresh, will=None, give_up_after_s=10) as connection:
        yield connection


@pytest.mark.rule("REV-8")
async def test_what_is_left_of_a_room_that_nobody_knows_is_cleared(start_stack: Callable[..., Any], home: Home) -> None:
    """The broker holds the topics of a room of no school, as when a service was killed right after it deleted one: the
    next service finds and clears them, and lets all others be.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    room = stack.cli("rooms", "create", "--tenant", "lincoln")["room"]
    known, gone = Room(TenantId("lincoln"), RoomId(room)), Room(TenantId("gone"), RoomId("MUSIC-1234"))
    async with beside_the_service(home) as connection:
        await connection.subscribe(Filter.of(known.info()), Filter.of(known.tempo()))
        held: dict[str, Any] = {}
        async with asyncio.timeout(20):
            async for incoming in connection.messages:
                held[incoming.topic.name] = incoming.message
                if len(held) == 2:
                    break
            await connection.publish(gone.tempo(), held[known.tempo().name])
            await connection.publish(gone.info(), held[known.info().name])
            await connection.subscribe(Filter.of(gone.info()), Filter.of(gone.tempo()))
            old = stack.kill("service")
            async for incoming in connection.messages:
                held[incoming.topic.name] = incoming.message
                if held.get(gone.info().name, 0) is held.get(gone.tempo().name, 0) is None:
                    break
        await asyncio.to_thread(stack.wait_restarted, "service", old)
        assert held[known.info().name] is not None
        assert held[known.tempo().name] is not None


@pytest.mark.rule("REV-8")
async def test_a_deleted_tenant_is_gone_and_its_clients_are_out(school: School) -> None:
    """Pupil, teacher and device are disconnected and refused; no topic of it is retained; its id stays taken."""
    room = school.room(bpm=240, start=True)
    pupil, smith = school.join(room), school.token("t-smith")
    drum = school.post("/devices", {"sub": "d-drum", "room": room.room}).json()
    other = School(school.stack, TenantId(f"{school.tenant}-2"), school.http)
    assert school.http.post("/api/tenants", json={"tenant": other.tenant}).status_code == 201
    mark = other.room()
    here = Filter.of(assignment(school.tenant, Subject("d-drum")))
    assert school.cli("tenants", "delete", school.tenant)[0] == 2  # not without being sure
    async with school.ear(pupil) as ann, school.ear(smith) as teacher, school.ear(drum, here) as board:

        async def ended(ear: Ear) -> None:
            async for state in ear.connection.states():
                if isinstance(state, Disconnected) and state.refused:
                    return

        code, out, err = school.cli("tenants", "delete", school.tenant, "--yes")
        assert code == 0, err
        assert "1 room, 1 member, 1 device, 0 teachers" in out
        async with asyncio.timeout(10):
            await asyncio.gather(*(ended(ear) for ear in (ann, teacher, board)))
    home = school.stack.home
    async with beside_the_service(home) as connection:
        await connection.subscribe(*(Filter(leaf, school.tenant) for leaf in Leaf))
        other.do(mark, "lock")
        await connection.subscribe(Filter(Leaf.ROOM, mark.tenant, mark.room))
        held: set[str] = set()
        async with asyncio.timeout(10):
            async for incoming in connection.messages:
                # The Wills of those who were put out may be there for a moment.
                (held.discard if incoming.message is None else held.add)(incoming.topic.name)
                if held == {mark.info().name}:
                    break
    assert school.call("/api/renew", smith["token"]).status_code == 403
    assert school.call("/api/renew", pupil["token"]).status_code == 403
    assert school.http.get(f"/api/tenants/{school.tenant}").status_code == 404
    again = school.http.post("/api/tenants", json={"tenant": school.tenant})
    assert (again.status_code, again.json()["err"]) == (409, "conflict")
    log = home.gate_log.read_text()
    assert f"open {school.tenant} " not in log
    assert f"floor {school.tenant} d-drum 2" in log


@pytest.mark.parametrize("role", ["teacher", "pupil", "nobody"])
def test_only_the_owner_deletes_a_tenant(school: School, role: str) -> None:
    """And not without the tenant's id once more."""
    room = school.room()
    tokens = {"teacher": school.token("t-smith")["token"], "pupil": school.join(room)["token"], "nobody": None}
    where = f"/api/tenants/{school.tenant}/delete"
    answer: httpx.Response = school.call(where, tokens[role], {"confirm": school.tenant})
    assert answer.status_code == (401 if role == "nobody" else 403)
    assert school.post("/delete", {"confirm": "another"}).status_code == 422
    assert school.http.get(f"/api/tenants/{school.tenant}").status_code == 200
