"""Teachers: a link that signs in until it is taken back."""

import pytest
from bandroom.auth.tokens import verify
from bandroom.rooms import teachers
from bandroom.rooms.control import Refused
from bandroom.rooms.join import check_live
from bandroom.wire.ids import Role, Subject

from .conftest import LINCOLN, TWIN, Plane

SMITH = Subject("t-smith")


def test_a_link_signs_its_teacher_in(plane: Plane) -> None:
    """The key opens for its own tenant, as often as wanted; what is stored is a hash."""
    row, key = teachers.add(plane.control, LINCOLN, SMITH, "Ms Smith")
    minted, found = teachers.sign_in(plane.control, "lincoln", key)
    claims = verify(plane.keys, minted.token, now_s=plane.now_s)
    assert (claims.tenant, claims.role, claims.sub, found) == (LINCOLN, Role.TEACHER, SMITH, row)
    assert key not in str(plane.store.for_tenant(LINCOLN).teachers())
    for tenant, wrong in [
        ("lincoln-2", key),
        ("lincoln", key[:-1]),
        ("lincoln", ""),
        ("#", key),
        ("lincoln", "\ud800"),
    ]:
        with pytest.raises(Refused, match="not valid"):
            teachers.sign_in(plane.control, tenant, wrong)


def test_another_link_replaces_the_one_before(plane: Plane) -> None:
    """Only the newest works."""
    _, first = teachers.add(plane.control, LINCOLN, SMITH, None)
    _, second = teachers.add(plane.control, LINCOLN, SMITH, None)
    teachers.sign_in(plane.control, "lincoln", second)
    with pytest.raises(Refused, match="not valid"):
        teachers.sign_in(plane.control, "lincoln", first)


def test_revoking_ends_link_and_tokens_and_tells_the_gate(plane: Plane) -> None:
    """At once and for good; adding the teacher again begins anew, a second later."""
    _, key = teachers.add(plane.control, LINCOLN, SMITH, None)
    minted, _ = teachers.sign_in(plane.control, "lincoln", key)
    claims = verify(plane.keys, minted.token, now_s=plane.now_s)
    teachers.revoke(plane.control, LINCOLN, SMITH)
    assert (LINCOLN, SMITH) in plane.gate_state().revoked
    with pytest.raises(Refused, match="taken back"):
        check_live(plane.control, claims)
    with pytest.raises(Refused, match="not valid"):
        teachers.sign_in(plane.control, "lincoln", key)
    _, again = teachers.add(plane.control, LINCOLN, SMITH, None)
    with pytest.raises(Refused, match="in a second"):
        teachers.sign_in(plane.control, "lincoln", again)
    plane.advance(1)
    minted, _ = teachers.sign_in(plane.control, "lincoln", again)
    check_live(plane.control, verify(plane.keys, minted.token, now_s=plane.now_s))


def test_only_teachers_are_added_and_a_tenant_has_its_own(plane: Plane) -> None:
    """No pupil becomes a teacher by a link, and t-smith of two schools are two people."""
    with pytest.raises(Refused, match="no teacher"):
        teachers.add(plane.control, LINCOLN, Subject("s-pupil"), None)
    teachers.add(plane.control, LINCOLN, SMITH, None)
    _, key = teachers.add(plane.control, TWIN, SMITH, None)
    teachers.revoke(plane.control, LINCOLN, SMITH)
    teachers.sign_in(plane.control, "lincoln-2", key)
