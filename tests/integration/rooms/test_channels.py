"""Every command by every way in (MQTT, HTTP, command line): done, wrong, and forbidden, with the same answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Command, Reply
from bandroom.wire.topics import Filter, Leaf, Room

from .conftest import Ear, School

Case = tuple[str, dict[str, Any], list[str], dict[str, Any] | None, str | None]
# command, good arguments, the same on the command line, bad arguments, the error that those give
CASES: list[Case] = [
    ("start", {"count_in": 0}, ["start", "--count-in", "0"], {"count_in": 99}, "bad_request"),
    ("set_tempo", {"bpm": 96, "at": "beat"}, ["set-tempo", "96", "--at", "beat"], {"bpm": 1e30}, "bad_request"),
    ("set_meter", {"meter": "6/8"}, ["set-meter", "6/8"], {"meter": "4/5"}, "bad_request"),
    ("cancel", {}, ["cancel"], None, None),
    ("tap", {}, ["tap"], {"t": -1}, "bad_request"),
    ("stop", {"at": "now"}, ["stop", "--at", "now"], {"at": -1000}, "too_late"),
    ("continue", {}, ["continue"], {"at": "someday"}, "bad_request"),
    ("mute", {"who": "Ann"}, ["mute", "Ann"], {"who": "Nobody"}, "not_found"),
    ("unmute", {"who": "Ann"}, ["unmute", "Ann"], {"who": "Nobody"}, "not_found"),
    ("mute", {}, ["mute"], {"who": 7}, "bad_request"),
    ("unmute", {}, ["unmute"], {"who": ""}, "bad_request"),
    ("lock", {}, ["lock"], None, None),
    ("unlock", {}, ["unlock"], None, None),
    ("rename", {"name": "Choir ♪"}, ["rename", "Choir ♪"], {"name": ""}, "bad_request"),
    ("reset_name", {"who": "s-ann"}, ["reset-name", "s-ann"], {"who": "Nobody"}, "not_found"),
    ("assign_device", {"device": "d-drum"}, ["assign-device", "d-drum"], {"device": "d-none"}, "not_found"),
    ("kick", {"who": "s-bob", "keep_code": True}, ["kick", "s-bob", "--keep-code"], {"who": "s-none"}, "not_found"),
    ("new_code", {}, ["new-code"], None, None),
    ("close", {}, ["close"], None, None),
    ("reopen", {}, ["reopen"], None, None),
]


def a_lesson(school: School) -> Room:
    """A room with the pupils Ann and Bob, and a device at hand."""
    room = school.room()
    for sub in ("s-ann", "s-bob"):
        school.token(sub, room)
    assert school.post("/devices", {"sub": "d-drum"}).status_code == 201
    return room


def name_ann(school: School, room: Room) -> None:
    members = school.http.get(f"/api/tenants/{school.tenant}/rooms/{room.room}").json()["members"]
    if all(member["name"] != "Ann" for member in members):
        school.join(room, nickname="Ann")


class Mqtt:
    """Commands as a teacher's client gives them."""

    def __init__(self, school: School, ear: Ear, room: Room) -> None:
        self._school, self._ear, self._room = school, ear, room
        self._count = 0

    async def ask(self, cmd: str, arguments: dict[str, Any]) -> Reply:
        self._count += 1
        body = {"id": f"m{self._count}", "cmd": cmd, **arguments}
        await self._ear.connection.publish(self._room.control(self._ear.sub), Command.decode(json.dumps(body).encode()))
        found = await self._ear.wait(
            lambda i: isinstance(i.message, Reply) and i.message.id == body["id"], f"a reply to {cmd}"
        )
        assert isinstance(found.message, Reply)
        return found.message


@pytest.fixture
async def mqtt(school: School) -> AsyncIterator[tuple[Mqtt, Room]]:
    room = a_lesson(school)
    name_ann(school, room)
    replies = Filter(Leaf.CONTROL_REPLY, room.tenant, room.room, Subject("t-smith"))
    async with school.ear(school.token("t-smith"), replies) as ear:
        yield Mqtt(school, ear, room), room


@pytest.mark.rule("CMD-2")
async def test_over_mqtt(school: School, mqtt: tuple[Mqtt, Room]) -> None:
    """Each is done once and refused once, in a lesson's order. What cannot be a command at all is dropped."""
    ask, _room = mqtt[0].ask, mqtt[1]
    for cmd, good, _, bad, err in CASES:
        if cmd == "reopen":
            continue  # a closed room grants nothing, its control topic included: by HTTP and command line only
        if bad is not None and err != "bad_request":
            assert (await ask(cmd, bad)).err == err, cmd
        reply = await ask(cmd, good)
        assert reply.ok, (cmd, reply.text)
        assert reply.rev is not None


def test_over_http(school: School) -> None:
    """The same, with a teacher's token; forbidden to pupils and to teachers of another school."""
    room = a_lesson(school)
    name_ann(school, room)
    teacher, pupil = school.token("t-smith")["token"], school.join(room)["token"]
    where = f"/api/tenants/{school.tenant}/rooms/{room.room}/commands"
    for cmd, good, _, bad, err in CASES:
        assert school.call(where, pupil, {"cmd": cmd, **good}).status_code in (403, 409), cmd
        if bad is not None:
            refused = school.call(where, teacher, {"cmd": cmd, **bad})
            assert refused.status_code in (404, 409, 422)
            assert refused.json()["err"] == err, (cmd, refused.text)
            assert refused.json()["text"]
        done = school.call(where, teacher, {"cmd": cmd, "id": f"id-{cmd}-{len(good)}", **good})
        assert done.status_code == 200, (cmd, done.text)
        again = school.call(where, teacher, {"cmd": cmd, "id": f"id-{cmd}-{len(good)}", **good})
        assert again.json() == done.json(), cmd


def test_on_the_command_line(school: School) -> None:
    """The same, as the owner; each prints one sentence, or JSON when asked."""
    room = a_lesson(school)
    name_ann(school, room)
    for cmd, _, words, _, _ in CASES:
        code, out, err = school.cli("rooms", words[0], room.room, *words[1:], "--tenant", school.tenant, "--json")
        assert code == 0, (cmd, err)
        assert json.loads(out)["ok"] is True
