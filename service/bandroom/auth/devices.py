"""Device passwords: derived, so that there is nothing to look up and nothing to leak.

K(tenant) = HKDF-SHA256(master key, no salt, "bandroom-tenant-1" NUL tenant); the password is the first 130 bits of
HMAC-SHA256(K, "bandroom-device-1" NUL user name) as 26 characters of lower-case base32.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bandroom.auth.keys import MASTERS_VALID, KeyRing
from bandroom.wire.ids import TenantId, UserName

PASSWORD_LENGTH = 26


def tenant_key(master: bytes, tenant: TenantId) -> bytes:
    """The 32 bytes that all device passwords of a tenant derive from."""
    info = b"bandroom-tenant-1\0" + tenant.encode()
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(master)


def password_from(master: bytes, username: UserName) -> str:
    """The password of a device's user name (with its generation) under one master key."""
    if username.generation is None:
        raise ValueError(f"{username} is no device's user name: its generation is missing")
    mac = hmac.new(tenant_key(master, username.tenant), b"bandroom-device-1\0" + username.encode(), hashlib.sha256)
    return base64.b32encode(mac.digest()).decode().lower()[:PASSWORD_LENGTH]


def password(keys: KeyRing, username: UserName) -> str:
    """The password that a device is given now."""
    return password_from(keys.master, username)


def is_right(keys: KeyRing, username: UserName, offered: str) -> bool:
    """Whether a password opens, under any master key that is still valid; in constant time."""
    given = offered.encode("utf-8", "surrogatepass")
    right = False
    for _, master in keys.masters[-MASTERS_VALID:]:  # all of them each time: the time tells nothing
        right |= hmac.compare_digest(password_from(master, username).encode(), given)
    return right
