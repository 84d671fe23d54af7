"""A room from its opening to its closing, with a real broker and real clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from bandroom.auth.keys import load_keys
from bandroom.auth.tokens import mint_service
from bandroom.mqtt import Credential, NotConnected, UnixSocket, connect
from bandroom.mqtt.client import Disconnected, Incoming, SubscribeRefused
from bandroom.wire.ids import Role, Subject, TenantId
from bandroom.wire.messages import Assignment, Beat, Command, Member, Note, Presence, Reply, RoomInfo, Tempo
from bandroom.wire.tempo import from_message
from bandroom.wire.topics import Filter, Leaf, Room, assignment, presence

from .conftest import School


def hears(kind: type[Any], test: Callable[[Any], bool] = lambda _: True) -> Callable[[Incoming], bool]:
    return lambda incoming: isinstance(incoming.message, kind) and test(incoming.message)


def of(room: Room, *leaves: Leaf) -> list[Filter]:
    return [Filter(leaf, room.tenant, room.room) for leaf in leaves]


async def test_from_creating_a_room_to_hearing_its_beat(school: School) -> None:
    """Create with start, join by code, connect: map, room, roster at once, and beats in order on the map's grid."""
    room = school.room(bpm=240, start=True)
    joined = school.join(room, nickname="Ann")
    async with school.ear(joined, *of(room, Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM, Leaf.MEMBER)) as ann:
        tempo = await ann.wait(hears(Tempo), "the map")
        assert tempo.retained
        info = await ann.wait(hears(RoomInfo), "the room")
        assert (info.message.state, info.retained) == ("open", True)  # type: ignore[union-attr]
        me = await ann.wait(hears(Member), "myself on the roster")
        assert (me.message.name, me.message.kind, me.message.state) == ("Ann", "student", "ready")  # type: ignore[union-attr]
        await ann.wait(lambda _: sum(isinstance(i.message, Beat) for i in ann.heard) >= 4, "four beats")
        beats = [i.message for i in ann.heard if isinstance(i.message, Beat)]
        numbers = [beat.n for beat in beats]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        tempo_map = from_message(tempo.message)  # type: ignore[arg-type]
        for beat in beats:
            due = tempo_map.beat(beat.n)
            assert due is not None
            assert (due.t, due.bar, due.pos) == (beat.t, beat.bar, beat.pos)


async def test_who_comes_late_gets_map_room_and_roster_at_once(school: School) -> None:
    """Retained, without anybody's doing: the map, the room as it is by now, a line for each who is or was there."""
    room = school.room(bpm=240, start=True)
    async with (
        school.ear(school.join(room, nickname="Ann"), *of(room, Leaf.MEMBER)) as ann,
        school.ear(school.join(room, nickname="Ben")) as ben,
    ):
        school.do(room, "rename", name="Choir")
        await ben.connection.publish(presence(school.tenant, ben.sub), Presence("lost"))
        await ann.wait(hears(Member, lambda m: (m.name, m.state) == ("Ben", "lost")), "Ben lost")
        async with school.ear(school.join(room), *of(room, Leaf.TEMPO, Leaf.ROOM, Leaf.MEMBER)) as late:
            for wanted in (
                hears(Tempo),
                hears(RoomInfo, lambda m: m.name == "Choir"),
                hears(Member, lambda m: (m.name, m.state) == ("Ann", "ready")),
                hears(Member, lambda m: (m.name, m.state) == ("Ben", "lost")),
            ):
                found = await late.wait(wanted, "what was said before")
                assert found.retained


async def test_two_schools_with_the_same_code_hear_each_its_own(school: School) -> None:
    """MUSIC-1234 twice at the same time, at 100 and 200 bpm; neither can hear the other."""
    other = TenantId(f"{school.tenant}-2")
    assert school.http.post("/api/tenants", json={"tenant": other}).status_code == 201
    twin = School(school.stack, other, school.http)
    one = school.room(code="MUSIC-1234", bpm=100, start=True)
    two = twin.room(code="MUSIC-1234", bpm=200, start=True)
    async with (
        school.ear(school.join(one), *of(one, Leaf.BEAT)) as ann,
        twin.ear(twin.join(two), *of(two, Leaf.BEAT)) as bob,
    ):
        for ear, bpm, tenant in ((ann, 100.0, school.tenant), (bob, 200.0, other)):
            await ear.wait(lambda _, e=ear: len(e.heard) >= 3, "three messages")
            assert {i.message.bpm for i in ear.heard} == {bpm}  # type: ignore[union-attr]
            assert {i.topic.tenant for i in ear.heard} == {tenant}
        with pytest.raises(SubscribeRefused):
            await ann.connection.subscribe(*of(two, Leaf.BEAT))


async def test_a_teacher_commands_over_mqtt_and_is_answered(school: School) -> None:
    """Done, refused, repeated: each gets one reply on the teacher's own topic; the map goes out before the reply."""
    room = school.room()
    access = school.token("t-smith")
    wanted = [*of(room, Leaf.TEMPO), Filter(Leaf.CONTROL_REPLY, room.tenant, room.room, Subject("t-smith"))]
    async with school.ear(access, *wanted) as smith:
        control = room.control(smith.sub)

        async def ask(**body: Any) -> Reply:
            import json

            await smith.connection.publish(control, Command.decode(json.dumps(body).encode()))
            found = await smith.wait(hears(Reply, lambda m: m.id == body["id"]), f"a reply to {body['id']}")
            assert isinstance(found.message, Reply)
            return found.message

        done = await ask(id="a", cmd="set_tempo", bpm=90)
        assert done.ok
        order = [type(i.message).__name__ for i in smith.heard]
        assert order.index("Reply") > order.index("Tempo")
        assert any(isinstance(i.message, Tempo) and i.message.rev == done.rev for i in smith.heard)
        assert (await ask(id="b", cmd="mute", who="nobody")).err == "not_found"
        assert (await ask(id="c", cmd="stop", exp=1)).err == "expired"
        before = len(smith.heard)
        await smith.connection.publish(control, Command.decode(b'{"id":"a","cmd":"set_tempo","bpm":90}'))
        await smith.wait(lambda i: i in smith.heard[before:] and i.message == done, "the same reply again")


@pytest.mark.rule("CMD-5")
@pytest.mark.rule("ACL-11")
async def test_closing_ends_beat_topics_and_rights(school: School) -> None:
    """Members hear `closed`; then no beat comes and nobody may play, until it is reopened."""
    room = school.room(bpm=240, start=True)
    joined = school.join(room)
    async with school.ear(joined, *of(room, Leaf.BEAT, Leaf.ROOM, Leaf.TEMPO, Leaf.NOTE)) as ann:
        await ann.wait(hears(Beat), "a beat")
        school.do(room, "close")
        await ann.wait(hears(RoomInfo, lambda m: m.state == "closed"), "closed")
        ann.heard.clear()
        await ann.connection.publish(room.note(ann.sub), Note(t=None, on=60, off=None, v=96, ch=0))
        await asyncio.sleep(1.0)  # four beats' time, in which nothing must come
        assert [i for i in ann.heard if isinstance(i.message, Beat | Note)] == []
    assert school.call("/api/join", body={"tenant": room.tenant, "code": room.room}).status_code == 404
    school.do(room, "reopen")
    school.do(room, "start", count_in=0)
    async with school.ear(joined, *of(room, Leaf.BEAT, Leaf.ROOM)) as ann:
        await ann.wait(hears(Beat, lambda m: m.n >= 1), "a beat after reopening")


async def test_nothing_of_a_closed_room_stays_in_the_broker(school: School) -> None:
    """Map, room and members: whoever reads everything, as the service does, finds no retained topic of it."""
    room, mark = school.room(start=True), school.room()
    home = school.stack.home
    name = "bandroom_rooms_8"  # beside the service's own connection
    fresh = Credential(
        "bandroom/rooms", name, lambda: mint_service(load_keys(home), Role.ROOMS, "rooms", now_s=int(time.time()))
    )

    async def retained() -> set[str]:
        found: set[str] = set()
        socket = UnixSocket(str(home.broker_socket))
        async with connect(socket, fresh, will=None, give_up_after_s=10) as connection, asyncio.timeout(10):
            await connection.subscribe(*of(room, Leaf.TEMPO, Leaf.ROOM, Leaf.MEMBER))
            await connection.subscribe(*of(mark, Leaf.ROOM))
            async for incoming in connection.messages:
                if incoming.topic.room == mark.room:
                    return found
                (found.discard if incoming.message is None else found.add)(incoming.topic.name)
        return found

    async with school.ear(school.join(room, nickname="Ann"), *of(room, Leaf.MEMBER)) as ann:
        await ann.wait(hears(Member), "Ann on the roster")
        assert await retained() == {room.tempo().name, room.info().name, room.member(ann.sub).name}
        school.do(room, "close")
        assert await retained() == set()


async def test_a_mute_silences_and_an_unmute_frees(school: School) -> None:
    """The muted one's notes reach nobody; the room says who is muted; unmuted, they are heard again."""
    room = school.room()
    async with (
        school.ear(school.join(room, nickname="Ann")) as ann,
        school.ear(school.join(room, nickname="Bob"), *of(room, Leaf.NOTE, Leaf.ROOM)) as bob,
    ):
        school.do(room, "mute", who="Ann")
        await bob.wait(hears(RoomInfo, lambda m: ann.sub in m.muted), "the mute")
        await ann.connection.publish(room.note(ann.sub), Note(t=None, on=60, off=None, v=96, ch=0))
        school.do(room, "unmute", who=ann.sub)
        await bob.wait(hears(RoomInfo, lambda m: not m.muted and m.rev > 0), "the unmute")

        async def play() -> None:
            while True:
                await ann.connection.publish(room.note(ann.sub), Note(t=None, on=61, off=None, v=96, ch=0))
                await asyncio.sleep(0.05)

        playing = asyncio.create_task(play())
        await bob.wait(hears(Note, lambda m: m.on == 61), "a note after the unmute")
        playing.cancel()
        assert not any(isinstance(i.message, Note) and i.message.on == 60 for i in bob.heard)


async def test_a_kicked_pupil_is_out_at_once(school: School) -> None:
    """The connection ends, the token opens nothing, the line on the roster goes, the code is another."""
    room = school.room()
    joined = school.join(room, nickname="Ann")
    async with school.ear(school.join(room, nickname="Bob"), *of(room, Leaf.MEMBER)) as bob:
        async with school.ear(joined) as ann:
            await bob.wait(hears(Member, lambda m: m.name == "Ann"), "Ann")
            assert school.do(room, "kick", who="Ann")["code"] != room.room
            async with asyncio.timeout(5):
                async for state in ann.connection.states():
                    if isinstance(state, Disconnected) and state.refused:
                        break  # thrown out, and not let in again with the same token
        gone = room.member(Subject(joined["sub"])).name
        await bob.wait(lambda i: i.topic.name == gone and i.message is None, "Ann's line cleared")
    assert school.call("/api/renew", joined["token"]).status_code == 403


async def test_a_device_follows_its_assignment(school: School) -> None:
    """Enrolled, assigned, moved, revoked: it hears where it is, plays there only, and is out when revoked."""
    first, second = school.room(bpm=240, start=True), school.room(bpm=240, start=True)
    access = school.post("/devices", {"sub": "d-drum-3", "name": "Drum"}).json()
    here = Filter.of(assignment(school.tenant, Subject("d-drum-3")))
    async with school.ear(access, here) as drum:
        for room, other in ((first, second), (second, first)):
            school.do(room, "assign_device", device="d-drum-3")
            await drum.wait(hears(Assignment, lambda m, r=room: m.room == r.room), "the assignment")
            drum.heard.clear()
            await drum.connection.subscribe(*of(room, Leaf.BEAT))
            await drum.wait(hears(Beat), "a beat of its room")
            with pytest.raises(SubscribeRefused):
                await drum.connection.subscribe(*of(other, Leaf.TEMPO))
        done = school.post("/devices/d-drum-3/revoke", {})
        assert done.status_code == 200
        async with asyncio.timeout(5):
            async for _ in drum.connection.states():
                if not drum.connection.connected:
                    break
        with pytest.raises(NotConnected):
            await drum.connection.publish(first.note(drum.sub), Note(t=None, on=60, off=None, v=96, ch=0))
    again = school.post("/devices", {"sub": "d-drum-3"}).json()
    assert again["username"].endswith("/d-drum-3/2")
    assert again["password"] != access["password"]
    async with school.ear(again, here) as drum:
        await drum.wait(hears(Assignment, lambda m: m.room is None), "no room")


async def test_a_player_who_is_lost_and_comes_back(school: School) -> None:
    """What the Will says becomes `lost` on the roster; coming back is `ready` again, with the first `since`."""
    room = school.room()
    joined = school.join(room, nickname="Ann")
    async with school.ear(school.join(room, nickname="Bob"), *of(room, Leaf.MEMBER)) as bob:
        async with school.ear(joined) as ann:
            first = await bob.wait(hears(Member, lambda m: m.name == "Ann"), "Ann")
            await ann.connection.publish(presence(school.tenant, ann.sub), Presence("lost"))
            await bob.wait(hears(Member, lambda m: m.name == "Ann" and m.state == "lost"), "Ann lost")
        bob.heard.clear()
        async with school.ear(joined):
            back = await bob.wait(hears(Member, lambda m: m.name == "Ann" and m.state == "ready"), "Ann back")
        assert back.message.since == first.message.since  # type: ignore[union-attr]


def test_a_room_says_when_it_would_be_closed(school: School) -> None:
    """An hour from its last use, so that nobody is surprised; a closed one says until when it rests."""
    room = school.room()
    where = f"/api/tenants/{school.tenant}/rooms/{room.room}"
    found = school.http.get(where).json()
    assert found["closes_at"] - found["created_at"] in (3600, 3601)  # to whole seconds, and not too early
    school.do(room, "close")
    found = school.http.get(where).json()
    assert found["closes_at"] is None
    assert found["rests_until"] > found["created_at"]
