"""What somebody plays, on the roster: said by a client, or on record of a device; shown by HTTP, MQTT and terminal."""

from __future__ import annotations

import re

import pytest
from bandroom.wire.messages import Member, Presence
from bandroom.wire.topics import Filter, Leaf, presence

from .conftest import School


@pytest.mark.rule("PRES-6")
async def test_who_is_in_since_when_and_with_what(school: School) -> None:
    """A pupil says it; a board says nothing, as boards of old, and is shown with what stands on record of it, until
    that is changed or it says something itself. The terminal shows it, with the time of coming.
    """
    room, tenant = school.room(), ("--tenant", str(school.tenant))
    where = f"/api/tenants/{room.tenant}/rooms/{room.room}"

    def shown(name: str) -> dict[str, object]:
        members = school.http.get(where).json()["members"]
        return next(member for member in members if member["name"] == name)

    code, out, err = school.cli("devices", "enroll", "d-drum", "--name", "Drum", "--instrument", "drums", *tenant)
    assert code == 0, err
    drum = {
        "username": re.findall(r"user name +(\S+)", out)[0],
        "client_id": re.findall(r"client id +(\S+)", out)[0],
        "password": re.findall(r"password +(\S+)", out)[0],
    }
    school.do(room, "assign_device", device="d-drum")
    assert (shown("Drum")["state"], shown("Drum")["instrument"]) == (None, "drums")
    line = Filter(Leaf.MEMBER, room.tenant, room.room)
    async with school.ear(school.join(room, nickname="Ann"), line) as ann, school.ear(drum) as board:

        async def hears(name: str, instrument: str | None) -> Member:
            ann.heard[:] = [i for i in ann.heard if isinstance(i.message, Member)][-1:]
            found = await ann.wait(
                lambda i: (
                    isinstance(i.message, Member) and (i.message.name, i.message.instrument) == (name, instrument)
                ),
                f"{name} with {instrument}",
            )
            assert isinstance(found.message, Member)
            return found.message

        heard = await hears("Drum", "drums")
        here = presence(school.tenant, ann.sub)
        await ann.connection.publish(here, Presence("ready", 0, None, "flute"))
        await hears("Ann", "flute")
        assert shown("Ann")["instrument"] == "flute"
        assert shown("Drum")["since"] == heard.since
        code, out, _ = school.cli("rooms", "show", str(room.room), *tenant)
        assert code == 0
        assert re.search(r"^who +name +kind +plays +state +since +clock", out, re.MULTILINE), out
        assert re.search(r"^s-\w+ +Ann +student +flute +ready +\d\d:\d\d$", out, re.MULTILINE), out
        assert re.search(r"^d-drum +Drum +device +drums +ready +\d\d:\d\d$", out, re.MULTILINE), out
        assert school.cli("devices", "instrument", "d-drum", "percussion", *tenant)[0] == 0
        await hears("Drum", "percussion")
        await board.connection.publish(presence(school.tenant, board.sub), Presence("ready", 0, 700, "xylophone"))
        await hears("Drum", "xylophone")
        assert school.cli("devices", "instrument", "d-drum", *tenant)[:2] == (
            0, "d-drum is shown without an instrument.\n",
        )  # fmt: skip
        await board.connection.publish(presence(school.tenant, board.sub), Presence("ready"))
        await hears("Drum", None)
    # Enrolled again, for a lost password, it is still what it was.
    assert school.cli("devices", "instrument", "d-drum", "drums", *tenant)[0] == 0
    assert school.post("/devices", {"sub": "d-drum"}).json()["instrument"] == "drums"


def test_an_instrument_is_a_word_of_the_list_and_told_by_who_may(school: School) -> None:
    """Anything else is refused in words, by HTTP and on the command line; pupils and strangers may not."""
    room = school.room()
    assert school.post("/devices", {"sub": "d-drum"}).status_code == 201
    where = f"/api/tenants/{school.tenant}/devices/d-drum/instrument"
    teacher, pupil = school.token("t-smith")["token"], school.join(room)["token"]
    for word in ("kazoo", "", "DRUMS", 7, ["drums"], "drums\n"):
        answer = school.call(where, teacher, {"instrument": word})
        assert (answer.status_code, answer.json()["err"]) == (422, "bad_request"), word
        assert school.post("/devices", {"sub": "d-x", "instrument": word}).status_code == 422, word
    assert school.call(where, pupil, {"instrument": "drums"}).status_code == 403
    assert school.call(where, None, {"instrument": "drums"}).status_code == 401
    assert school.call(where.replace("d-drum", "d-none"), teacher, {"instrument": "drums"}).status_code == 404
    assert school.call(where, teacher, {"instrument": "drums"}).json()["instrument"] == "drums"
    assert school.call(where, teacher, {"instrument": None}).json()["instrument"] is None
    tenant = ("--tenant", str(school.tenant))
    for words in (("instrument", "d-drum", "kazoo"), ("enroll", "d-y", "--instrument", "kazoo")):
        code, out, err = school.cli("devices", *words, *tenant)
        assert (code, out) == (2, "")
        assert "kazoo" in err
        assert "xylophone" in err
    assert school.cli("devices", "instrument", "d-none", "drums", *tenant)[0] == 1
    listed = school.cli("devices", "list", *tenant)[1]
    assert re.search(r"^d-drum +d-drum +- +1 +- +good$", listed, re.MULTILINE), listed
