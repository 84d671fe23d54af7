"""Bad input by every way in: a clear error or a counted drop, and everything goes on."""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiomqtt
import httpx
import pytest
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Command, Reply
from bandroom.wire.topics import Filter, Leaf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import School

HUGE = "9" * 400
RAW_BODIES = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{",
    b"\x00\xff\xfe",
    b"NaN",
    b'{"bpm": NaN}',
    b'{"bpm": Infinity}',
    b'{"bpm": -1}',
    b'{"bpm": 1e30}',
    f'{{"bpm": {HUGE}}}'.encode(),
    b'{"bpm": 1e400}',
    b'{"code": "\\ud800"}',
    b'{"tenant": "lincoln\\u0000"}',
    b'{"sub": ["s-1"]}',
    b'{"cmd": {"cmd": {}}}',
    b'{"cmd": "start", "id": "x", "id": null}',
    b"[" * 15_000,
    b'{"a":' * 3000,
    b'{"code": "' + b"A" * 15_000 + b'"}',
    b'{"a": "' + b"A" * 100_000 + b'"}',
    "﻿{}".encode(),
    "{}".encode("utf-16"),
]
PATHS = [
    "/api/join",
    "/api/renew",
    "/api/tenants",
    "/api/tenants/{t}/rooms",
    "/api/tenants/{t}/rooms/{r}/commands",
    "/api/tenants/{t}/devices",
    "/api/tenants/{t}/devices/d-1/assign",
    "/api/tenants/{t}/devices/d-1/revoke",
    "/api/tenants/{t}/tokens",
]


def check(answer: httpx.Response, what: object) -> None:
    assert answer.status_code < 500, (what, answer.status_code, answer.text)
    if answer.status_code >= 400:
        body = answer.json()
        assert set(body) >= {"err", "text"}, (what, body)
        assert body["text"], what


def test_no_body_brings_the_service_down(school: School) -> None:
    """Every path with every broken body: an error in the one form, never a 5xx, and the room still works."""
    room = school.room()
    for path in PATHS:
        where = path.format(t=school.tenant, r=room.room)
        for i, body in enumerate(RAW_BODIES):
            headers = {"Content-Type": "application/json", "X-Forwarded-For": f"198.51.100.{i}"}
            answer = school.http.post(where, content=body, headers=headers)
            check(answer, (path, body[:40]))
            assert answer.status_code >= 400 or "join" not in path
    assert school.do(room, "rename", name="still here")["ok"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_kinds_of_bodies_are_refused(school: School, content_type: str) -> None:
    """Only JSON is a body."""
    answer = school.http.post("/api/tenants", content=b"tenant=x", headers={"Content-Type": content_type})
    assert 400 <= answer.status_code < 500
    check(answer, content_type)


@pytest.mark.parametrize(
    "path",
    [
        "/api/tenants/BAD/rooms",
        "/api/tenants/bandroom/rooms",
        "/api/tenants/%2e%2e/rooms",
        "/api/tenants/%00/rooms",
        "/api/tenants/a%0a/rooms",
        "/api/tenants/%23/rooms",
        "/api/tenants/+/rooms",
        "/api/tenants/" + "a" * 5000 + "/rooms",
        "/api/tenants/nobody/rooms",
        "/api/tenants/nobody/rooms/music-1234",
        "/api/tenants/nobody/rooms/MUSIC-1234%0a",
        "/api/tenants/nobody/rooms/%F0%9F%8E%B5-1234",
        "/api/nothing",
    ],
)
def test_bad_paths_are_errors_in_the_one_form(school: School, path: str) -> None:
    """Ids in a path are matched whole; what is none of ours is not found or said to be wrong."""
    answer = school.http.get(path)
    assert answer.status_code in (404, 422)
    check(answer, path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
_fields = st.sampled_from(
    ["id", "cmd", "at", "bpm", "meter", "who", "name", "exp", "t", "code", "room", "sub", "start", "ramp", "over",
     "count_in", "tenant", "key", "nickname", "ttl_s", "max_rooms", "device", "away", "keep_code"]
)  # fmt: skip
_commands = st.sampled_from(["start", "stop", "set_tempo", "tap", "set_meter", "mute", "kick", "rename", "close", "x"])
_values = _json | st.sampled_from([-1, 0, 10**30, 1e-30, float("nan"), "bar", "now", "MUSIC-1234", "s-1", "d-1", "6/8"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.dictionaries(_fields, _values, max_size=6), _commands)
def test_no_json_object_brings_the_service_down(school: School, path: str, body: dict[str, Any], cmd: str) -> None:
    """Fields that exist with values that nobody expects."""
    where = path.format(t=school.tenant, r="MUSIC-0000")
    if "commands" in path:
        body = {"cmd": cmd, **body}
    content = json.dumps(body, allow_nan=True).encode("utf-8", "surrogatepass")
    headers = {"Content-Type": "application/json", "X-Forwarded-For": f"203.0.113.{random.randrange(250)}"}
    check(school.http.post(where, content=content, headers=headers), body)


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "e30." * 2000, "null", "Bearer x"])
def test_bad_bearers_are_refused(school: School, token: str) -> None:
    """401 with the reason, whatever the header holds."""
    header = b"Bearer " + token.encode()
    answer = httpx.get(f"{school.stack.url}/api/tenants", headers={b"Authorization": header})
    assert answer.status_code in (400, 401)
    if answer.status_code == 401:
        check(answer, token[:20])


def test_each_role_is_kept_to_its_own(school: School) -> None:
    """Pupils direct nothing, teachers nothing of another school, and only the owner makes tenants and tokens."""
    room = school.room()
    pupil, teacher = school.join(room)["token"], school.token("t-smith")["token"]
    rooms = f"/api/tenants/{school.tenant}/rooms"
    commands = f"{rooms}/{room.room}/commands"
    assert school.call(commands, pupil, {"cmd": "start"}).status_code == 403
    assert school.call(commands, teacher, {"cmd": "start"}).status_code == 200
    assert school.call(commands, None, {"cmd": "start"}).status_code == 401
    assert school.call("/api/tenants/nobody/rooms", teacher, {}).status_code == 403
    assert school.call("/api/tenants", teacher, {"tenant": "mine"}).status_code == 403
    assert school.call(f"/api/tenants/{school.tenant}/tokens", teacher, {"sub": "t-x"}).status_code == 403
    assert school.call("/api/renew", teacher).status_code == 200
    assert school.call("/api/renew", pupil).status_code == 200


@pytest.mark.rule("MSG-1")
async def test_no_payload_on_control_or_presence_hangs_a_room(school: School) -> None:
    """Random, huge, deep and wrong bytes from a teacher and a pupil: dropped, and the next command is answered."""
    room = school.room()
    teacher, pupil = school.token("t-smith"), school.join(room)
    host, port = school.stack.mqtt
    rnd = random.Random(7)
    rubbish = [*RAW_BODIES[1:], *(rnd.randbytes(rnd.randrange(1, 200)) for _ in range(50))]
    rubbish = [body[:4000] for body in rubbish] + [
        b'{"id":"x","cmd":"start","at":1e30}',
        b'{"id":"x","cmd":"set_tempo","bpm":NaN}',
        b'{"id":"' + b"x" * 500 + b'","cmd":"stop"}',
        b'{"id":"x","cmd":"mute","who":{}}',
        b'{"id":"x","cmd":"tap","t":-1}',
    ]
    for access, topic, retain in (
        (teacher, f"tenant/{school.tenant}/music_room/{room.room}/control/t-smith", False),
        (pupil, f"tenant/{school.tenant}/presence/{pupil['sub']}", True),
    ):
        async with aiomqtt.Client(
            host, port, username=access["username"], password=access["token"], identifier=access["client_id"]
        ) as raw:
            for body in rubbish:
                await raw.publish(topic, body, qos=1, retain=retain)
                await asyncio.sleep(0.002)
    wanted = Filter(Leaf.CONTROL_REPLY, room.tenant, room.room, Subject("t-smith"))
    async with school.ear(teacher, wanted) as smith:
        await smith.connection.publish(room.control(smith.sub), Command.decode(b'{"id":"after","cmd":"lock"}'))
        found = await smith.wait(lambda i: isinstance(i.message, Reply) and i.message.id == "after", "the reply")
        assert isinstance(found.message, Reply)
        assert found.message.ok
    assert httpx.get(f"{school.stack.url}/readyz").status_code == 200  # noqa: ASYNC210


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tenants", "create", "BAD NAME"], 2),
        (["tenants", "create", "bandroom"], 2),
        (["tenants", "create", "a\nb"], 2),
        (["tenants", "set", "lincoln"], 2),
        (["rooms", "create", "--bpm", "nan"], 2),
        (["rooms", "create", "--bpm", "1e30"], 2),
        (["rooms", "create", "--bpm", "-5"], 2),
        (["rooms", "create", "--meter", "4/5"], 2),
        (["rooms", "create", "--code", "no"], 2),
        (["rooms", "show", "NOWHERE-0000"], 1),
        (["rooms", "set-tempo", "NOWHERE-0000", "many"], 2),
        (["rooms", "stop", "NOWHERE-0000", "--at", "someday"], 2),
        (["rooms", "start", "+/#"], 2),
        (["devices", "enroll", "s-pupil"], 2),
        (["devices", "revoke", "d-nobody"], 1),
        (["tokens", "mint", "--role", "king", "--sub", "t-x"], 2),
        (["tokens", "mint", "--role", "teacher", "--sub", "s-x"], 2),
        (["tokens", "mint", "--role", "student", "--sub", "s-x"], 2),
        (["tokens", "mint", "--role", "teacher", "--sub", "t-x", "--ttl", "999999999999999999999999"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_the_command_line_says_what_was_wrong(school: School, words: list[str], code: int) -> None:
    """One line on stderr that names the value, an exit code for scripts, no traceback."""
    tenant = [] if words[0] == "tenants" else ["--tenant", school.tenant]
    ended, out, err = school.cli(*words, *tenant)
    assert ended == code, (ended, err)
    assert "Traceback" not in err
    assert err.strip()
    assert out == ""


@pytest.mark.rule("JOIN-3")
def test_guessing_codes_slows_down_the_guesser_alone(school: School) -> None:
    """429 with Retry-After for typed codes from that address; the link, and others, come in."""
    room = school.room()
    made = school.http.get(f"/api/tenants/{school.tenant}/rooms/{room.room}").json()
    key = made["join_url"].partition("&k=")[2]
    url, body = f"{school.stack.url}/api/join", {"tenant": school.tenant, "code": "NOWHERE-0000"}
    guesser = {"X-Forwarded-For": "192.0.2.7"}
    with httpx.Client() as http:
        statuses = [http.post(url, json=body, headers=guesser).status_code for _ in range(24)]
        assert statuses[:20] == [404] * 20
        assert statuses[-1] == 429
        slowed = http.post(url, json={"tenant": school.tenant, "code": room.room}, headers=guesser)
        assert slowed.status_code == 429
        assert int(slowed.headers["Retry-After"]) >= 1
        link = {"tenant": school.tenant, "code": room.room, "key": key}
        assert http.post(url, json=link, headers=guesser).status_code == 200
        other = {"X-Forwarded-For": "192.0.2.8"}
        assert http.post(url, json={"tenant": school.tenant, "code": room.room}, headers=other).status_code == 200


@pytest.mark.rule("JOIN-3")
def test_right_links_are_neither_slowed_nor_counted(school: School) -> None:
    """A class with the link at the door of a locked room costs its address nothing; nor does a guesser at a school's
    one address keep its teachers from signing in.
    """
    room, locked = school.room(), school.room()
    made = school.http.get(f"/api/tenants/{school.tenant}/rooms/{locked.room}").json()
    school.do(locked, "lock")
    link = {"tenant": school.tenant, "code": locked.room, "key": made["join_url"].partition("&k=")[2]}
    here = {"X-Forwarded-For": "192.0.2.9"}
    with httpx.Client(base_url=school.stack.url, headers=here, timeout=30) as http, ThreadPoolExecutor(8) as pool:

        def join(body: dict[str, Any]) -> int:
            return http.post("/api/join", json=body).status_code

        assert set(pool.map(join, [link] * 30)) == {404}
        assert join({"tenant": school.tenant, "code": room.room}) == 200
        assert 429 in set(pool.map(join, [{"tenant": school.tenant, "code": "NOWHERE-0000"}] * 30))
        key = school.post("/teachers", {"sub": "t-smith"}).json()["sign_in_url"].partition("&k=")[2]
        signed = [http.post("/api/sign-in", json={"tenant": school.tenant, "key": k}) for k in (key, "wrong")]
        assert [answer.status_code for answer in signed] == [200, 429]
        assert int(signed[1].headers["Retry-After"]) >= 1
