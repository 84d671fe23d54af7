"""Fault drills: what goes wrong at once while a class plays, and what must not come of it."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from bandroom.paths import Home
from bandroom.testing import wait_until, wait_until_async
from bandroom.wire.ids import TenantId
from bandroom.wire.messages import Beat, RoomInfo, Tempo
from bandroom.wire.topics import Filter, Leaf

from .conftest import School, is_on_its_grid

StartStack = Callable[..., Any]


@contextmanager
def lincoln(stack: Any) -> Iterator[School]:
    """The school of that name in a stack of the test's own."""
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as http:
        yield School(stack, TenantId("lincoln"), http)


async def test_the_disk_is_full_in_the_middle_of_a_lesson(start_stack: StartStack, home: Home) -> None:
    """No file may grow (so it is for root as well): commands are refused and say why, and are whole; beats go on, and
    whatever needs no write; readiness tells. With room again the same command is done, and what was confirmed is there
    after a kill -9.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    with lincoln(stack) as school:
        room = school.room(code="MUSIC-1234", bpm=300, start=True)
        pupil = school.join(room)
        where = f"/rooms/{room.room}/commands"
        wanted = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM)]
        async with school.ear(pupil, *wanted) as ann:
            await ann.wait(lambda i: isinstance(i.message, Beat), "a beat")
            service = stack.pid_of("service")
            wal = home.database.with_name(home.database.name + "-wal")
            limit = wal.stat().st_size
            before = resource.prlimit(service, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            confirmed, refused = None, None
            for i in range(50):
                answer = school.post(where, {"id": f"r{i}", "cmd": "rename", "name": f"name {i}"})
                if answer.status_code != 200:
                    refused = i, answer
                    break
                confirmed = i
            assert refused is not None
            i, answer = refused
            assert (answer.status_code, answer.json()["err"]) == (503, "unavailable"), answer.text
            assert "disk" in answer.json()["text"]
            await wait_until_async(
                lambda: "disk" in httpx.get(f"{stack.url}/readyz").json()["store"],
                what="word of the disk in /readyz",
            )
            # Looking, renewing and playing need no write.
            shown = school.http.get(f"/api/tenants/lincoln/rooms/{room.room}").json()
            assert shown["name"] == (f"name {confirmed}" if confirmed is not None else "MUSIC-1234")
            assert school.call("/api/renew", pupil["token"]).status_code == 200
            ann.heard[:] = [i for i in ann.heard if not isinstance(i.message, Beat)]
            await ann.wait(lambda i: isinstance(i.message, Beat), "beats all the same")
            resource.prlimit(service, resource.RLIMIT_FSIZE, before)
            again = school.post(where, {"id": f"r{i}", "cmd": "rename", "name": f"name {i}"})
            assert again.status_code == 200, again.text
            await ann.wait(lambda m: isinstance(m.message, RoomInfo) and m.message.name == f"name {i}", "the name")
            stack.kill("service")
            stack.wait_restarted("service", service)
            shown = wait_until(
                lambda: school.http.get(f"/api/tenants/lincoln/rooms/{room.room}").json(), what="the service"
            )
            assert shown["name"] == f"name {i}"
            assert is_on_its_grid(ann) > 0


# With the service's time hurried, and so in every run of the tests, it is in test_long_drills.py.
@pytest.mark.soak
async def test_the_broker_is_away_for_half_a_minute(start_stack: StartStack, home: Home) -> None:
    """Hung, then on again: each command meanwhile is answered and recorded; afterwards all hear the last state, and the
    beats of the last map, on its grid.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    with lincoln(stack) as school:
        room = school.room(code="MUSIC-1234", bpm=300, start=True)
        wanted = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM)]
        async with school.ear(school.join(room), *wanted) as ann:
            await ann.wait(lambda i: isinstance(i.message, Beat), "a beat")
            broker = stack.pid_of("broker")
            os.kill(broker, signal.SIGSTOP)
            began_s, count, slowest_s = time.monotonic(), 0, 0.0
            try:
                while time.monotonic() - began_s < 30:
                    count += 1
                    asked_s = time.monotonic()
                    school.do(room, "set_tempo", bpm=200 + count, at="beat")
                    school.do(room, "rename", name=f"name {count}")
                    slowest_s = max(slowest_s, time.monotonic() - asked_s)
            finally:
                if stack.pid_of("broker") == broker:
                    os.kill(broker, signal.SIGCONT)
            last = school.http.get(f"/api/tenants/lincoln/rooms/{room.room}").json()["rev"]
            name = f"name {count}"
            await ann.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.name == name, "the last name")
            await ann.wait(lambda i: isinstance(i.message, Tempo) and i.message.rev == last, "the last map")
            await ann.wait(lambda i: isinstance(i.message, Beat) and i.message.rev == last, "a beat of the last map")
            assert is_on_its_grid(ann) > 0
            print(f"{count} pairs of commands, the slowest took {slowest_s:.1f} s")
            assert slowest_s < 20
