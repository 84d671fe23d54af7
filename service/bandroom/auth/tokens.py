"""Tokens for people and for the service's own parts: minting and verifying.

RS256 alone, whatever a token's header says; the header's ``kid`` picks the key, and each key says which roles it may
sign. ``Claims`` exist only as what ``verify`` returns.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import jwt

from bandroom.auth.keys import PEOPLE_ROLES, KeyRing, SigningKey
from bandroom.wire.ids import SERVICE_NAME, BadId, ClientId, Role, RoomId, Subject, TenantId, UserName

ISSUER = AUDIENCE = "bandroom"
ALGORITHM = "RS256"
MAX_TTL_S = 12 * 3600
MAX_TOKEN_BYTES = 2048
SERVICE_TTL_S = 60
_KID = re.compile(r"[0-9a-f]{8}")
_JTI = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WITH_ROOM = frozenset({Role.STUDENT, Role.VIEWER})
_SEAL = object()


class BadToken(Exception):
    """A token that opens nothing. ``expired`` tells the one kind that a client can mend by renewing."""

    def __init__(self, text: str, *, expired: bool = False) -> None:
        super().__init__(text)
        self.expired = expired


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says of a person. Times in Unix seconds. Made by ``verify`` and nothing else."""

    tenant: TenantId
    role: Role
    sub: Subject
    room: RoomId | None
    issued_at: int
    expires_at: int
    jti: str
    seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise TypeError("claims come from a verified token: use tokens.verify")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token with what a client needs to use it. ``expires_at`` in Unix seconds."""

    token: str = field(repr=False)
    username: UserName
    client_id: ClientId
    expires_at: int


def mint(
    keys: KeyRing,
    tenant: TenantId,
    sub: Subject,
    room: RoomId | None,
    *,
    now_s: int,
    ttl_s: int = MAX_TTL_S,
) -> Minted:
    """A token for a person of ``tenant``; the subject's first letter is the role.

    ``room`` is needed for pupils and viewers and refused for teachers; ``ttl_s`` from 1 to ``MAX_TTL_S``.
    Raises ``ValueError`` for anything else.
    """
    role = sub.role
    if role not in PEOPLE_ROLES:
        raise ValueError(f"{sub} is a device: devices have passwords (`bandroom devices enroll`), not tokens")
    if (room is not None) != (role in _WITH_ROOM):
        raise ValueError(f"a token of a {role} {'needs a' if role in _WITH_ROOM else 'takes no'} room")
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"a token lives 1 to {MAX_TTL_S} seconds, not {ttl_s}")
    expires_at = now_s + ttl_s
    payload = _payload(tenant, sub, role, now_s, expires_at)
    if room is not None:
        payload["room"] = room
    token = _sign(keys.signs_people, payload)
    return Minted(token, UserName.of(tenant, sub), ClientId.of(tenant, sub), expires_at)


def mint_service(keys: KeyRing, role: Role, sub: str, *, now_s: int) -> str:
    """A token of one minute for a part of the service, ``rooms`` or ``tempo-<n>``; good on the Unix socket only."""
    if role in PEOPLE_ROLES or role is Role.DEVICE:
        raise ValueError(f"{role} is not a role of the service")
    return _sign(keys.signs_service, _payload(SERVICE_NAME, sub, role, now_s, now_s + SERVICE_TTL_S))


def verify(keys: KeyRing, token: str, *, now_s: int) -> Claims:
    """What a person's token says, or ``BadToken``. Service tokens open nothing here.

    Revocations are not known here: the caller asks the store.
    """
    key = _key_of(keys, token)
    try:
        # Time is the caller's, so expiry is checked below and not by the library's own clock.
        claims: dict[str, Any] = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={
                "require": ["iss", "aud", "sub", "iat", "exp", "jti"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidTokenError as error:
        raise BadToken(f"the token is not valid: {error}") from error
    return _claims(key, claims, now_s)


def _key_of(keys: KeyRing, token: str) -> SigningKey:
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise BadToken("the token is not valid: too long, or not plain text")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise BadToken("the token is not valid: it cannot be read") from error
    kid = header.get("kid")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None or header.get("alg") != ALGORITHM:
        raise BadToken("the token is not valid: signed by no key of this installation")
    key = keys.by_kid(kid)
    if key is None:
        raise BadToken("the token is not valid: signed by no key of this installation")
    return key


def _claims(key: SigningKey, claims: dict[str, Any], now_s: int) -> Claims:
    issued_at, expires_at, jti = claims["iat"], claims["exp"], claims["jti"]
    # bool is an int to Python, and True no time.
    if type(issued_at) is not int or type(expires_at) is not int:
        raise BadToken("the token is not valid: its times are not whole seconds")
    if not 0 < expires_at - issued_at <= MAX_TTL_S:
        raise BadToken(f"the token is not valid: it lives longer than {MAX_TTL_S} s")
    not_before = claims.get("nbf", issued_at)
    if issued_at > now_s + 1 or type(not_before) is not int or not_before > now_s + 1:
        raise BadToken("the token is not valid yet")
    if expires_at <= now_s:
        raise BadToken("the token has expired: join or sign in again", expired=True)
    if not isinstance(jti, str) or _JTI.fullmatch(jti) is None:
        raise BadToken("the token is not valid: its jti")
    try:
        tenant, sub = TenantId.parse(claims.get("tenant")), Subject.parse(claims["sub"])
        room = None if claims.get("room") is None else RoomId.parse(claims["room"])
    except BadId as error:
        raise BadToken(f"the token is not valid: {error}") from error
    role = sub.role
    if claims.get("role") != role or role not in key.roles or (room is not None) != (role in _WITH_ROOM):
        raise BadToken("the token is not valid: role, subject and room do not fit each other or the key")
    return Claims(tenant, role, sub, room, issued_at, expires_at, jti, _SEAL)


def _payload(tenant: str, sub: str, role: Role, now_s: int, expires_at: int) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(sub),
        "tenant": str(tenant),
        "role": str(role),
        "iat": now_s,
        "exp": expires_at,
        "jti": secrets.token_urlsafe(12),
    }


def _sign(key: SigningKey, payload: dict[str, Any]) -> str:
    return jwt.encode(payload, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})
