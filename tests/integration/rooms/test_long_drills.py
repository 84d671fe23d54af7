"""Drills that take minutes, in seconds: the service's own time is hurried, all else about it is real.

In real time, through every part at once, they are in test_drills.py and test_absence.py (`make soak`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import aiomqtt
import pytest
from bandroom.mqtt import NotConnected
from bandroom.paths import Home
from bandroom.rooms import admin
from bandroom.rooms.admin import NewRoom
from bandroom.rooms.roster import GONE_US, SILENT_US
from bandroom.store import RoomState
from bandroom.testing import wait_until_async
from bandroom.wire.ids import JoinCode
from bandroom.wire.messages import Beat, Command, Member, Presence, RoomInfo, Tempo
from bandroom.wire.topics import Filter, Leaf, Room, presence

from .conftest import School, is_on_its_grid
from .hurried import LINCOLN, Hurried, hurried

AWAY_S = 30.0
HOUR_S = 3600


async def a_room(stack: Hurried, *, start: bool) -> Room:
    """MUSIC-1234 of lincoln, in force at the gate."""
    made = await stack.call(admin.create_room, LINCOLN, NewRoom(JoinCode("MUSIC-1234"), bpm=300, start=start))
    await stack.ask(stack.service.in_force)
    return Room(LINCOLN, made.room)


async def test_the_broker_is_gone_for_half_a_minute_during_commands(home: Home) -> None:
    """Killed, and for 30 s of the service's time there is none: every command is done and answered at once, readiness
    tells, and one that is sent over MQTT is never done late. When there is a broker again all hear the last state, and
    beats of the last map, each on its grid, none doubled.
    """
    async with hurried(home, 5, clock_rate=1) as stack:
        room = await a_room(stack, start=True)
        school = School(stack, LINCOLN, None)  # type: ignore[arg-type]
        wanted = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM)]
        ann_s, smith_s = await stack.token("s-ann", room), await stack.token("t-smith")
        async with stack.worker(), school.ear(ann_s, *wanted) as ann, school.ear(smith_s) as smith:
            await ann.wait(lambda i: isinstance(i.message, Beat), "a beat")
            await stack.kill_broker()
            began_s, count, slowest_s = stack.now_s(), 0, 0.0
            while stack.now_s() - began_s < AWAY_S:
                count += 1
                asked_s = stack.now_s()
                assert (await stack.do(room, "set_tempo", bpm=200 + count % 200, at="beat")).ok
                assert (await stack.do(room, "mute" if count % 2 else "unmute")).ok
                assert (await stack.do(room, "rename", name=f"name {count}")).ok
                slowest_s = max(slowest_s, stack.now_s() - asked_s)
                with contextlib.suppress(NotConnected, TimeoutError):
                    late = Command.decode(b'{"id":"late","cmd":"rename","name":"too late"}')
                    await smith.connection.publish(room.control(smith.sub), late)
                await asyncio.sleep(0.05)  # the teacher's pace: one after the other for as long as it lasts
            readiness = await stack.ask(stack.service.readiness)
            assert not readiness.ready
            assert "no connection" in (readiness.broker or "")
            last = (await stack.call(lambda control: control.room(room.tenant, room.room))).tempo_rev
            await stack.start_broker()
            name = f"name {count}"
            told = await ann.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.name == name, "the last name")
            assert isinstance(told.message, RoomInfo)
            assert told.message.all_muted == (count % 2 == 1)
            await ann.wait(lambda i: isinstance(i.message, Tempo) and i.message.rev == last, "the last map")
            await ann.wait(lambda i: isinstance(i.message, Beat) and i.message.rev == last, "a beat of the last map")
            await wait_until_async(stack.service.connected.is_set, what="the service connected")
            assert (await stack.ask(stack.service.readiness)).ready
            # A command now is in force and heard at once, as before.
            assert (await stack.do(room, "rename", name="after")).ok
            await ann.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.name == "after", "the new name")
            assert not any(isinstance(i.message, RoomInfo) and i.message.name == "too late" for i in ann.heard)
            assert is_on_its_grid(ann) > 1
            # Three commands; on a busy machine this time, too, runs five times as fast.
            assert count >= 3
            assert slowest_s < 25


@pytest.mark.rule("PRES-5")
async def test_ghosts_leave_and_quiet_boards_stay(home: Home) -> None:
    """Gone with neither Will nor word: lost 75 s after its last word, and not before; cleared a minute later. Who tells
    of its clock and goes on speaking, and a board that spoke once and keeps its connection, are ready all the time.
    """
    async with hurried(home, 15, clock_rate=15) as stack:
        room = await a_room(stack, start=False)
        names = {sub: await stack.token(sub, room) for sub in ("s-ghost", "s-board", "s-device")}
        host, port = stack.mqtt

        def raw(sub: str) -> aiomqtt.Client:
            access: Any = names[sub]
            return aiomqtt.Client(
                host, port, username=access["username"], password=access["token"], identifier=access["client_id"]
            )

        async def say(client: aiomqtt.Client, sub: str, said: bytes) -> None:
            await client.publish(f"tenant/lincoln/presence/{sub}", said, qos=1, retain=True)

        def states() -> dict[str, str]:
            present = stack.service.control.roster.present(room.tenant, room.room)
            return {str(line.sub): line.member.state for line in present}

        async def go_on_speaking(client: aiomqtt.Client) -> None:
            while True:
                await say(client, "s-device", b"ready 0 700")
                await asyncio.sleep(0.4)  # 6 s of the service's time

        school = School(stack, LINCOLN, None)  # type: ignore[arg-type]
        line = Filter(Leaf.MEMBER, room.tenant, room.room)
        here = dict.fromkeys(names, "ready")
        async with (
            school.ear(await stack.token("t-smith"), line) as smith,
            raw("s-board") as board,
            raw("s-device") as device,
            asyncio.TaskGroup() as group,
        ):
            speaking = group.create_task(go_on_speaking(device))
            await say(board, "s-board", b"ready 0")
            async with raw("s-ghost") as ghost:
                await say(ghost, "s-ghost", b"ready 0 850")
                await wait_until_async(lambda: states() == here, what="all three there")
                spoke_us = stack.clock.now_us()

            def told_of(state: str | None) -> list[int]:
                """When the ghost was told of so, by the service's clock at the time of hearing."""
                return [at_us for at_us, seen in seen_states if seen == state]

            seen_states: list[tuple[int, str | None]] = []

            async def watch() -> None:
                seen = 0
                while True:
                    for incoming in smith.heard[seen:]:
                        if incoming.topic.subject == "s-ghost":
                            member = incoming.message
                            state = member.state if isinstance(member, Member) else None
                            seen_states.append((stack.clock.now_us(), state))
                    seen = len(smith.heard)
                    await asyncio.sleep(0.01)

            watching = group.create_task(watch())
            await wait_until_async(lambda: told_of("lost"), timeout_s=20, what="the ghost lost")
            await wait_until_async(lambda: told_of(None), timeout_s=20, what="the ghost cleared")
            speaking.cancel()
            watching.cancel()
            (lost_us,), (cleared_us,) = told_of("lost"), told_of(None)
            second_us = 1_000_000
            assert SILENT_US - 2 * second_us < lost_us - spoke_us
            assert GONE_US - 2 * second_us < cleared_us - lost_us
            assert states() == {"s-board": "ready", "s-device": "ready"}
            others = [i.message for i in smith.heard if i.topic.subject != "s-ghost"]
            assert others
            assert all(isinstance(m, Member) and m.state == "ready" for m in others)


@pytest.mark.rule("ROOM-1")
async def test_a_room_that_was_forgotten_is_closed_after_an_hour_and_its_pupils_forgotten(home: Home) -> None:
    """Ann comes and leaves, and nobody else comes: five minutes before the hour is over the room says when it closes;
    then it closes, and what was known of Ann is deleted, as her school wants it, by the running service itself.
    """
    async with hurried(home, 20, clock_rate=600) as stack:
        room = await a_room(stack, start=True)
        await stack.call(admin.set_tenant, LINCOLN, None, 0)
        school = School(stack, LINCOLN, None)  # type: ignore[arg-type]
        leaves = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.ROOM, Leaf.TEMPO, Leaf.MEMBER)]
        async with school.ear(await stack.token("t-smith"), *leaves) as smith:
            async with school.ear(await stack.token("s-ann", room)) as ann:
                await smith.wait(lambda i: isinstance(i.message, Member) and i.message.state == "ready", "Ann")
                await ann.connection.publish(presence(LINCOLN, ann.sub), Presence("disconnected"))

            def told() -> RoomInfo:
                return [i.message for i in smith.heard if isinstance(i.message, RoomInfo)][-1]

            await wait_until_async(lambda: told().closing_t, timeout_s=20, what="the warning")
            row = await stack.call(lambda control: control.room(room.tenant, room.room))
            closes_us = told().closing_t or 0
            assert told().state == "open"
            assert closes_us // 1_000_000 - row.used_at >= HOUR_S
            await wait_until_async(lambda: told().state == "closed", timeout_s=20, what="the closing")
            assert stack.clock.now_us() >= closes_us
            assert told().closing_t is None

            def known_of_ann() -> list[str]:
                # That her tokens are void stays until they would have expired; it is not about her any more.
                with contextlib.closing(sqlite3.connect(home.database)) as database:
                    return [row for row in database.iterdump() if "s-ann" in row and '"revocations"' not in row]

            await wait_until_async(lambda: not known_of_ann(), timeout_s=20, what="Ann forgotten")
            row = await stack.call(lambda control: control.room(room.tenant, room.room))
            assert row.state is RoomState.CLOSED
