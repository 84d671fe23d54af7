"""The policy gives the answers of the contract vectors, the same that the gate must give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bandroom.wire.gate_log import parse_body
from bandroom.wire.gate_state import GateState
from bandroom.wire.ids import Role
from bandroom.wire.policy import (
    Client,
    Deliver,
    Generation,
    Publish,
    Request,
    Subscribe,
    Token,
    Unsubscribe,
    admit,
    judge,
)

CONTRACT = Path(__file__).parents[2] / "contract"
CASES: list[dict[str, Any]] = json.loads((CONTRACT / "policy.json").read_text())["cases"]
HOME = "MUSIC-1234"


def state_of(*log: str) -> GateState:
    """The state after these entries."""
    return GateState().apply_all(parse_body(line) for line in log)


def client_of(raw: dict[str, Any]) -> Client:
    """A client as the vectors write it."""
    return Client(**{**raw, "role": Role(raw["role"])})


def request_of(raw: dict[str, Any]) -> Request:
    """A request as the vectors write it."""
    match raw["do"]:
        case "publish":
            return Publish(raw["topic"], raw["qos"], raw["retain"])
        case "subscribe":
            return Subscribe(raw["topic"], raw["qos"])
        case _:
            return Deliver(raw["topic"])


def student(**more: Any) -> Client:
    """A pupil of lincoln's MUSIC-1234."""
    base: dict[str, Any] = {
        "role": Role.STUDENT,
        "tenant": "lincoln",
        "sub": "s-a",
        "room": HOME,
        "client_id": "lincoln_s-a",
        "local": False,
    }
    return Client(**(base | more))


@pytest.mark.rule("ACL-1")
@pytest.mark.rule("ACL-2")
@pytest.mark.rule("ACL-3")
@pytest.mark.rule("ACL-4")
@pytest.mark.rule("ACL-5")
@pytest.mark.rule("ACL-6")
@pytest.mark.rule("ACL-7")
@pytest.mark.rule("ACL-8")
@pytest.mark.rule("ACL-9")
@pytest.mark.rule("ACL-10")
@pytest.mark.rule("ACL-11")
@pytest.mark.rule("ACL-12")
@pytest.mark.rule("ACL-13")
@pytest.mark.rule("ACL-15")
@pytest.mark.rule("TOP-3")
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_vectors(case: dict[str, Any]) -> None:
    """Every check of the vector file gets the answer that the file gives."""
    state, client = state_of(*case["log"]), client_of(case["client"])
    wrong = [check for check in case["checks"] if judge(state, client, request_of(check)).allow is not check["allow"]]
    assert not wrong


def test_vectors_are_current() -> None:
    """The vector file is what its generator writes."""
    subprocess.run([sys.executable, str(CONTRACT / "policy_vectors.py"), "--check"], check=True)


@pytest.mark.rule("ACL-14")
@pytest.mark.parametrize("name", ["#", "tenant/jefferson/#", "$share/g/x", f"tenant/lincoln/music_room/{HOME}/beat"])
def test_unsubscribe_is_always_allowed(name: str) -> None:
    """A client may give up any filter, one it never had included."""
    assert judge(state_of(), student(), Unsubscribe(name))


@pytest.mark.rule("ACL-16")
def test_a_will_has_no_rights_of_its_own() -> None:
    """A Will is a publish like any other: its own retained presence passes, a beat or a plain presence does not."""
    state = state_of(f"open lincoln {HOME}")
    assert judge(state, student(), Publish("tenant/lincoln/presence/s-a", 1, retain=True))
    assert not judge(state, student(), Publish("tenant/lincoln/presence/s-a", 0, retain=False))
    assert not judge(state, student(), Publish(f"tenant/lincoln/music_room/{HOME}/beat", 0, retain=False))


@pytest.mark.rule("ACL-17")
def test_delivery_follows_the_state() -> None:
    """A subscription that was granted delivers nothing once the room is closed or the device is elsewhere."""
    beat = Deliver(f"tenant/lincoln/music_room/{HOME}/beat")
    device = student(role=Role.DEVICE, sub="d-a", room=None, client_id="lincoln_d-a")
    here = (f"open lincoln {HOME}", f"assign lincoln d-a {HOME}")
    assert judge(state_of(*here), device, beat)
    assert not judge(state_of(*here, "assign lincoln d-a -"), device, beat)
    assert not judge(state_of(*here, f"close lincoln {HOME}"), device, beat)


@pytest.mark.rule("ID-4")
@pytest.mark.rule("ID-5")
@pytest.mark.rule("CRED-4")
@pytest.mark.rule("CRED-5")
@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "lincoln_s-b"},
        {"client_id": "jefferson_s-a"},
        {"client_id": "lincoln_s-a_"},
        {"client_id": "lincoln_s-a_10"},
        {"client_id": "lincoln_s-a_x"},
        {"client_id": "lincoln_s-a\n"},
        {"client_id": "lincoln_s-a_1\n"},
        {"client_id": "Lincoln_s-a"},
        {"client_id": ""},
        {"sub": "t-a", "client_id": "lincoln_t-a"},
        {"sub": "s-a/x", "client_id": "lincoln_s-a/x"},
        {"sub": "s-", "client_id": "lincoln_s-"},
        {"room": None},
        {"room": "music-1234"},
        {"room": "+"},
        {"tenant": "bandroom", "client_id": "bandroom_s-a"},
        {"tenant": "+", "client_id": "+_s-a"},
        {"tenant": "", "client_id": "_s-a"},
        {"role": Role.ROOMS, "sub": "rooms", "tenant": "bandroom", "client_id": "bandroom_rooms"},
        {"role": Role.TEMPO, "sub": "tempo-0", "tenant": "bandroom", "client_id": "bandroom_tempo-0"},
        {"role": Role.ROOMS, "sub": "rooms", "client_id": "lincoln_rooms", "local": True},
        {"role": Role.ROOMS, "local": True},
        {"role": Role.TEMPO, "sub": "rooms", "tenant": "bandroom", "client_id": "bandroom_rooms", "local": True},
        {"role": Role.ROOMS, "sub": "tempo-0", "tenant": "bandroom", "client_id": "bandroom_tempo-0", "local": True},
        {"role": Role.TEMPO, "sub": "tempo-01", "tenant": "bandroom", "client_id": "bandroom_tempo-01", "local": True},
        {"role": Role.TEMPO, "sub": "tempo-x", "tenant": "bandroom", "client_id": "bandroom_tempo-x", "local": True},
    ],
    ids=str,
)
def test_an_identity_that_does_not_hold_together_may_do_nothing(wrong: dict[str, Any]) -> None:
    """Client id, subject, role, room and door must agree, or nothing is granted and the connection is refused."""
    state, client = state_of(f"open lincoln {HOME}"), student(**wrong)
    for request in (
        Publish(f"tenant/lincoln/music_room/{HOME}/note/s-a", 0, retain=False),
        Publish(f"tenant/lincoln/music_room/{HOME}/beat", 0, retain=False),
        Publish(f"tenant/lincoln/music_room/{HOME}/tempo", 1, retain=True),
        Subscribe(f"tenant/lincoln/music_room/{HOME}/beat"),
        Subscribe("tenant/#"),
        Deliver(f"tenant/lincoln/music_room/{HOME}/tempo"),
    ):
        assert not judge(state, client, request)
    assert not admit(state, client, Token("j", 100, 200), clean=True, now_s=150)


@pytest.mark.rule("CRED-3")
@pytest.mark.rule("CRED-9")
@pytest.mark.rule("REV-1")
@pytest.mark.rule("REV-2")
def test_tokens_are_admitted_while_they_are_valid() -> None:
    """A token serves until its expiry, unless it or its subject was revoked, and with a clean session alone."""
    token, me = Token("j1", iat_s=100, exp_s=200), student()
    assert admit(state_of(), me, token, clean=True, now_s=199)
    assert not admit(state_of(), me, token, clean=True, now_s=200)
    assert not admit(state_of(), me, token, clean=False, now_s=150)
    assert not admit(state_of("revoke lincoln s-a 100 900"), me, token, clean=True, now_s=150)
    assert not admit(state_of("revokejti lincoln j1 900"), me, token, clean=True, now_s=150)
    assert admit(state_of("revoke lincoln s-a 99 900"), me, token, clean=True, now_s=150)
    assert admit(state_of("revoke lincoln s-b 100 900"), me, token, clean=True, now_s=150)
    assert admit(state_of("revoke jefferson s-a 100 900"), me, token, clean=True, now_s=150)
    assert admit(state_of("revokejti jefferson j1 900"), me, token, clean=True, now_s=150)
    assert admit(state_of("kick lincoln s-a"), me, token, clean=True, now_s=150)
    assert not admit(
        state_of("revoke lincoln s-a 100 900", "revoke lincoln s-a 50 90"), me, token, clean=True, now_s=150
    )


@pytest.mark.rule("REV-3")
@pytest.mark.rule("CRED-1")
def test_devices_are_admitted_from_their_floor_on() -> None:
    """A device's generation below its floor is refused, and neither kind of credential stands in for the other."""
    device = student(role=Role.DEVICE, sub="d-a", room=None, client_id="lincoln_d-a")
    assert admit(state_of(), device, Generation(1), clean=True, now_s=0)
    assert admit(state_of("floor lincoln d-a 2"), device, Generation(2), clean=True, now_s=0)
    assert not admit(state_of("floor lincoln d-a 2"), device, Generation(1), clean=True, now_s=0)
    assert not admit(state_of("floor lincoln d-a 3", "floor lincoln d-a 2"), device, Generation(2), clean=True, now_s=0)
    assert admit(state_of("floor jefferson d-a 2"), device, Generation(1), clean=True, now_s=0)
    assert not admit(state_of(), device, Token("j", 0, 9), clean=True, now_s=1)
    assert not admit(state_of(), student(), Generation(1), clean=True, now_s=1)
    assert not admit(state_of(), student(), None, clean=True, now_s=1)
