"""The keys of one installation: files in the data folder, closed to everybody else.

``people-<kid>.pem`` signs tokens for people, ``service-<kid>.pem`` those of the service roles, ``master-<n>.key`` is
what device passwords derive from. A kid is 8 hex digits, the second it was made: the highest signs, all verify. What
the gate may know (public keys, the two newest master keys) is written to ``gate/keys``.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key

from bandroom.paths import Home, write_private
from bandroom.wire.ids import SERVICE_ROLES, Role

RSA_BITS = 2048
PEOPLE_ROLES = frozenset({Role.TEACHER, Role.STUDENT, Role.VIEWER})
RETIRE_AFTER_S = 13 * 3600  # a token lives 12 hours at most
MASTERS_VALID = 2  # the newest mints, the one before still opens: a rotation throws nobody out

_PEM = re.compile(r"(people|service)-([0-9a-f]{8})\.pem")
_MASTER = re.compile(r"master-([1-9][0-9]{0,5})\.key")


class BadKeys(RuntimeError):
    """A key file is missing, unreadable or damaged: says which."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its name, and the roles that it may sign for."""

    kid: str
    private: RSAPrivateKey = field(repr=False)
    roles: frozenset[Role]

    @property
    def public(self) -> RSAPublicKey:
        """What verifies its signatures."""
        return self.private.public_key()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys. ``people`` and ``service`` by kid, oldest first; ``masters`` by number, oldest first."""

    people: tuple[SigningKey, ...]
    service: tuple[SigningKey, ...]
    masters: tuple[tuple[int, bytes], ...] = field(repr=False)

    @property
    def signs_people(self) -> SigningKey:
        """The newest key for people's tokens."""
        return self.people[-1]

    @property
    def signs_service(self) -> SigningKey:
        """The newest key for the service's tokens."""
        return self.service[-1]

    @property
    def master(self) -> bytes:
        """The master key that new device passwords derive from."""
        return self.masters[-1][1]

    def by_kid(self, kid: str) -> SigningKey | None:
        """The key of that name, or None."""
        return next((key for key in (*self.people, *self.service) if key.kid == kid), None)

    def gate_text(self) -> str:
        """What the gate may know, as the text of ``gate/keys``."""
        lines = ["bandroom-keys 1"]
        for key in (*self.people, *self.service):
            spki = key.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            roles = ",".join(sorted(key.roles))
            lines.append(f"rsa {key.kid} {roles} {base64.b64encode(spki).decode()}")
        lines += [f"master {n} {key.hex()}" for n, key in self.masters[-MASTERS_VALID:]]
        return "\n".join(lines) + "\n"


def load_keys(home: Home) -> KeyRing:
    """The keys in the data folder. Raises ``BadKeys`` where one is missing or damaged."""
    found: dict[str, list[SigningKey]] = {"people": [], "service": []}
    masters: list[tuple[int, bytes]] = []
    try:
        files = sorted(home.keys.iterdir())
    except OSError as error:
        raise BadKeys(f"{home.keys}: {error.strerror}; `bandroom up` makes the keys") from error
    for path in files:
        if match := _PEM.fullmatch(path.name):
            roles = PEOPLE_ROLES if match[1] == "people" else SERVICE_ROLES
            found[match[1]].append(SigningKey(match[2], _load_pem(path), roles))
        elif match := _MASTER.fullmatch(path.name):
            masters.append((int(match[1]), _load_master(path)))
    masters.sort()
    if not found["people"] or not found["service"] or not masters:
        raise BadKeys(f"keys are missing in {home.keys}; `bandroom up` makes them")
    return KeyRing(tuple(found["people"]), tuple(found["service"]), tuple(masters))


def ensure_keys(home: Home) -> KeyRing:
    """Make what is missing (keys, the owner's token, ``gate/keys``) and return the keys.

    Existing files are kept as they are; a damaged one raises ``BadKeys``. The caller holds the folder's lock.
    """
    have = [path.name for path in home.keys.iterdir()]
    taken = {match[2] for name in have if (match := _PEM.fullmatch(name))}
    for kind in ("people", "service"):
        if not any((match := _PEM.fullmatch(name)) and match[1] == kind for name in have):
            taken.add(_make_pem(home, kind, taken))
    if not any(_MASTER.fullmatch(name) for name in have):
        write_private(home.keys / "master-1.key", secrets.token_hex(32) + "\n")
    if not home.owner_token.exists():
        write_private(home.owner_token, secrets.token_urlsafe(32) + "\n")
    ring = load_keys(home)
    write_gate_keys(home, ring)
    return ring


def add_keys(home: Home, *, masters: bool) -> KeyRing:
    """Make new signing keys (or, with ``masters``, a new master key for devices) beside those there are.

    Returns all keys, the new ones last, with ``gate/keys`` written. A signing key whose last tokens have expired (its
    successor is older than a token's longest life) is deleted. Raises ``BadKeys``.
    """
    ring = load_keys(home)
    if masters:
        number = ring.masters[-1][0] + 1
        write_private(home.keys / f"master-{number}.key", secrets.token_hex(32) + "\n")
    else:
        taken = {key.kid for key in (*ring.people, *ring.service)}
        for kind, keys in (("people", ring.people), ("service", ring.service)):
            for old, successor in pairwise(keys):
                if int(successor.kid, 16) + RETIRE_AFTER_S < time.time():
                    (home.keys / f"{kind}-{old.kid}.pem").unlink(missing_ok=True)
            taken.add(_make_pem(home, kind, taken))
    ring = load_keys(home)
    write_gate_keys(home, ring)
    return ring


def write_gate_keys(home: Home, ring: KeyRing) -> None:
    """Write ``gate/keys`` if it says anything else; the gate re-reads it on SIGHUP."""
    text = ring.gate_text()
    if not home.gate_keys.exists() or home.gate_keys.read_text() != text:
        write_private(home.gate_keys, text)


def _make_pem(home: Home, kind: str, taken: set[str]) -> str:
    kid_s = int(time.time())
    while f"{kid_s:08x}" in taken:
        kid_s += 1
    kid = f"{kid_s:08x}"
    pem = generate_private_key(65537, RSA_BITS).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(home.keys / f"{kind}-{kid}.pem", pem)
    return kid


def _load_pem(path: Path) -> RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadKeys(f"{path} cannot be read as a private key: {error}") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < RSA_BITS:
        raise BadKeys(f"{path} is not an RSA key of at least {RSA_BITS} bits")
    return key


def _load_master(path: Path) -> bytes:
    text = path.read_text("ascii", "replace").strip()
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise BadKeys(f"{path} does not hold 64 hex digits")
    return bytes.fromhex(text)
