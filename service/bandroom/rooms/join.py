"""Joining: a code or a link becomes a pupil's token.

Unknown, locked and closed rooms, wrong keys and unknown tenants are answered alike. A browser that was in keeps its
subject, name and mute; one that was kicked comes in as somebody new, and a mute comes along.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from bandroom.auth.tokens import Claims, Minted, mint
from bandroom.rooms import admin, nicknames
from bandroom.rooms.control import Change, Control, Refused
from bandroom.store import MemberRow, RoomRow, RoomState, StoreError, TenantStore
from bandroom.wire import gate_log as g
from bandroom.wire.ids import BadId, JoinCode, TenantId

NO_SUCH_ROOM = "no open room has this code: check it, or ask your teacher (the room may be locked or closed by now)"
COOKIE_BYTES = 16
_COOKIE = re.compile(r"[A-Za-z0-9_-]{22}")  # it is sent back in a header: nothing else may pass


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What was typed or came with a link, unchecked. ``cookie`` is the browser's secret from an earlier join."""

    tenant: str
    code: str
    key: str | None = None
    nickname: str | None = None
    cookie: str | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """A pupil's place, on record. ``cookie`` is for the browser to keep."""

    member: MemberRow
    room: RoomRow
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """A pupil who is in: the token, the member, and the secret for the browser to keep."""

    minted: Minted
    member: MemberRow
    room: RoomRow
    cookie: str = field(repr=False)


class NoSuchRoom(Refused):
    """The one answer for all that does not open."""

    def __init__(self) -> None:
        super().__init__("not_found", NO_SUCH_ROOM)


def has_right_key(control: Control, request: JoinRequest) -> bool:
    """Whether a request carries a room's key besides its code: a link, never throttled."""
    found = _room_of(control, request)
    return found is not None and request.key is not None and _same(found.join_key, request.key)


def join(control: Control, request: JoinRequest) -> Joined:
    """Let one pupil in. Raises ``NoSuchRoom``, ``Refused`` for a name that cannot be shown, and ``StoreError``."""
    (seat,) = seat_all(control, [request])
    if isinstance(seat, Exception):
        raise seat
    return sign(control, seat)


def seat_all(control: Control, requests: Iterable[JoinRequest]) -> list[Seat | Refused | StoreError]:
    """Let pupils in with one commit for all of them: for each, in order, the seat, or why there is none.

    All seats are durable when this returns. Raises ``StoreError`` when the commit fails; then none is.
    """
    with control.change() as change:
        found = [_try_seat(control, change, request, again=False) for request in requests]
    return [_seat_again(control, it) if isinstance(it, JoinRequest) else it for it in found]


def sign(control: Control, seat: Seat) -> Joined:
    """The token for a seat. Touches nothing of the control plane that changes, so any thread may do it."""
    room, now_s, ttl_s = seat.room, control.wall_s(), control.limits.token_ttl_s
    minted = mint(control.keys, room.tenant, seat.member.sub, room.room, now_s=now_s, ttl_s=ttl_s)
    return Joined(minted, seat.member, room, seat.cookie)


def _seat_again(control: Control, request: JoinRequest) -> Seat | Refused | StoreError:
    """Seat one who was kicked, in a change of its own: the gate may have to hear of it, and that may fail."""
    try:
        with control.change() as change:
            found = _try_seat(control, change, request, again=True)
    except StoreError as error:
        return error
    assert not isinstance(found, JoinRequest)  # noqa: S101  (only where `again` is false)
    return found


def _try_seat(control: Control, change: Change, request: JoinRequest, *, again: bool) -> Seat | Refused | JoinRequest:
    """A seat, or why there is none; the request itself where it is of one who was kicked and ``again`` is false."""
    room = _room_of(control, request)
    if room is None or (request.key is not None and not _same(room.join_key, request.key)):
        return NoSuchRoom()
    rows = control.store.for_tenant(room.tenant)
    cookie = request.cookie if _is_cookie(request.cookie) else None
    cookie = cookie or secrets.token_urlsafe(COOKIE_BYTES)
    known = rows.members_by_cookie(room.room, _hash(room, cookie))
    back = next((member for member in known if member.kicked_at is None), None)
    # Whoever is in already may come back into a locked room; nobody new may.
    if room.state is RoomState.CLOSED or (room.state is RoomState.LOCKED and back is None):
        return NoSuchRoom()
    try:
        name = None if request.nickname is None or not request.nickname.strip() else nicknames.typed(request.nickname)
    except nicknames.BadName as error:
        return Refused("bad_request", str(error))
    if back is not None:
        return Seat(back, room, cookie)
    if known and not again:
        return request
    member = admin.add_member(control, rows, room.room, admin.new_subject(rows), name, _hash(room, cookie))
    _inherit_mute(change, rows, room, known, member)
    if change.gate:
        room = control.put_info(change, room)
    return Seat(member, room, cookie)


def renew(control: Control, claims: Claims) -> Minted:
    """A fresh token for whoever has a good one: same subject, same room. Raises ``Refused``."""
    check_live(control, claims)
    ttl_s = control.limits.token_ttl_s
    return mint(control.keys, claims.tenant, claims.sub, claims.room, now_s=control.wall_s(), ttl_s=ttl_s)


def check_live(control: Control, claims: Claims) -> None:
    """Raise ``Refused`` for a token that was revoked, or whose room is closed or gone."""
    rows = control.store.for_tenant(claims.tenant)
    by_sub = rows.revocation("sub", claims.sub)
    if (by_sub is not None and claims.issued_at <= by_sub.iat_max) or rows.revocation("jti", claims.jti) is not None:
        raise Refused("forbidden", "this token was taken back: join again with the present code")
    if claims.room is not None:
        room = rows.room(claims.room)
        if room is None or room.state is RoomState.CLOSED:
            raise Refused("closed", "the room is closed")


def _room_of(control: Control, request: JoinRequest) -> RoomRow | None:
    try:
        tenant, code = TenantId.parse(request.tenant.strip().lower()), JoinCode.typed(request.code)
    except BadId:
        return None
    return control.store.for_tenant(tenant).room_by_code(code)


def _inherit_mute(change: Change, rows: TenantStore, room: RoomRow, known: list[MemberRow], member: MemberRow) -> None:
    muted = set(rows.mutes(room.room))
    if any(old.sub in muted for old in known):
        rows.mute(room.room, member.sub)
        change.gate.append(g.Mute(room.tenant, room.room, member.sub))


def _is_cookie(text: str | None) -> bool:
    return text is not None and _COOKIE.fullmatch(text) is not None


def _hash(room: RoomRow, cookie: str) -> str:
    # With the room in it, rows of one browser in two rooms cannot be told to be the same browser's.
    return hashlib.sha256(f"{room.tenant}/{room.room}/{cookie}".encode()).hexdigest()


def _same(right: str, offered: str) -> bool:
    return hmac.compare_digest(right.encode(), offered.encode("utf-8", "surrogatepass"))
