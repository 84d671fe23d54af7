"""Who gets in: tokens, device passwords, client ids, doors. What is refused learns nothing but that."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gatekit import Broker, GateHome, SigningKey, eventually
from raw_mqtt import Refused

NOW = int(time.time())
USER, ID = "lincoln/s-ann", "lincoln_s-ann"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)])


def hs256_with_public_key(home: GateHome, encoding: Encoding) -> str:
    public = home.people.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    claims = home.claims("lincoln", "student", "s-ann", "MUSIC-1234")
    text = unsigned({"alg": "HS256", "kid": home.people.kid}, claims).rsplit(".", 1)[0]
    return f"{text}.{b64(hmac.digest(public, text.encode(), hashlib.sha256))}"


def signed_by_hand(home: GateHome, header: dict[str, Any]) -> str:
    text = unsigned(header, home.claims("lincoln", "student", "s-ann", "MUSIC-1234")).rsplit(".", 1)[0]
    return f"{text}.{b64(home.people.private.sign(text.encode(), PKCS1v15(), SHA256()))}"


def student(home: GateHome, **changed: Any) -> str:
    claims = home.claims("lincoln", "student", "s-ann", "MUSIC-1234") | changed
    return home.token({name: value for name, value in claims.items() if value is not None})


def with_header(home: GateHome, **header: Any) -> str:
    return home.token(home.claims("lincoln", "student", "s-ann", "MUSIC-1234"), **header)


BAD_TOKENS: dict[str, Callable[[GateHome], str]] = {
    "1 alg none": lambda h: unsigned(
        {"alg": "none", "kid": h.people.kid}, h.claims("lincoln", "student", "s-ann", "MUSIC-1234")
    ),
    "1 alg none, signed": lambda h: signed_by_hand(h, {"alg": "none", "kid": h.people.kid}),
    "1 alg PS256, signed": lambda h: signed_by_hand(h, {"alg": "PS256", "kid": h.people.kid}),
    "1 no alg, signed": lambda h: signed_by_hand(h, {"kid": h.people.kid}),
    "3 no kid, signed": lambda h: signed_by_hand(h, {"alg": "RS256"}),
    "2 HS256 with the public key, PEM": lambda h: hs256_with_public_key(h, Encoding.PEM),
    "2 HS256 with the public key, DER": lambda h: hs256_with_public_key(h, Encoding.DER),
    "3 unknown kid": lambda h: with_header(h, kid="00000000"),
    "3 path-like kid": lambda h: with_header(h, kid="../../etc/passwd"),
    "3 kid of another role": lambda h: h.token(h.claims("lincoln", "student", "s-ann", "MUSIC-1234"), h.service),
    "3 unknown key under a known kid": lambda h: h.token(
        h.claims("lincoln", "student", "s-ann", "MUSIC-1234"), SigningKey("student", h.people.kid)
    ),
    "3 critical header": lambda h: with_header(h, crit=["b64"], b64=False),
    "4 audience": lambda h: student(h, aud="other"),
    "4 audience list": lambda h: student(h, aud=["bandroom"]),
    "4 issuer": lambda h: student(h, iss="other"),
    "5 expired": lambda h: student(h, iat=NOW - 7200, exp=NOW - 3600),
    "6 not yet": lambda h: student(h, nbf=NOW + 600),
    "6 issued in the future": lambda h: student(h, iat=NOW + 600, exp=NOW + 1200),
    "7 no exp": lambda h: student(h, exp=None),
    "7 exp too far": lambda h: student(h, exp=NOW + 13 * 3600),
    "7 exp as text": lambda h: student(h, exp=str(NOW + 3600)),
    "7 exp with a fraction": lambda h: student(h, exp=NOW + 3600.5),
    "7 exp beyond 64 bits": lambda h: student(h, exp=10**30),
    "7 no iat": lambda h: student(h, iat=None),
    "7 no jti": lambda h: student(h, jti=None),
    **{
        f"8 tenant {tenant[:10]!r}": (lambda h, tenant=tenant: student(h, tenant=tenant))
        for tenant in ("+", "#", "lincoln/x", "lincoln\0", "", "x" * 40_000, "Lincoln", "bandroom", "lincoln\n")
    },
    "9 role a list": lambda h: student(h, role=["student"]),
    "9 role unknown": lambda h: student(h, role="root"),
    "9 role upper case": lambda h: student(h, role="Student"),
    "9 role not of the subject": lambda h: student(h, role="teacher"),
    "9 no room": lambda h: student(h, room=None),
    "9 room a filter": lambda h: student(h, room="+"),
    "10 subject of another": lambda h: student(h, sub="s-bob"),
    "12 53 KB": lambda h: student(h, name="x" * 40_000),
    "12 not a token": lambda _: "hello",
    "12 empty": lambda _: "",
    "12 dots": lambda _: "....",
    "12 cut short": lambda h: student(h)[:-1],
    "12 one bit off": lambda h: student(h)[:-2] + ("A" if student(h)[-2] != "A" else "Q") + student(h)[-1],
    "a claim in another": lambda h: student(h, tenant=None, more={"tenant": "lincoln"}),
}


@pytest.mark.rule("CRED-1")
@pytest.mark.rule("CRED-2")
@pytest.mark.rule("CRED-3")
@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_bad_token(make: Callable[[GateHome], str], shared_broker: Broker) -> None:
    """A token that is not exactly what the contract asks for opens nothing."""
    with pytest.raises(Refused):
        shared_broker.open(ID, USER, make(shared_broker.home))


def test_good_token(shared_broker: Broker) -> None:
    """The same door opens for the right token: the refusals above are not for another reason."""
    shared_broker.open(
        ID, USER, signed_by_hand(shared_broker.home, {"alg": "RS256", "kid": shared_broker.home.people.kid})
    ).disconnect()
    shared_broker.open(ID, USER, student(shared_broker.home, name='Zoë "x"')).disconnect()


@pytest.mark.rule("ID-6")
@pytest.mark.parametrize(
    "client_id",
    [
        "",
        "lincoln_s-bob",
        "other_s-ann",
        "lincoln_s-ann_10",
        "lincoln_s-ann_",
        "lincoln_s-ann_x",
        "lincoln_s-annx",
        "#",
        "+",
        "s-ann",
    ],
)
def test_client_id_of_somebody_else(client_id: str, shared_broker: Broker) -> None:
    """15, 19, 20, 21: a client id must be `<tenant>_<subject>`, with one digit at the most."""
    with pytest.raises(Refused):
        shared_broker.open(client_id, USER, student(shared_broker.home))


@pytest.mark.rule("CRED-7")
@pytest.mark.rule("CRED-8")
@pytest.mark.rule("ID-5")
@pytest.mark.parametrize(
    "username",
    [
        "lincoln/s-bob",
        "other/s-ann",
        "lincoln/s-ann/1",
        "lincoln",
        "",
        None,
        "s-ann",
        "lincoln/s-ann/",
        "/lincoln/s-ann",
    ],
)
def test_user_name_of_somebody_else(username: str | None, shared_broker: Broker) -> None:
    """10, 13: the user name must be the token's tenant and subject; nobody is anonymous."""
    with pytest.raises(Refused):
        shared_broker.open(ID, username, student(shared_broker.home) if username is not None else None)


def test_identity_as_user_name(shared_broker: Broker) -> None:
    """What the gate itself writes into a user name means nothing when it comes from outside."""
    ann = shared_broker.student()
    eventually(lambda: "u'8" in shared_broker.log, "the connection in the broker's log")
    forged = [line.rsplit("u'", 1)[1].split("'")[0] for line in shared_broker.log.splitlines() if "u'8" in line][-1]
    assert "lincoln/MUSIC-1234/" in forged
    for client_id in (ID, f"{ID}_1"):
        with pytest.raises(Refused):
            shared_broker.open(client_id, forged, "x")
    ann.settle()
    ann.disconnect()


@pytest.mark.rule("CRED-9")
@pytest.mark.parametrize("version", [4, 5])
def test_sessions_are_not_kept(version: int, shared_broker: Broker) -> None:
    """16, 17: clean session off is refused to everybody, so nobody inherits."""
    with pytest.raises(Refused):
        shared_broker.student(clean=False, version=version)


@pytest.mark.rule("CRED-8")
def test_extended_authentication(shared_broker: Broker) -> None:
    """11: a v5 authentication method instead of a password is refused."""
    method = b"\x15\x00\x05token\x16\x00\x01x"
    with pytest.raises(Refused):
        shared_broker.open(ID, USER, student(shared_broker.home), version=5, properties=method)


def test_bridge_connect(shared_broker: Broker) -> None:
    """53: the bridge flag in CONNECT wins nothing."""
    bridge = shared_broker.student(version=0x84)
    assert bridge.subscribe("#") == [0x80]
    bridge.publish("tenant/other/music_room/MUSIC-1234/beat")
    bridge.disconnect()


@pytest.mark.rule("CRED-5")
def test_service_token_over_tcp(shared_broker: Broker) -> None:
    """48: the service's own roles exist on the Unix socket only, whatever the token says."""
    for sub in ("rooms", "tempo-0"):
        with pytest.raises(Refused):
            shared_broker.service(sub, local=False)
        shared_broker.service(sub).disconnect()


@pytest.mark.rule("CRED-4")
def test_people_key_signs_no_service_token(shared_broker: Broker) -> None:
    """Each key signs its roles and no others."""
    home = shared_broker.home
    token = home.token(home.claims("bandroom", "rooms", "rooms"), home.people)
    with pytest.raises(Refused):
        shared_broker.open("bandroom_rooms", "bandroom/rooms", token, local=True)


@pytest.mark.rule("CRED-6")
@pytest.mark.rule("ID-5")
@pytest.mark.parametrize(
    "wrong", ["generation", "zero", "tenant", "truncated", "longer", "empty", "other subject", "leading zero"]
)
def test_device_password(wrong: str, shared_broker: Broker) -> None:
    """14: a device password fits its tenant, subject and generation alone."""
    home = shared_broker.home
    user = "lincoln/d-drum/1"
    good = home.password(user)
    user, password = {
        "generation": ("lincoln/d-drum/2", good),
        "zero": ("lincoln/d-drum/0", home.password("lincoln/d-drum/0")),
        "tenant": ("lincoln-2/d-drum/1", good),
        "truncated": (user, good[:-1]),
        "longer": (user, good + "a"),
        "empty": (user, ""),
        "other subject": ("lincoln/d-drum2/1", good),
        "leading zero": ("lincoln/d-drum/01", home.password("lincoln/d-drum/01")),
    }[wrong]
    tenant, sub = user.split("/")[:2]
    with pytest.raises(Refused):
        shared_broker.open(f"{tenant}_{sub}", user, password)
    shared_broker.device().disconnect()


@pytest.mark.rule("CRED-1")
@pytest.mark.rule("ID-4")
def test_device_cannot_be_another_role(shared_broker: Broker) -> None:
    """A device's credential makes no teacher, and a token makes no device."""
    user = "lincoln/t-kim/1"
    with pytest.raises(Refused):
        shared_broker.open("lincoln_t-kim", user, shared_broker.home.password(user))
    with pytest.raises(Refused):
        shared_broker.person("lincoln", "device", "d-drum", "MUSIC-1234")


@pytest.mark.rule("CRED-10")
def test_refused_connect_does_not_kick(shared_broker: Broker) -> None:
    """18: a bad token with somebody's client id leaves that somebody connected."""
    ann = shared_broker.student()
    with pytest.raises(Refused):
        shared_broker.open(ID, USER, student(shared_broker.home)[:-3])
    ann.settle()
    ann.disconnect()
