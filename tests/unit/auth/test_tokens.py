"""Tokens: what opens, and everything that must not."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from bandroom.auth.keys import KeyRing
from bandroom.auth.tokens import MAX_TTL_S, BadToken, Claims, mint, mint_service, verify
from bandroom.wire.ids import Role, RoomId, Subject, TenantId
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

LINCOLN, MUSIC, PUPIL = TenantId("lincoln"), RoomId("MUSIC-1234"), Subject("s-7f3k2")
NOW = 1_700_000_000


def payload(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": "bandroom",
        "aud": "bandroom",
        "sub": "s-7f3k2",
        "tenant": "lincoln",
        "role": "student",
        "room": "MUSIC-1234",
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "abc",
    }
    return {key: value for key, value in (good | changes).items() if value is not ...}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(keys: KeyRing, claims: dict[str, Any], **headers: Any) -> str:
    key = keys.signs_people
    return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid} | headers)


def test_a_minted_token_opens_until_it_expires(keys: KeyRing) -> None:
    """The claims come back as they went in; at its last second it is good, a second later not."""
    minted = mint(keys, LINCOLN, PUPIL, MUSIC, now_s=NOW, ttl_s=60)
    assert (minted.username, minted.client_id) == ("lincoln/s-7f3k2", "lincoln_s-7f3k2")
    claims = verify(keys, minted.token, now_s=NOW + 59)
    assert (claims.tenant, claims.role, claims.sub, claims.room) == (LINCOLN, Role.STUDENT, PUPIL, MUSIC)
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 60)
    with pytest.raises(BadToken, match="expired") as caught:
        verify(keys, minted.token, now_s=NOW + 60)
    assert caught.value.expired


def test_a_teachers_token_names_no_room(keys: KeyRing) -> None:
    """Teachers belong to the tenant, pupils and viewers to one room, devices have no tokens."""
    teacher = mint(keys, LINCOLN, Subject("t-smith"), None, now_s=NOW)
    assert verify(keys, teacher.token, now_s=NOW).room is None
    for sub, room in ((Subject("t-smith"), MUSIC), (PUPIL, None), (Subject("v-1"), None), (Subject("d-1"), MUSIC)):
        with pytest.raises(ValueError, match="token"):
            mint(keys, LINCOLN, sub, room, now_s=NOW)
    for ttl in (0, -1, MAX_TTL_S + 1):
        with pytest.raises(ValueError, match="lives"):
            mint(keys, LINCOLN, PUPIL, MUSIC, now_s=NOW, ttl_s=ttl)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"exp": ...},
        {"iat": ...},
        {"jti": ...},
        {"jti": 7},
        {"jti": "a b"},
        {"sub": ...},
        {"sub": "d-drum"},
        {"sub": "t-smith"},
        {"sub": "s-7f3k2\n"},
        {"tenant": ...},
        {"tenant": "bandroom"},
        {"tenant": "+"},
        {"tenant": "lincoln/x"},
        {"tenant": "lincoln\0"},
        {"tenant": ["lincoln"]},
        {"role": "teacher"},
        {"role": "Student"},
        {"role": ["student"]},
        {"role": "rooms"},
        {"role": {}},
        {"room": ...},
        {"room": "MUSIC-1234\n"},
        {"room": "#"},
        {"iat": NOW + 60, "exp": NOW + 120},
        {"nbf": NOW + 60},
        {"nbf": "soon"},
        {"exp": NOW + MAX_TTL_S + 1},
        {"exp": float(NOW + 60)},
        {"exp": 10**30},
        {"exp": -1},
        {"exp": True},
        {"exp": "tomorrow"},
        {"iat": None},
    ],
    ids=str,
)
def test_a_rightly_signed_token_with_wrong_claims_is_refused(keys: KeyRing, changes: dict[str, Any]) -> None:
    """Each claim is checked by itself, by type and by form."""
    assert verify(keys, signed(keys, payload()), now_s=NOW).sub == PUPIL
    with pytest.raises(BadToken):
        verify(keys, signed(keys, payload(**changes)), now_s=NOW)


def test_the_algorithm_is_the_keys_and_never_the_tokens(keys: KeyRing) -> None:
    """`none`, HS256 with the public key as secret, RS512, and another key under our kid."""
    kid = keys.signs_people.kid
    public = keys.signs_people.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def raw(header: dict[str, Any], signature: str = "") -> str:
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload())
        ]
        return ".".join([*parts, signature])

    unsigned = raw({"alg": "HS256", "kid": kid})[:-1]
    forged = b64(hmac.new(public, unsigned.encode(), hashlib.sha256).digest())
    other = generate_private_key(65537, 2048)
    for token in (
        raw({"alg": "none", "kid": kid}),
        raw({"alg": "RS256", "kid": kid}),
        f"{unsigned}.{forged}",
        jwt.encode(payload(), keys.signs_people.private, algorithm="RS512", headers={"kid": kid}),
        jwt.encode(payload(), other, algorithm="RS256", headers={"kid": kid}),
    ):
        with pytest.raises(BadToken):
            verify(keys, token, now_s=NOW)


@pytest.mark.parametrize("kid", [None, "", "../../etc/passwd", "ffffffff", "00000000\n", 7, ["a"]], ids=str)
def test_an_unknown_kid_is_refused(keys: KeyRing, kid: object) -> None:
    """A kid is a name in our own list, never a path."""
    key = keys.signs_people
    header = {"alg": "RS256", "typ": "JWT", "kid": kid}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload())]
    token = b".".join([*parts, signed(keys, payload()).split(".")[2].encode()]).decode()
    assert key.kid != kid
    with pytest.raises(BadToken):
        verify(keys, token, now_s=NOW)


def test_a_service_token_opens_nothing_for_people(keys: KeyRing) -> None:
    """The service's key signs its two roles, people's key theirs, and neither the other's."""
    with pytest.raises(BadToken):
        verify(keys, mint_service(keys, Role.ROOMS, "rooms", now_s=NOW), now_s=NOW)
    key = keys.signs_service
    token = jwt.encode(payload(), key.private, algorithm="RS256", headers={"kid": key.kid})
    with pytest.raises(BadToken):
        verify(keys, token, now_s=NOW)
    with pytest.raises(ValueError, match="not a role of the service"):
        mint_service(keys, Role.TEACHER, "t-smith", now_s=NOW)


def test_claims_cannot_be_made_by_hand() -> None:
    """Only the verifier makes them."""
    with pytest.raises(TypeError):
        Claims(LINCOLN, Role.STUDENT, PUPIL, MUSIC, NOW, NOW + 1, "x", object())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: base64.urlsafe_b64encode(b).decode() + ".e30.x"))
def test_noise_is_refused_and_nothing_else(keys: KeyRing, noise: str) -> None:
    """Whatever text arrives as a token, the answer is BadToken."""
    with pytest.raises(BadToken):
        verify(keys, noise, now_s=NOW)


def test_huge_and_deep_tokens_are_refused(keys: KeyRing) -> None:
    """60 KB, and a header nested a thousand deep."""
    deep = base64.urlsafe_b64encode(b"[" * 1400).rstrip(b"=").decode()
    for token in ("a" * 60_000, f"{deep}.{deep[:40]}.x", "." * 2000):
        with pytest.raises(BadToken):
            verify(keys, token, now_s=NOW)
