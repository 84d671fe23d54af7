"""Cases 1 to 14: credentials that are not what they pretend to be open nothing, and their refusal disturbs nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from arena import Arena
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gatekit import GateHome, SigningKey


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(arena: Arena, **changed: Any) -> dict[str, Any]:
    """What a good token of s-evil says, with changes; None leaves a claim out."""
    base = arena.broker.home.claims("lincoln", "student", "s-evil", "MUSIC-1234") | changed
    return {name: value for name, value in base.items() if value is not None}


def text(header: dict[str, Any], body: dict[str, Any]) -> str:
    """The part of a token that is signed."""
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(body).encode())}"


def signed(home: GateHome, header: dict[str, Any], body: dict[str, Any]) -> str:
    """Signed rightly with the people's key (RS256), whatever the header says."""
    what = text(header, body)
    return f"{what}.{b64(home.people.private.sign(what.encode(), padding.PKCS1v15(), SHA256()))}"


def good_header(home: GateHome, **more: Any) -> dict[str, Any]:
    """The header of a good token."""
    return {"alg": "RS256", "typ": "JWT", "kid": home.people.kid} | more


def test_the_right_token_opens(arena: Arena) -> None:
    """Made by the same hand, a token with nothing wrong in it is accepted: what follows is refused for its fault."""
    home = arena.broker.home
    arena.broker.open("lincoln_s-evil", "lincoln/s-evil", signed(home, good_header(home), claims(arena))).disconnect()


@pytest.mark.rule("CRED-2")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, [], "none\0"])
@pytest.mark.parametrize("sign", [False, True])
def test_case_01_alg_none(arena: Arena, alg: Any, sign: bool) -> None:
    """A token may not choose to be unsigned."""
    home = arena.broker.home
    header = good_header(home, alg=alg)
    arena.refused_token(signed(home, header, claims(arena)) if sign else text(header, claims(arena)) + ".")
    arena.refused_token(text(header, claims(arena)))


@pytest.mark.rule("CRED-2")
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["pem", "pem-stripped", "der", "keys-line"])
def test_case_02_public_key_as_hmac_secret(arena: Arena, alg: str, form: str) -> None:
    """The public key is no secret: an HMAC made with it is no signature."""
    home = arena.broker.home
    public = home.people.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = {
        "pem": pem,
        "pem-stripped": pem.strip(),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "keys-line": home.people.line.split()[-1].encode(),
    }[form]
    what = text(good_header(home, alg=alg), claims(arena))
    mac = hmac.digest(secret, what.encode(), hashlib.new(f"sha{alg[2:]}").name)
    arena.refused_token(f"{what}.{b64(mac)}")


@pytest.mark.rule("CRED-2")
def test_case_02_other_algorithms(arena: Arena) -> None:
    """ES256 with a key of the attacker's, PS256 and RS512 with ours: the key decides the algorithm."""
    home = arena.broker.home
    what = text(good_header(home, alg="ES256"), claims(arena))
    arena.refused_token(
        f"{what}.{b64(ec.generate_private_key(ec.SECP256R1()).sign(what.encode(), ec.ECDSA(SHA256())))}"
    )
    what = text(good_header(home, alg="PS256"), claims(arena))
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    arena.refused_token(f"{what}.{b64(home.people.private.sign(what.encode(), pss, SHA256()))}")
    what = text(good_header(home, alg="RS512"), claims(arena))
    arena.refused_token(f"{what}.{b64(home.people.private.sign(what.encode(), padding.PKCS1v15(), SHA512()))}")
    for alg in ("RS384", "rs256", "RS256 ", "EdDSA"):
        arena.refused_token(signed(home, good_header(home, alg=alg), claims(arena)))


@pytest.mark.rule("CRED-2")
@pytest.mark.parametrize(
    "kid",
    ["00000000", "../../etc/passwd", "/dev/null", "", None, 1, [], {}, "' OR 1=1", "x" * 2000, "\0", "*"],
    ids=repr,
)
def test_case_03_kid(arena: Arena, kid: Any) -> None:
    """A `kid` names a key that the installation has, and nothing on a disk or in a database."""
    home = arena.broker.home
    arena.refused_token(signed(home, good_header(home, kid=kid), claims(arena)))


@pytest.mark.rule("CRED-2")
@pytest.mark.rule("CRED-4")
def test_case_03_key_of_other_roles(arena: Arena) -> None:
    """Each key signs its roles: the service's no pupil, the people's no service; a key in the header is nobody's."""
    home = arena.broker.home
    arena.refused_token(home.token(claims(arena), home.service))
    mine = SigningKey("teacher,student,viewer")
    arena.refused_token(home.token(claims(arena), mine))
    arena.refused_token(home.token(claims(arena), mine, kid=home.people.kid))
    numbers = mine.private.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": home.people.kid, "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    arena.refused_token(home.token(claims(arena), mine, kid=home.people.kid, jwk=jwk))
    arena.refused_token(home.token(claims(arena), mine, kid=home.people.kid, jku="http://127.0.0.1:1/keys"))
    service = claims(arena, tenant="bandroom", sub="rooms", role="rooms", room=None)
    for local in (False, True):
        arena.refused("bandroom_rooms", "bandroom/rooms", home.token(service, home.people), local=local)


@pytest.mark.rule("CRED-1")
@pytest.mark.parametrize("name", ["aud", "iss"])
@pytest.mark.parametrize("value", [None, "other", "", "Bandroom", "bandroom ", 1, {}, ["other"]], ids=repr)
def test_case_04_audience_and_issuer(arena: Arena, name: str, value: Any) -> None:
    """A token made for somebody else, or by somebody else, is not for us."""
    home = arena.broker.home
    arena.refused_token(
        home_signed(home, claims(arena) | {name: value} if value is not None else claims(arena, **{name: None}))
    )


def home_signed(home: GateHome, body: dict[str, Any]) -> str:
    """Signed rightly; the library would refuse some of these."""
    return signed(home, good_header(home), body)


def said_by_hand(arena: Arena, body: str) -> str:
    """A token with these claims, letter by letter, and a right signature."""
    home = arena.broker.home
    what = f"{b64(json.dumps(good_header(home)).encode())}.{b64(body.encode())}"
    return f"{what}.{b64(home.people.private.sign(what.encode(), padding.PKCS1v15(), SHA256()))}"


@pytest.mark.rule("CRED-1")
@pytest.mark.parametrize("name", ["tenant", "sub", "role", "room", "exp", "iat", "aud", "iss", "jti", "nbf"])
def test_a_claim_that_stands_twice(arena: Arena, name: str) -> None:
    """Of two values another reader may take the other one: the token is refused, first and last, plain and escaped."""
    good = claims(arena, nbf=int(time.time()) - 1)
    body = json.dumps(good)
    arena.broker.open("lincoln_s-evil", "lincoln/s-evil", said_by_hand(arena, body)).disconnect()
    again = json.dumps({name: good[name]})[1:-1]
    escaped = again.replace(name, f"\\u{ord(name[0]):04x}{name[1:]}", 1)
    for more in (again, escaped):
        arena.refused_token(said_by_hand(arena, f"{body[:-1]}, {more}}}"))
        arena.refused_token(said_by_hand(arena, f"{{{more}, {body[1:]}"))


@pytest.mark.rule("CRED-2")
def test_a_signature_is_spelled_in_one_way(arena: Arena) -> None:
    """No padding, no blanks, no bits beyond the last byte, no other alphabet: a token has one spelling."""
    home = arena.broker.home
    token = home_signed(home, claims(arena))
    head, _, signature = token.rpartition(".")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(signature) == 342, "256 bytes: four bits of the last letter say nothing"
    for stray in range(1, 16):
        arena.refused_token(f"{head}.{signature[:-1]}{digits[digits.index(signature[-1]) + stray]}")
    for other in (
        f"{signature}=",
        f"{signature}==",
        f"{signature} ",
        f" {signature}",
        f"{signature}\n",
        signature + "A",
    ):
        arena.refused_token(f"{head}.{other}")
    if "-" in signature or "_" in signature:
        arena.refused_token(f"{head}.{signature.replace('-', '+').replace('_', '/')}")


@pytest.mark.rule("CRED-2")
@pytest.mark.parametrize("crit", [[], ["exp"], ["b64"], "exp", "", {}, 1, None, True], ids=repr)
def test_critical_extensions(arena: Arena, crit: Any) -> None:
    """A header that demands what the gate does not know is refused, in whatever form it does so."""
    home = arena.broker.home
    arena.refused_token(signed(home, good_header(home, crit=crit), claims(arena)))


@pytest.mark.rule("CRED-3")
@pytest.mark.parametrize("age_s", [0, 1, 60, 3600, 10**6])
def test_case_05_expired(arena: Arena, age_s: int) -> None:
    """What has expired is void, be it this second."""
    now = int(time.time())
    arena.refused_token(home_signed(arena.broker.home, claims(arena, iat=now - age_s - 60, exp=now - age_s)))


@pytest.mark.rule("CRED-3")
@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_case_06_not_yet(arena: Arena, name: str) -> None:
    """What is not valid yet is not valid."""
    now = int(time.time())
    arena.refused_token(home_signed(arena.broker.home, claims(arena, **{name: now + 300, "exp": now + 600})))


@pytest.mark.rule("CRED-3")
@pytest.mark.parametrize(
    "exp",
    [None, "", "never", [], {}, True, 0, -1, 1e300, 10**30, 2**63, 2**64 + 2 * 10**9, "9999999999"],
    ids=repr,
)
def test_case_07_no_expiry(arena: Arena, exp: Any) -> None:
    """A token that says no end, or an end that is no time, is refused."""
    arena.refused_token(home_signed(arena.broker.home, claims(arena, exp=exp)))


@pytest.mark.rule("CRED-3")
def test_case_07_too_long_a_life(arena: Arena) -> None:
    """Twelve hours are the longest life, counted from `iat`."""
    now = int(time.time())
    arena.refused_token(home_signed(arena.broker.home, claims(arena, iat=now, exp=now + 12 * 3600 + 1)))
    arena.refused_token(home_signed(arena.broker.home, claims(arena, iat=0, exp=now + 60)))
    arena.refused_token(home_signed(arena.broker.home, claims(arena, iat=-(10**18), exp=now + 60)))


@pytest.mark.rule("ID-1")
@pytest.mark.rule("ID-3")
@pytest.mark.parametrize(
    "tenant",
    [
        "+",
        "#",
        "lincoln/#",
        "a/b",
        "lincoln\0",
        "lincoln\0jefferson",
        "",
        "$SYS",
        "bandroom",
        "LINCOLN",
        "lin coln",
        None,
        7,
        ["lincoln"],
    ],
    ids=repr,
)
def test_case_08_tenant_claim(arena: Arena, tenant: Any) -> None:
    """A tenant that is a wildcard, a path, empty or no text never becomes part of a topic."""
    token = home_signed(arena.broker.home, claims(arena, tenant=tenant))
    arena.refused_token(token)
    name = tenant if isinstance(tenant, str) and "\0" not in tenant else "lincoln"
    arena.refused(f"{name}_s-evil", f"{name}/s-evil", token)


@pytest.mark.rule("ID-1")
def test_case_08_huge_tenant(arena: Arena) -> None:
    """Tens of kilobytes of tenant are refused as one letter would be."""
    home = arena.broker.home
    arena.refused_token(home_signed(home, claims(arena, tenant="l" * 40_000)))
    arena.refused("x", "l" * 60_000 + "/s-evil", home_signed(home, claims(arena)))


@pytest.mark.rule("ID-4")
@pytest.mark.parametrize(
    "role",
    [
        "teacher",
        "rooms",
        "tempo",
        "device",
        "viewer",
        "admin",
        "Student",
        "STUDENT",
        "",
        None,
        ["student"],
        ["teacher"],
        {"student": 1},
        1,
        "student ",
    ],
    ids=repr,
)
def test_case_09_role(arena: Arena, role: Any) -> None:
    """A role is one of ours, spelled right, and fits the subject."""
    arena.refused_token(home_signed(arena.broker.home, claims(arena, role=role)))


@pytest.mark.rule("CRED-7")
@pytest.mark.rule("ID-5")
@pytest.mark.parametrize(
    "username",
    [
        "lincoln/s-bob",
        "jefferson/s-evil",
        "jefferson/s-vic",
        "bandroom/rooms",
        "lincoln/t-evil",
        "lincoln/s-evil/1",
        "lincoln/s-evil/",
        "/lincoln/s-evil",
        "lincoln//s-evil",
        "lincoln",
        "s-evil",
        "lincoln/S-EVIL",
        "lincoln/s-evil ",
        "",
        "lincoln/s-evi",
        "lincoln/s-evill",
        "lincoln/+",
        "#",
    ],
)
def test_case_10_user_name(arena: Arena, username: str) -> None:
    """The user name is the token's tenant and subject, letter by letter."""
    token = home_signed(arena.broker.home, claims(arena))
    arena.refused("lincoln_s-evil", username, token)
    arena.refused(username.replace("/", "_"), username, token)


@pytest.mark.rule("CRED-8")
@pytest.mark.parametrize("method", ["PLAIN", "SCRAM-SHA-256", "", "x" * 1000])
def test_case_11_extended_authentication(arena: Arena, method: str) -> None:
    """An authentication method of MQTT 5 is no way round the password."""
    name = len(method).to_bytes(2, "big") + method.encode()
    properties = b"\x15" + name + b"\x16\x00\x04data"
    arena.refused("lincoln_s-evil", "lincoln/s-evil", None, version=5, properties=properties)
    arena.refused("bandroom_rooms", None, None, version=5, properties=properties)


@pytest.mark.rule("CRED-8")
@pytest.mark.parametrize("size", [5_000, 60_000, 65_535])
def test_case_12_huge_token(arena: Arena, size: int) -> None:
    """What is larger than any credential is refused, well-formed or not."""
    arena.refused_token("x" * size)
    arena.refused_token("." * size)
    home = arena.broker.home
    if size < 50_000:
        arena.refused_token(home_signed(home, claims(arena, more="x" * size)))
    arena.refused_token(home_signed(home, claims(arena)) + "A" * (size // 2))
    deep = b64(b'{"a":' * (size // 8)) + "." + b64(b"[" * (size // 8))
    arena.refused_token(deep + ".AAAA")


@pytest.mark.rule("CRED-8")
@pytest.mark.parametrize("version", [4, 5])
def test_case_13_anonymous(arena: Arena, version: int) -> None:
    """Nobody comes in without a user name, without a password, or without both."""
    token = home_signed(arena.broker.home, claims(arena))
    arena.refused("lincoln_s-evil", None, None, version=version)
    arena.refused("lincoln_s-evil", "lincoln/s-evil", None, version=version)
    arena.refused("lincoln_s-evil", None, token, version=version)
    arena.refused("lincoln_s-evil", "lincoln/s-evil", "", version=version)
    arena.refused("lincoln_s-evil", "", token, version=version)
    arena.refused("lincoln_s-evil", "", "", version=version)


@pytest.mark.rule("CRED-6")
def test_case_14_device_password(arena: Arena) -> None:
    """A device's password opens for its tenant, subject and generation, whole, and for nothing else."""
    home = arena.broker.home
    mine = home.password("lincoln/d-evil/1")
    arena.broker.open("lincoln_d-evil", "lincoln/d-evil/1", mine).disconnect()
    wrong: list[tuple[str, str | bytes]] = [
        ("lincoln/d-evil/2", mine),
        ("lincoln/d-evil/01", home.password("lincoln/d-evil/01")),
        ("lincoln/d-evil/+1", home.password("lincoln/d-evil/+1")),
        ("lincoln/d-evil/-1", home.password("lincoln/d-evil/-1")),
        ("lincoln/d-evil", home.password("lincoln/d-evil")),
        ("lincoln/d-evil/1/1", home.password("lincoln/d-evil/1/1")),
        ("jefferson/d-evil/1", mine),
        ("lincoln-2/d-evil/1", mine),
        ("lincoln/d-vic/1", mine),
        ("jefferson/d-vic/1", mine),
        ("lincoln/s-evil/1", home.password("lincoln/s-evil/1")),
        ("lincoln/t-evil/1", home.password("lincoln/t-evil/1")),
        ("bandroom/d-evil/1", home.password("bandroom/d-evil/1")),
        ("bandroom/rooms/1", home.password("bandroom/rooms/1")),
        ("lincoln/d-evil/1", mine[:-1]),
        ("lincoln/d-evil/1", mine[:1]),
        ("lincoln/d-evil/1", ""),
        ("lincoln/d-evil/1", mine + "a"),
        ("lincoln/d-evil/1", mine.upper()),
        ("lincoln/d-evil/1", b"\0" + mine.encode()),
        ("lincoln/d-evil/1", mine[:10].encode() + b"\0" + mine[10:].encode()),
        ("lincoln/d-evil/1", mine + "\n"),
    ]
    for username, password in wrong:
        tenant, sub = username.split("/")[:2]
        arena.refused(f"{tenant}_{sub}", username, password)
        arena.refused(f"{tenant}_{sub}", username, password, version=5)
    # A token is no device's password, nor a device's password a token.
    arena.refused("lincoln_d-evil", "lincoln/d-evil/1", home_signed(home, claims(arena)))
    arena.refused("lincoln_s-evil", "lincoln/s-evil", mine)
