"""Beats through the whole of it: service, gate, worker, as `bandroom up` runs them."""

import asyncio
import json
from itertools import pairwise
from typing import Any

from bandroom.clock import ServerClock
from bandroom.mqtt import Connection, Credential, Tcp, connect
from bandroom.testing import wait_until_async
from bandroom.wire.ids import TenantId
from bandroom.wire.messages import Beat, Tempo
from bandroom.wire.tempo import from_message
from bandroom.wire.topics import Filter, Leaf

CODE = "MUSIC-1234"


def teacher(stack: Any, tenant: str) -> Credential:
    told = stack.cli("tokens", "mint", "--tenant", tenant, "--role", "teacher", "--sub", "t-ear")
    return Credential.fixed(told["username"], told["client_id"], told["token"])


class Ear:
    """A teacher who hears the beats and maps of the whole school."""

    def __init__(self, tenant: str) -> None:
        self.tenant = TenantId(tenant)
        self.beats: list[Beat] = []
        self.maps: list[Tempo] = []
        self.rooms: set[str] = set()

    async def listen(self, connection: Connection) -> None:
        await connection.subscribe(Filter(Leaf.TEMPO, self.tenant), Filter(Leaf.BEAT, self.tenant))
        async for incoming in connection.messages:
            assert incoming.topic.tenant == self.tenant
            self.rooms.add(str(incoming.topic.room))
            match incoming.message:
                case Beat() as beat:
                    self.beats.append(beat)
                case Tempo() as tempo:
                    self.maps.append(tempo)
                case _:
                    raise AssertionError(incoming)


async def test_one_code_in_two_schools_and_a_change_of_tempo(stack: Any) -> None:
    """MUSIC-1234 in two tenants at once, each at its own tempo; a change made in one is followed there and only there;
    every beat is the one that the retained map of its revision says."""
    schools = {"beats-a": 120, "beats-b": 200}
    for tenant, bpm in schools.items():
        await asyncio.to_thread(stack.cli, "tenants", "create", tenant)
        await asyncio.to_thread(
            stack.cli, "rooms", "create", "--tenant", tenant, "--code", CODE, "--bpm", str(bpm), "--start"
        )
    ears = {tenant: Ear(tenant) for tenant in schools}
    credentials = {tenant: await asyncio.to_thread(teacher, stack, tenant) for tenant in schools}
    where = Tcp(*stack.mqtt)
    async with (
        connect(where, credentials["beats-a"], will=None) as a,
        connect(where, credentials["beats-b"], will=None) as b,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(ears["beats-a"].listen(a)), group.create_task(ears["beats-b"].listen(b))]
        for tenant in schools:
            await wait_until_async(lambda t=tenant: len(ears[t].beats) >= 4, what=f"beats of {tenant}")
        await asyncio.to_thread(stack.cli, "rooms", "set-tempo", "--tenant", "beats-b", CODE, "300", "--at", "beat")
        await wait_until_async(lambda: any(x.bpm == 300 for x in ears["beats-b"].beats), what="the new tempo")
        mark = len(ears["beats-a"].beats)
        await wait_until_async(lambda: len(ears["beats-a"].beats) >= mark + 2, what="the other school goes on")
        for task in tasks:
            task.cancel()
    assert {x.bpm for x in ears["beats-a"].beats} == {120}
    for ear in ears.values():
        assert ear.rooms == {CODE}
        maps = {told.rev: from_message(told) for told in ear.maps}
        for beat in ear.beats:
            due = maps[beat.rev].beat(beat.n)
            assert due is not None
            assert (beat.t, beat.bar, beat.pos, beat.bpm, beat.d) == (due.t, due.bar, due.pos, due.bpm, due.d)
        assert all(after.n == before.n + 1 for before, after in pairwise(ear.beats))


async def test_the_worker_tells_how_it_does(stack: Any) -> None:
    """Its meters are on file at most a few seconds old, count up, and are closed to other users."""
    await asyncio.to_thread(stack.cli, "tenants", "create", "beats-c")
    await asyncio.to_thread(stack.cli, "rooms", "create", "--tenant", "beats-c", "--bpm", "240", "--start")
    path = stack.home.root / "metrics" / "tempo-0.json"
    clock = ServerClock.from_file(stack.home.gate_clock)

    def published() -> int:
        told = json.loads(path.read_text())
        assert clock.now_us() - told["time_us"] < 10_000_000
        assert told["connected"] is True
        return int(told["published"])

    await wait_until_async(path.exists, what="the meters")
    before = published()
    await wait_until_async(lambda: published() > before + 4, what="more beats")
    told = json.loads(path.read_text())
    assert sum(told["lateness_us"]["counts"]) == told["published"]
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
