"""Keys: made once, closed to others, and told to the gate."""

import base64

import pytest
from bandroom.auth.keys import BadKeys, ensure_keys, load_keys
from bandroom.auth.owner import is_owner, owner_token
from bandroom.auth.service_credential import service_credential
from bandroom.paths import Home, write_private
from bandroom.wire.ids import Role
from cryptography.hazmat.primitives.serialization import load_der_public_key


def test_a_second_start_keeps_every_key(keyed_home: Home) -> None:
    """Nobody is thrown out by a restart."""
    before = {path: path.read_bytes() for path in keyed_home.root.rglob("*") if path.is_file()}
    ensure_keys(keyed_home)
    assert {path: path.read_bytes() for path in keyed_home.root.rglob("*") if path.is_file()} == before


def test_all_files_are_closed_to_other_users(keyed_home: Home) -> None:
    """Keys and tokens are 0600 in a 0700 folder."""
    files = [path for path in keyed_home.root.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert keyed_home.root.stat().st_mode & 0o777 == 0o700


def test_the_gate_is_told_public_keys_and_roles_and_no_private_key(keyed_home: Home) -> None:
    """gate/keys has the form that the gate reads, one line a key."""
    ring = load_keys(keyed_home)
    lines = keyed_home.gate_keys.read_text().split("\n")
    assert lines[0] == "bandroom-keys 1"
    assert lines[-1] == ""
    _, kid, roles, spki = lines[1].split(" ")
    assert (kid, roles) == (ring.signs_people.kid, "student,teacher,viewer")
    assert load_der_public_key(base64.b64decode(spki)) == ring.signs_people.public
    assert lines[2].split(" ")[1:3] == [ring.signs_service.kid, "rooms,tempo"]
    assert lines[3] == f"master 1 {ring.master.hex()}"
    assert "PRIVATE" not in keyed_home.gate_keys.read_text()


def test_two_master_keys_are_valid_and_the_newest_mints(empty_home: Home) -> None:
    """A rotation leaves what the key before opened open."""
    ensure_keys(empty_home)
    for n in (2, 10):
        write_private(empty_home.keys / f"master-{n}.key", f"{n:064x}\n")
    ring = ensure_keys(empty_home)
    assert ring.master == (10).to_bytes(32, "big")
    masters = [line for line in empty_home.gate_keys.read_text().split("\n") if line.startswith("master")]
    assert masters == [f"master 2 {2:064x}", f"master 10 {10:064x}"]


@pytest.mark.parametrize("name", ["people", "service", "master"])
def test_a_damaged_key_is_named(empty_home: Home, name: str) -> None:
    """A key file that cannot be read is an error with its path, never replaced silently."""
    ensure_keys(empty_home)
    (path,) = empty_home.keys.glob(f"{name}-*")
    path.write_text("garbage")
    with pytest.raises(BadKeys, match=path.name):
        ensure_keys(empty_home)


def test_missing_keys_say_what_makes_them(empty_home: Home) -> None:
    """Reading without `up` before is an error with a remedy."""
    with pytest.raises(BadKeys, match="bandroom up"):
        load_keys(empty_home)


def test_the_owner_is_known_by_the_token_and_nothing_else(keyed_home: Home) -> None:
    """Compared whole, odd text included; an empty token is nobody's."""
    token = owner_token(keyed_home)
    assert len(token) == 43
    assert is_owner(token, token)
    for bad in ("", token[:-1], token + "\n", "\ud800", token.swapcase()):
        assert not is_owner(token, bad)
    assert not is_owner("", "")


def test_service_parts_get_a_fresh_token_at_each_connect(keyed_home: Home) -> None:
    """The names are those that the gate knows, and no two passwords are alike."""
    tempo = service_credential(keyed_home, Role.TEMPO, 0)
    assert (tempo.username, tempo.client_id) == ("bandroom/tempo-0", "bandroom_tempo-0")
    rooms = service_credential(keyed_home, Role.ROOMS)
    assert (rooms.username, rooms.client_id) == ("bandroom/rooms", "bandroom_rooms")
    assert rooms.password() != rooms.password()
    for role, n in ((Role.TEMPO, None), (Role.ROOMS, 1), (Role.TEACHER, None)):
        with pytest.raises(ValueError, match="no part of the service"):
            service_credential(keyed_home, role, n)


def test_a_rotation_adds_and_retires_only_what_nothing_needs(empty_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new key signs, the one before verifies, and one is deleted when all it signed has expired."""
    import time

    from bandroom.auth import keys

    first = ensure_keys(empty_home)
    second = keys.add_keys(empty_home, masters=False)
    assert [key.kid for key in second.people[:-1]] == [first.signs_people.kid]
    assert second.signs_people.kid > first.signs_people.kid
    third = keys.add_keys(empty_home, masters=True)
    assert third.masters[:-1] == first.masters
    later = time.time() + keys.RETIRE_AFTER_S + 60
    monkeypatch.setattr(keys.time, "time", lambda: later)
    fourth = keys.add_keys(empty_home, masters=False)
    assert first.signs_people.kid not in [key.kid for key in fourth.people]
    assert second.signs_people.kid in [key.kid for key in fourth.people]
    assert second.signs_people.kid in empty_home.gate_keys.read_text()
