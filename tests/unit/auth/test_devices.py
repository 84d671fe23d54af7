"""Device passwords: derived alike by gate and service."""

import hashlib
import hmac

import pytest
from bandroom.auth.devices import is_right, password, password_from, tenant_key
from bandroom.auth.keys import KeyRing
from bandroom.wire.ids import TenantId, UserName

MASTER = bytes(range(32))
VECTOR = "3iaehjakytkwouh4adj26z4agm"


def test_the_derivation_is_the_contracts_step_by_step() -> None:
    """HKDF-SHA256 and HMAC written out by hand give the same password."""
    prk = hmac.new(bytes(32), MASTER, hashlib.sha256).digest()
    key = hmac.new(prk, b"bandroom-tenant-1\0lincoln" + b"\x01", hashlib.sha256).digest()
    assert tenant_key(MASTER, TenantId("lincoln")) == key
    mac = hmac.new(key, b"bandroom-device-1\0lincoln/d-drum-3/1", hashlib.sha256).digest()
    bits = "".join(f"{byte:08b}" for byte in mac)[:130]
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    expected = "".join(alphabet[int(bits[i : i + 5], 2)] for i in range(0, 130, 5))
    assert password_from(MASTER, UserName("lincoln/d-drum-3/1")) == expected
    assert len(expected) == 26


def test_a_vector_that_other_implementations_share() -> None:
    """Fixed for good: a change would lock every device out."""
    assert password_from(MASTER, UserName("lincoln/d-drum-3/1")) == VECTOR


def test_tenant_subject_and_generation_each_change_it(keys: KeyRing) -> None:
    """No password opens for another tenant, device or generation."""
    names = ["lincoln/d-drum-3/1", "lincoln/d-drum-3/2", "lincoln/d-drum-4/1", "lincoln-2/d-drum-3/1"]
    made = {password(keys, UserName(name)) for name in names}
    assert len(made) == len(names)
    first = UserName(names[0])
    right = password(keys, first)
    assert is_right(keys, first, right)
    for wrong in ("", right[:-1], right + "\0", right.upper(), password(keys, UserName(names[1])), "é\ud800"):
        assert not is_right(keys, first, wrong)


def test_people_have_no_password() -> None:
    """A user name without a generation is no device's."""
    with pytest.raises(ValueError, match="generation"):
        password_from(MASTER, UserName("lincoln/s-1"))
