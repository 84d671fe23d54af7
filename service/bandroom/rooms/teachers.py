"""Teachers: added with a sign-in link, revoked with all that they hold.

The link carries a random key (after ``#``, never sent as a query), kept as a hash. It works until the teacher is
revoked or given another; each sign-in makes a token of at most twelve hours.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

from bandroom.auth.tokens import MAX_TTL_S, Minted, mint
from bandroom.rooms.admin import tidy
from bandroom.rooms.control import Control, Refused
from bandroom.store import TeacherRow
from bandroom.wire import gate_log as g
from bandroom.wire.ids import BadId, Role, Subject, TenantId

KEY_BYTES = 24
NO_SUCH_LINK = "this sign-in link is not valid (any more): ask whoever runs this band room for a new one"


def add(control: Control, tenant: TenantId, sub: Subject, name: str | None) -> tuple[TeacherRow, str]:
    """A teacher and the key of their link; adding one again replaces the link. Raises ``Refused``."""
    rows = control.tenant(tenant)
    if sub.role is not Role.TEACHER:
        raise Refused("bad_request", f"{sub} is no teacher: a teacher's subject begins with t-, as t-smith")
    key = secrets.token_urlsafe(KEY_BYTES)
    row = TeacherRow(tenant, sub, tidy(name, sub), _hash(key), control.now_s(), None)
    with control.change():
        rows.put_teacher(row)
    return row, key


def revoke(control: Control, tenant: TenantId, sub: Subject) -> TeacherRow:
    """End a teacher's link, tokens and connections. Raises ``Refused`` for who never was one."""
    rows = control.tenant(tenant)
    found = rows.teacher(sub)
    if found is None and sub.role is not Role.TEACHER:
        raise Refused("not_found", f"tenant {tenant} has no teacher {sub}")
    now_s, wall_s = control.now_s(), control.wall_s()
    # One with a token by the owner's hand alone has no row yet: revoking must work all the same.
    row = replace(found or TeacherRow(tenant, sub, sub, None, now_s, now_s), key_hash=None, revoked_at=now_s)
    with control.change() as change:
        rows.put_teacher(row)
        revoked = rows.revoke("sub", sub, wall_s, wall_s + MAX_TTL_S)
        change.gate.append(g.Revoke(tenant, sub, revoked.iat_max, revoked.until))
        change.gone.append((tenant, sub))
    return row


def sign_in(control: Control, tenant: str, key: str) -> tuple[Minted, TeacherRow]:
    """A link's key becomes a token. Raises ``Refused``: one answer for whatever does not open."""
    try:
        rows = control.store.for_tenant(TenantId.parse(tenant))
    except BadId as error:
        raise Refused("forbidden", NO_SUCH_LINK) from error
    row = rows.teacher_by_key(_hash(key))
    if row is None:
        raise Refused("forbidden", NO_SUCH_LINK)
    wall_s = control.wall_s()
    revoked = rows.revocation("sub", row.sub)
    if revoked is not None and revoked.iat_max >= wall_s:
        raise Refused("conflict", "this teacher was revoked a moment ago: try again in a second")
    return mint(control.keys, row.tenant, row.sub, None, now_s=wall_s, ttl_s=control.limits.token_ttl_s), row


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
