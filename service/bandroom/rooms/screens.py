"""A room's screens: what hangs on the wall or runs on the projector, with a token that can only look."""

from __future__ import annotations

from bandroom.auth.tokens import Claims, Minted, mint
from bandroom.rooms.admin import add_member
from bandroom.rooms.control import Control, Refused
from bandroom.store import RoomRow
from bandroom.wire.ids import Role, RoomId, Subject, TenantId

NAME = "Screen"


def open_screen(control: Control, tenant: TenantId, room: RoomId) -> Minted:
    """A viewer's token for a room. All screens of a room are one subject. Raises ``Refused``."""
    found = control.room(tenant, room)
    if not found.is_open:
        raise Refused("closed", f"{found.room} is closed: reopen it first")
    rows = control.tenant(tenant)
    sub = Subject.parse(f"v-{found.room.lower()}")
    wall_s = control.wall_s()
    revoked = rows.revocation("sub", sub)
    if revoked is not None and revoked.iat_max >= wall_s:
        raise Refused("conflict", "this room's screens were put out a moment ago: try again in a second")
    with control.change() as change:
        member = rows.member(sub)
        if member is None or member.room != found.room or member.kicked_at is not None:
            add_member(control, rows, found.room, sub, NAME, None)
            change.moved.append((tenant, sub))
    return mint(control.keys, tenant, sub, found.room, now_s=wall_s, ttl_s=control.limits.token_ttl_s)


def shown_room(control: Control, claims: Claims) -> RoomRow:
    """The room that a screen shows. Raises ``Refused`` for whoever is no screen."""
    if claims.role is not Role.VIEWER or claims.room is None:
        raise Refused("forbidden", f"a {claims.role} is no screen: a teacher opens one from the room's page")
    return control.room(claims.tenant, claims.room)
