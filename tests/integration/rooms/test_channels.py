"""Every command by every way in (MQTT, HTTP, command line): done, wrong, and forbidden, with the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from bandroom.mqtt import NotConnected
from bandroom.wire.commands import AnyCommand
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Reply, RoomInfo, Tempo
from bandroom.wire.topics import Filter, Leaf, Room

from .conftest import Ear, School

EXIT = {"bad_request": 2, "not_found": 1, "too_late": 1, "conflict": 1}


@dataclass(frozen=True)
class Case:
    """A command with arguments that are right, and such that are wrong with the error that they give.

    The same again as words on the command line; None where there are no such words, and the id alone can be wrong.
    """

    cmd: str
    good: dict[str, Any] = field(default_factory=dict[str, Any])
    words: tuple[str, ...] = ()
    bad: dict[str, Any] = field(default_factory=dict[str, Any])
    bad_words: tuple[str, ...] | None = None
    err: str = "bad_request"

    def line(self, room: Room, words: tuple[str, ...]) -> tuple[str, ...]:
        """The command line, but for the tenant."""
        return ("rooms", self.cmd.replace("_", "-"), str(room.room), *words)


LATE: dict[str, Any] = {"bad": {"exp": 1}, "err": "expired"}
"""What can be wrong with a command that has no arguments of its own."""

# In a lesson's order: each begins where the one before left off.
CASES = [
    Case("start", {"count_in": 0}, ("--count-in", "0"), {"count_in": 99}, ("--count-in", "99")),
    Case("set_tempo", {"bpm": 96, "at": "beat"}, ("96", "--at", "beat"), {"bpm": 1e30}, ("1e30",)),
    Case("set_meter", {"meter": "6/8"}, ("6/8",), {"meter": "4/5"}, ("4/5",)),
    Case("cancel", **LATE),
    Case("tap", {}, (), {"t": -1}),
    Case("stop", {"at": "now"}, ("--at", "now"), {"at": -1000}, ("--at", "-1000"), "too_late"),
    Case("continue", {}, (), {"at": "someday"}, ("--at", "someday")),
    Case("mute", {"who": "Ann"}, ("Ann",), {"who": "Nobody"}, ("Nobody",), "not_found"),
    Case("unmute", {"who": "Ann"}, ("Ann",), {"who": "Nobody"}, ("Nobody",), "not_found"),
    Case("mute", {}, (), {"who": 7}),
    Case("unmute", {}, (), {"who": ""}, ("",)),
    Case("lock", **LATE),
    Case("unlock", **LATE),
    Case("rename", {"name": "Choir ♪"}, ("Choir ♪",), {"name": ""}, ("",)),
    Case("reset_name", {"who": "s-ann"}, ("s-ann",), {"who": "Nobody"}, ("Nobody",), "not_found"),
    Case("assign_device", {"device": "d-drum"}, ("d-drum",), {"device": "d-none"}, ("d-none",), "not_found"),
    Case("kick", {"who": "s-bob", "keep_code": True}, ("s-bob", "--keep-code"), {"who": "s-x"}, ("s-x",), "not_found"),
    Case("new_code", **LATE),
    Case("close", **LATE),
    Case("reopen", **LATE),
]


@dataclass(frozen=True)
class Raw:
    """A payload of any kind."""

    data: bytes

    def encode(self) -> bytes:
        return self.data


def test_the_table_has_every_command() -> None:
    """A command that is added comes into this table, and so onto all three ways."""
    assert {case.cmd for case in CASES} == {
        one.model_fields["cmd"].annotation.__args__[0] for one in get_args(AnyCommand)
    }


def a_lesson(school: School) -> Room:
    """A room with the pupils Ann and Bob, and a device at hand."""
    room = school.room()
    for sub in ("s-ann", "s-bob"):
        school.token(sub, room)
    assert school.post("/devices", {"sub": "d-drum"}).status_code == 201
    school.join(room, nickname="Ann")
    return room


class Mqtt:
    """Commands as a client gives them."""

    def __init__(self, ear: Ear, room: Room) -> None:
        self._ear, self._room = ear, room
        self._count = 0

    async def ask(self, cmd: str, arguments: dict[str, Any]) -> Reply:
        """A command, and its reply."""
        self._count += 1
        body = {"id": f"m{self._count}", "cmd": cmd, **arguments}
        await self.send(self._ear.sub, json.dumps(body).encode())
        found = await self._ear.wait(
            lambda i: isinstance(i.message, Reply) and i.message.id == body["id"], f"a reply to {body}"
        )
        assert isinstance(found.message, Reply)
        return found.message

    async def send(self, sub: Subject, payload: bytes) -> None:
        """Anything at all, on anybody's topic."""
        await self._ear.connection.publish(self._room.control(sub), Raw(payload))  # type: ignore[type-var]


@pytest.fixture
async def mqtt(school: School) -> AsyncIterator[tuple[Mqtt, Ear, Room]]:
    room = a_lesson(school)
    replies = Filter(Leaf.CONTROL_REPLY, room.tenant, room.room, Subject("t-smith"))
    leaves = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.ROOM, Leaf.TEMPO)]
    async with school.ear(school.token("t-smith"), replies, *leaves) as ear:
        yield Mqtt(ear, room), ear, room


@pytest.mark.rule("CMD-2")
async def test_over_mqtt(mqtt: tuple[Mqtt, Ear, Room]) -> None:
    """Each is refused once and done once, in a lesson's order."""
    ask = mqtt[0].ask
    for case in CASES:
        if case.cmd == "reopen":
            continue  # a closed room grants nothing, its control topic included: by HTTP and command line only
        refused = await ask(case.cmd, case.bad)
        assert (refused.ok, refused.err) == (False, case.err), (case, refused.text)
        assert refused.text
        reply = await ask(case.cmd, case.good)
        assert reply.ok, (case, reply.text)
        assert reply.rev is not None


@pytest.mark.rule("ACL-5")
@pytest.mark.rule("ACL-15")
async def test_nobody_else_commands_over_mqtt(school: School, mqtt: tuple[Mqtt, Ear, Room]) -> None:
    """A pupil, a screen, a device, another teacher in one's name: no command of theirs changes anything."""
    _, smith, room = mqtt
    school.do(room, "assign_device", device="d-drum")
    drum = school.post("/devices", {"sub": "d-drum", "room": room.room}).json()
    for access in (school.join(room), school.token("v-screen", room), drum, school.token("t-other")):
        async with school.ear(access) as ear:
            for sub in {ear.sub, smith.sub} - {Subject("t-other")}:
                for case in CASES:
                    body = {"id": f"{ear.sub}-{case.cmd}", "cmd": case.cmd, **case.good}
                    try:
                        await Mqtt(ear, room).send(sub, json.dumps(body).encode())
                    except (NotConnected, TimeoutError):
                        break  # put out for it
    info, tempo = ([i.message for i in smith.heard if isinstance(i.message, kind)] for kind in (RoomInfo, Tempo))
    assert (len(info), len(tempo)) == (1, 1)
    assert not any(isinstance(i.message, Reply) for i in smith.heard)
    found = school.http.get(f"/api/tenants/{room.tenant}/rooms/{room.room}").json()
    assert (found["state"], found["code"], found["playing"]) == ("open", room.room, False)


@pytest.mark.rule("CMD-6")
async def test_what_is_no_command_is_answered_over_mqtt(mqtt: tuple[Mqtt, Ear, Room]) -> None:
    """With its id where it has one; the next command is done; a flood of it is not answered one by one."""
    asking, smith, _ = mqtt
    await asking.send(smith.sub, b'{"id":"odd","cmd":"fly"}')
    found = await smith.wait(lambda i: isinstance(i.message, Reply) and i.message.id == "odd", "the answer")
    assert isinstance(found.message, Reply)
    assert (found.message.ok, found.message.err) == (False, "bad_request")
    await asking.send(smith.sub, b"\xff\x00 rubbish")
    found = await smith.wait(lambda i: isinstance(i.message, Reply) and i.message.id is None, "the answer")
    assert isinstance(found.message, Reply)
    assert found.message.err == "bad_request"
    for _ in range(30):
        await asking.send(smith.sub, b"{")
    assert (await asking.ask("lock", {})).ok
    nameless = [i for i in smith.heard if isinstance(i.message, Reply) and i.message.id is None]
    assert 5 < len(nameless) < 20


def test_over_http(school: School) -> None:
    """The same, with a teacher's token; forbidden to pupils and to teachers of another school."""
    room = a_lesson(school)
    teacher, pupil = school.token("t-smith")["token"], school.join(room)["token"]
    other = School(school.stack, type(school.tenant)(f"{school.tenant}-2"), school.http)
    assert school.http.post("/api/tenants", json={"tenant": other.tenant}).status_code == 201
    stranger = other.token("t-smith")["token"]
    where = f"/api/tenants/{school.tenant}/rooms/{room.room}/commands"
    for number, case in enumerate(CASES):
        body = {"cmd": case.cmd, **case.good}
        # A pupil's token ends with the room: the errors come in either order then.
        assert school.call(where, pupil, body).status_code in ((409,) if case.cmd == "reopen" else (403,)), case
        assert school.call(where, stranger, body).status_code == 403, case
        assert school.call(where, None, body).status_code == 401, case
        refused = school.call(where, teacher, {"cmd": case.cmd, **case.bad})
        assert refused.status_code in (404, 409, 422)
        assert refused.json()["err"] == case.err, (case, refused.text)
        assert refused.json()["text"]
        done = school.call(where, teacher, {"id": f"id-{number}", **body})
        assert done.status_code == 200, (case, done.text)
        again = school.call(where, teacher, {"id": f"id-{number}", **body})
        assert again.json() == done.json(), case


def test_on_the_command_line(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, as the owner; each prints one sentence, or JSON when asked, and ends with the code of its error. With
    an id it may be given again: it is answered as before, and not done twice.
    """
    room = a_lesson(school)
    tenant = ("--tenant", str(school.tenant))
    pupil = school.join(room)["token"]
    for number, case in enumerate(CASES):
        with monkeypatch.context() as patch:
            patch.setenv("BANDROOM_URL", school.stack.url)
            patch.setenv("BANDROOM_TOKEN", pupil)
            code, out, err = school.cli(*case.line(room, case.words), *tenant)
            assert (code, out) == (1 if case.cmd == "reopen" else 4, ""), (case, err)
        bad_words, wrong = (("--id", ""), "bad_request") if case.bad_words is None else (case.bad_words, case.err)
        code, out, err = school.cli(*case.line(room, bad_words), *tenant, "--json")
        assert (code, out) == (EXIT[wrong], ""), (case, err)
        assert json.loads(err)["err"] == wrong
        line = (*case.line(room, case.words), *tenant, "--id", f"id-{number}")
        code, out, err = school.cli(*line, "--json")
        assert code == 0, (case, err)
        assert json.loads(out)["ok"] is True
        assert school.cli(*line, "--json") == (0, out, ""), case
        code, out, err = school.cli(*line)
        assert (code, err) == (0, ""), case
        assert re.fullmatch(r"[^\n]+\.\n", out), (case, out)
