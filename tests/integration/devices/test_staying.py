"""Devices stay: through a broker or service that dies, a token that is renewed, a move to another room."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import pytest
from bandroom.testing import wait_until_async
from bandroom_devices import Device, JoinRefused, core

WITHIN_S = 30


async def collect(device: Device, beats: list[int]) -> None:
    """Note the number of each beat that the device plays."""
    async for beat in device.beats():
        beats.append(beat.n)  # noqa: PERF401  (the list is read meanwhile)


async def test_the_beat_goes_on_through_a_killed_broker_and_notes_come_back(own_school: Any) -> None:
    """kill -9 of the broker: not one beat is missed or doubled on the device, and it plays to classmates again."""
    school = own_school
    room = school.room(bpm=240)
    async with (
        Device.join(school.stack.url, school.tenant, room) as player,
        Device.join(school.stack.url, school.tenant, room) as ear,
    ):
        beats: list[int] = []
        following = asyncio.create_task(collect(player, beats))
        await wait_until_async(lambda: len(beats) >= 2, timeout_s=WITHIN_S, what="two beats")
        killed = school.stack.kill("broker")
        await wait_until_async(lambda: not player.connected, timeout_s=WITHIN_S, what="the loss noticed")
        assert await player.play(60) is False
        await wait_until_async(lambda: player.connected and ear.connected, timeout_s=WITHIN_S, what="both back")
        await asyncio.to_thread(school.stack.wait_restarted, "broker", killed)
        heard = asyncio.ensure_future(anext(ear.hear()))

        async def knock() -> None:
            while not heard.done():
                await player.play(64, length_s=0.01)
                await asyncio.sleep(0.1)

        await asyncio.wait_for(asyncio.gather(heard, knock()), WITHIN_S)
        seen = len(beats)
        await wait_until_async(lambda: len(beats) >= seen + 2, timeout_s=WITHIN_S, what="more beats")
        following.cancel()
        assert beats == list(range(beats[0], beats[0] + len(beats)))
        await wait_until_async(
            lambda: ear.members.get(player.subject) is not None and ear.members[player.subject].state == "ready",
            timeout_s=WITHIN_S,
            what="the player back on the roster",
        )


async def test_a_killed_service_or_worker_is_not_noticed_while_playing(own_school: Any) -> None:
    """kill -9 of the service: devices stay connected and in time; afterwards commands work on the same device. Then of
    the worker, and SIGSTOP of the next one for three seconds: not one beat is missed or doubled on the device."""
    school = own_school
    room = school.room(bpm=240)
    async with Device.join(school.stack.url, school.tenant, room) as device:
        beats: list[int] = []
        following = asyncio.create_task(collect(device, beats))
        await wait_until_async(lambda: len(beats) >= 2, timeout_s=WITHIN_S, what="two beats")
        killed = school.stack.kill("service")
        await asyncio.to_thread(school.stack.wait_restarted, "service", killed)
        assert device.connected
        reply = await asyncio.to_thread(school.command, room, "set_tempo", bpm=200, at="beat")
        await wait_until_async(lambda: beats[-1] > reply["n"], timeout_s=WITHIN_S, what="the new tempo")
        assert device.tempo_map is not None
        assert device.tempo_map.bpm_at(device.now_us()) == 200
        killed = school.stack.kill("tempo")
        stopped = await asyncio.to_thread(school.stack.wait_restarted, "tempo", killed)
        os.kill(stopped, signal.SIGSTOP)
        seen = len(beats)
        await wait_until_async(lambda: len(beats) >= seen + 10, timeout_s=WITHIN_S, what="three seconds of beats")
        with suppress(ProcessLookupError):  # the supervisor may have replaced it, as one that hangs
            os.kill(stopped, signal.SIGCONT)
        assert device.connected
        following.cancel()
        assert beats == list(range(beats[0], beats[0] + len(beats)))


async def test_renewing_a_token_leaves_no_gap(school: Any) -> None:
    """The second connection is there before the first one goes: classmates see no change and hear every note once."""
    room = school.room()
    async with (
        Device.join(school.stack.url, school.tenant, room) as player,
        Device.join(school.stack.url, school.tenant, room) as ear,
    ):
        heard: list[int] = []
        states: list[str | None] = []

        async def listen() -> None:
            async for note in ear.hear():
                if note.begins:
                    heard.append(note.note)  # noqa: PERF401  (the list is read meanwhile)

        async def watch() -> None:
            while True:
                member = ear.members.get(player.subject)
                if not states or states[-1] != (member and member.state):
                    states.append(member and member.state)
                await ear.changed()

        await wait_until_async(
            lambda: player.subject in ear.members, timeout_s=WITHIN_S, what="the player on the roster"
        )
        await ear.start_hearing()
        tasks = [asyncio.create_task(listen()), asyncio.create_task(watch())]
        renewing = asyncio.create_task(player.renew())
        subject = player.subject
        for note in range(40, 80):
            assert await player.play(note, length_s=0.01)
            await asyncio.sleep(0.02)
        await asyncio.wait_for(renewing, WITHIN_S)
        assert player.subject == subject
        assert await player.play(80, length_s=0.01)
        await wait_until_async(lambda: 80 in heard, timeout_s=WITHIN_S, what="the last note")
        # The other side of it: the ear renews while notes come in.
        renewing = asyncio.create_task(ear.renew())
        for note in range(81, 121):
            await player.play(note, length_s=0.01)
            await asyncio.sleep(0.02)
        await asyncio.wait_for(renewing, WITHIN_S)
        await wait_until_async(lambda: 120 in heard, timeout_s=WITHIN_S, what="the last note")
        for task in tasks:
            task.cancel()
        assert heard == [*range(40, 121)]
        assert states == ["ready"]


async def test_a_device_goes_to_the_room_that_it_is_assigned_to(school: Any) -> None:
    """Waiting, then in one room, then in another: it plays in each, and in neither afterwards."""
    first, second = school.room(bpm=240), school.room(bpm=200)
    enrolled = school.enroll("d-drum-3")
    host, port = school.stack.mqtt
    async with Device.connect(host, port, enrolled["username"], enrolled["password"]) as drum:
        assert drum.room is None
        assert await drum.play(36) is False
        for room, bpm in ((first, 240), (second, 200)):
            await asyncio.to_thread(school.assign, room, "d-drum-3")
            await wait_until_async(
                lambda room=room: drum.room == room and drum.tempo_map is not None, timeout_s=WITHIN_S, what=room
            )
            async with Device.join(school.stack.url, school.tenant, room) as ear:
                await ear.start_hearing()
                heard = asyncio.ensure_future(anext(ear.hear()))
                beat = await asyncio.wait_for(anext(drum.beats()), WITHIN_S)
                assert beat.bpm == bpm
                assert await drum.play(36, length_s=0.01)
                assert (await asyncio.wait_for(heard, WITHIN_S)).player == "d-drum-3"
        await asyncio.to_thread(school.command, second, "assign_device", device="d-drum-3", away=True)
        await wait_until_async(lambda: drum.room is None, timeout_s=WITHIN_S, what="no room")


async def test_a_device_that_was_put_out_is_told_so(school: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kicked, with the code changed: the old credential is tried for a while, then the block ends with the reason."""
    monkeypatch.setattr(core, "_REFUSED_US", 1_000_000)
    room = school.room()

    async def stay() -> None:
        async with Device.join(school.stack.url, school.tenant, room) as device:
            await device.synced()
            await asyncio.to_thread(school.command, room, "kick", who=device.subject)
            async for _ in device.beats():
                pass

    with pytest.raises(JoinRefused, match="code"):
        await asyncio.wait_for(stay(), WITHIN_S)


async def test_a_device_whose_token_is_refused_takes_a_new_seat(school: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kicked while the code stays: it comes in again by itself, as somebody new, and plays."""
    monkeypatch.setattr(core, "_REFUSED_US", 1_000_000)
    room = school.room()
    async with (
        Device.join(school.stack.url, school.tenant, room) as ear,
        Device.join(school.stack.url, school.tenant, room) as device,
    ):
        await ear.start_hearing()
        before = device.subject
        await asyncio.to_thread(school.command, room, "kick", who=before, keep_code=True)
        await wait_until_async(lambda: device.subject != before, timeout_s=WITHIN_S, what="a new seat")
        await wait_until_async(lambda: device.connected, timeout_s=WITHIN_S, what="a connection")
        heard = asyncio.ensure_future(anext(ear.hear()))
        assert await device.play(60, length_s=0.01)
        assert (await asyncio.wait_for(heard, WITHIN_S)).player == device.subject
