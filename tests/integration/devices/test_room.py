"""Devices in a real room: joining, the shared beat, notes, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from bandroom.testing import wait_until_async
from bandroom_devices import Device, JoinRefused, Refused, SkewedClock, Unreachable
from bandroom_devices.sounding import Ended

T = TypeVar("T")

WITHIN_S = 20


async def next_of(events: AsyncIterator[T]) -> T:
    """The next event, or a failure after a while."""
    return await asyncio.wait_for(anext(events), WITHIN_S)


async def hearing(device: Device, **options: Any) -> tuple[asyncio.Queue[Any], asyncio.Task[None]]:
    """What ``device`` hears from now on, in a queue."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    await device.start_hearing()

    async def listen() -> None:
        async for note in device.hear(**options):
            heard.put_nowait(note)

    return heard, asyncio.create_task(listen())


@pytest.mark.rule("PRES-2")
@pytest.mark.rule("PRES-6")
async def test_a_device_joins_by_code_and_is_on_the_roster(school: Any) -> None:
    """Joined by code as typed by hand, it knows its room, its name, the time within a few ms, and its classmates, who
    read what it plays; with a word that no roster shows it does not begin.
    """
    room = school.room()
    with pytest.raises(ValueError, match="'kazoo' is no instrument"):
        Device.join(school.stack.url, school.tenant, room, instrument="kazoo")
    typed = room.lower().replace("-", " ")
    async with Device.join(school.stack.url, school.tenant, typed, nickname="Drum", instrument="drums") as drum:
        bound_us = await asyncio.wait_for(drum.synced(), WITHIN_S)
        assert drum.room == room
        assert drum.name == "Drum"
        assert abs(drum.now_us() - school.clock.now_us()) < 20_000
        assert bound_us < 20_000
        await wait_until_async(lambda: drum.subject in drum.members, what="the device on its room's roster")
        assert drum.members[drum.subject].state == "ready"
        subject = drum.subject
        async with Device.join(school.stack.url, school.tenant, room) as other:
            await wait_until_async(lambda: subject in other.members, what="the classmate on the roster")
            assert other.subject != subject
            assert other.members[subject].instrument == "drums"


@pytest.mark.rule("TEMPO-1")
async def test_devices_with_wrong_clocks_share_one_beat(school: Any) -> None:
    """Three clocks seconds off and ±50 ppm: the same beats at the same true time, on the grid of the map.

    The bound is wide because the machine that runs this may be busy; the demo and the benchmarks measure closely.
    """
    room, clock = school.room(bpm=240), school.clock
    clocks = [SkewedClock.starting_now(offset, ppm) for offset, ppm in ((5_000_000, 50), (-3_000_000, -50), (0, 0))]

    async def follow(device: Device) -> dict[int, int]:
        late: dict[int, int] = {}
        async for beat in device.beats():
            late[beat.n] = clock.now_us() - beat.t
            if len(late) == 8:
                break
        return late

    async with AsyncExitStack() as leaving:
        devices = [
            await leaving.enter_async_context(Device.join(school.stack.url, school.tenant, room, clock=each))
            for each in clocks
        ]
        lates = await asyncio.wait_for(asyncio.gather(*map(follow, devices)), WITHIN_S)
        for late in lates:
            assert sorted(late) == list(range(min(late), min(late) + 8))
            assert sorted(late.values())[4] < 15_000
            assert min(late.values()) > -5_000


async def test_a_note_is_heard_by_classmates_with_its_time(school: Any) -> None:
    """Chord on, chord off: each classmate hears each note begin and end; the player does not hear itself unasked."""
    room = school.room()
    async with (
        Device.join(school.stack.url, school.tenant, room) as ann,
        Device.join(school.stack.url, school.tenant, room) as ben,
    ):
        await ann.synced()
        await ben.synced()
        ben_hears, ben_task = await hearing(ben)
        ann_hears, ann_task = await hearing(ann)
        due_us = ann.now_us() + 200_000
        await ann.sleep_until(due_us)
        assert await ann.play(60, 64, velocity=77, channel=3, t_us=due_us, length_s=0.05)
        events = [await asyncio.wait_for(ben_hears.get(), WITHIN_S) for _ in range(4)]
        assert [(e.note, e.begins, e.velocity, e.channel) for e in events] == [
            (60, True, 77, 3),
            (64, True, 77, 3),
            (60, False, 0, 3),
            (64, False, 0, 3),
        ]
        assert {e.player for e in events} == {ann.subject}
        assert events[0].t_us == due_us
        assert 0 <= events[0].arrived_us - due_us + ben.error_us < 500_000
        assert ann_hears.empty()
        for task in (ben_task, ann_task):
            task.cancel()


async def test_raw_midi_is_heard_as_notes_and_as_midi(school: Any) -> None:
    """A MIDI keyboard's bytes pass unchanged, and sound for those who only know notes."""
    room = school.room()
    async with (
        Device.join(school.stack.url, school.tenant, room) as keys,
        Device.join(school.stack.url, school.tenant, room) as ear,
    ):
        notes, task = await hearing(ear)
        midi = ear.hear_midi()
        first = asyncio.ensure_future(anext(midi))
        for data in ([0x92, 60, 90], [0xB2, 1, 64], [0x82, 60, 0]):
            assert await keys.send_midi(bytes(data))
        raw = [await asyncio.wait_for(first, WITHIN_S), *[await next_of(midi) for _ in range(2)]]
        assert [each.data for each in raw] == [bytes([0x92, 60, 90]), bytes([0xB2, 1, 64]), bytes([0x82, 60, 0])]
        begun, ended = [await asyncio.wait_for(notes.get(), WITHIN_S) for _ in range(2)]
        assert (begun.note, begun.velocity, begun.channel, ended.ended) == (60, 90, 2, Ended.OFF)
        task.cancel()


async def test_a_player_who_leaves_ends_what_still_sounded(school: Any) -> None:
    """Leaving sends the ends of all notes, so nothing hangs at the classmates'."""
    room = school.room()
    async with Device.join(school.stack.url, school.tenant, room) as ear:
        heard, task = await hearing(ear)
        async with Device.join(school.stack.url, school.tenant, room) as player:
            await player.play(60, 67)
        events = [await asyncio.wait_for(heard.get(), WITHIN_S) for _ in range(4)]
        assert [(e.note, e.begins) for e in events] == [(60, True), (67, True), (60, False), (67, False)]
        task.cancel()


async def test_a_muted_players_notes_end_and_no_more_are_heard(school: Any) -> None:
    """A mute ends what sounds at every hearer's, since the player's own ends are now denied."""
    room = school.room()
    async with (
        Device.join(school.stack.url, school.tenant, room) as ear,
        Device.join(school.stack.url, school.tenant, room) as player,
    ):
        heard, task = await hearing(ear)
        await player.play(60)
        assert (await asyncio.wait_for(heard.get(), WITHIN_S)).begins
        await asyncio.to_thread(school.command, room, "mute", who=player.subject)
        assert (await asyncio.wait_for(heard.get(), WITHIN_S)).ended is Ended.DROPPED
        task.cancel()


async def test_a_tempo_change_is_followed_and_closing_ends_the_beat(school: Any) -> None:
    """The device plays the new tempo from the announced beat on; with the room its beats end."""
    room = school.room(bpm=240)
    async with Device.join(school.stack.url, school.tenant, room) as device:
        beats = device.beats()
        first = await next_of(beats)
        reply = await asyncio.to_thread(school.command, room, "set_tempo", bpm=300, at="beat")
        beat = first
        while beat.n < reply["n"]:
            assert beat.bpm == 240
            beat = await next_of(beats)
        assert beat.bpm == 300
        assert beat.t == reply["t"]
        await asyncio.to_thread(school.command, room, "close")
        async with asyncio.timeout(WITHIN_S):
            rest = [beat.n async for beat in beats]
        assert rest == list(range(beat.n + 1, beat.n + 1 + len(rest)))
        assert device.is_over


async def test_a_wrong_code_a_closed_room_and_a_silent_address_are_told_apart_from_success(school: Any) -> None:
    """Errors that say what to do: no such room; nobody at that address; a bad value before anything is sent."""
    with pytest.raises(JoinRefused, match="code"):
        async with Device.join(school.stack.url, school.tenant, "WRONG-0000"):
            pass
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        async with Device.join("http://127.0.0.1:9", school.tenant, "WRONG-0000"):
            pass
    with pytest.raises(ValueError, match="http"):
        Device.join("example.org", school.tenant, "WRONG-0000")
    with pytest.raises(ValueError, match="join code"):
        Device.join(school.stack.url, school.tenant, "nonsense")


async def test_a_wrong_password_is_refused_in_words(school: Any) -> None:
    """The broker's refusal becomes an error that names the user, never the password."""
    host, port = school.stack.mqtt
    user = f"{school.tenant}/d-drum-1/1"
    with pytest.raises(Refused, match="d-drum-1") as caught:
        async with Device.connect(host, port, user, "not-the-password"):
            pass
    assert "not-the-password" not in str(caught.value)


async def test_an_error_in_the_users_own_block_comes_out_as_it_is(school: Any) -> None:
    """No exception group around what the user's code raised."""
    room = school.room()
    with pytest.raises(KeyError, match="mine"):
        async with Device.join(school.stack.url, school.tenant, room):
            raise KeyError("mine")


async def test_a_join_link_opens_the_room_and_over_the_web_port_too(school: Any) -> None:
    """The link behind the QR code is enough; and a device that only gets through to the web port plays as well."""
    room = school.room()
    shown = school.ask("GET", f"/api/tenants/{school.tenant}/rooms/{room}")
    async with Device.join_link(shown["join_url"], nickname="Link") as device:
        assert device.name == "Link"
        assert device.room == room
    from bandroom.mqtt.endpoint import WebSocket

    web = WebSocket(school.stack.url.replace("http", "ws") + "/mqtt")
    async with Device.join(school.stack.url, school.tenant, room, endpoint=web) as device:
        await asyncio.wait_for(device.synced(), WITHIN_S)
        assert (await next_of(device.beats())).d == 500_000
