"""Who may do what, as one pure function: `judge(state, client, request)`. Default deny.

The gate in C answers the same questions in the broker; tests/contract/policy.json holds both to the same answers.
Every verdict names the rule of docs/protocol.md that decided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bandroom.wire.filters import parse_filter
from bandroom.wire.ids import SERVICE_NAME, SERVICE_ROLES, BadId, Role, RoomId, Subject, TenantId
from bandroom.wire.roles import MAY_PUBLISH, MAY_READ, MUTED_LEAVES, ROOM_IN_TOKEN, Whose
from bandroom.wire.topics import SHAPES, Filter, parse_topic

if TYPE_CHECKING:
    from bandroom.wire.gate_state import GateState


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected, as its credential says: nothing here is the client's own word but `client_id`.

    `tenant` is `bandroom` and `sub` is `rooms` or `tempo-<n>` for the service's own processes. `room` is the token's,
    for students and viewers. `local` is whether the connection came by the broker's Unix socket.
    """

    role: Role
    tenant: str
    sub: str
    room: str | None
    client_id: str
    local: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """The client publishes; a Will is judged as the same, when it is sent."""

    topic: str
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The client subscribes. Any requested QoS is as good as another: messages keep the lower one."""

    topic_filter: str
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The client gives a filter up."""

    topic_filter: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message on this topic is about to be handed to the client: retained, live or queued."""

    topic: str


Request = Publish | Subscribe | Unsubscribe | Deliver


@dataclass(frozen=True, slots=True)
class Token:
    """What of a person's token the gate log may void. Times are Unix seconds."""

    jti: str
    iat_s: int
    exp_s: int


@dataclass(frozen=True, slots=True)
class Generation:
    """What of a device's credential the gate log may void."""

    number: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed or not, and the id of the rule that decided."""

    allow: bool
    rule: str

    def __bool__(self) -> bool:
        return self.allow


DEFAULT_DENY: Final = "ACL-1"
_RULE_OF_ROLE: Final = {
    Role.ROOMS: "ACL-2",
    Role.TEMPO: "ACL-3",
    Role.TEACHER: "ACL-4",
    Role.STUDENT: "ACL-5",
    Role.DEVICE: "ACL-6",
    Role.VIEWER: "ACL-7",
}
_TEMPO_NAME = re.compile(r"tempo-(0|[1-9][0-9]{0,3})")


def _no(rule: str) -> Verdict:
    return Verdict(False, rule)


def identify(client: Client) -> Verdict:
    """Whether the parts of an identity belong together: subject and role, client id and both, room and role."""
    if re.fullmatch(rf"{re.escape(client.tenant)}_{re.escape(client.sub)}(_[0-9])?", client.client_id) is None:
        return _no("ID-6")
    if client.role in SERVICE_ROLES:
        named = client.sub == "rooms" if client.role is Role.ROOMS else _TEMPO_NAME.fullmatch(client.sub) is not None
        if client.tenant != SERVICE_NAME or not named:
            return _no("CRED-4")
        return Verdict(client.local, "CRED-5")
    try:
        TenantId(client.tenant)
        if Subject(client.sub).role is not client.role:
            return _no("ID-4")
        if client.role in ROOM_IN_TOKEN:
            RoomId.parse(client.room)
    except BadId:
        return _no("ID-1")
    return Verdict(True, "ID-1")


def admit(
    state: GateState, client: Client, credential: Token | Generation | None, *, clean: bool, now_s: int
) -> Verdict:
    """Whether this client may connect, its signature or password having been found right. `now_s`: Unix seconds.

    `clean` is MQTT's clean session (clean start) flag. What is refused here also ends connections that exist.
    """
    known = identify(client)
    if not known:
        return known
    if not clean:
        return _no("CRED-9")
    if client.role in SERVICE_ROLES:
        fresh = isinstance(credential, Token) and now_s < credential.exp_s
        return Verdict(fresh, "CRED-5")
    tenant, sub = TenantId(client.tenant), Subject(client.sub)
    if isinstance(credential, Token) and client.role is not Role.DEVICE:
        if credential.exp_s <= now_s:
            return _no("CRED-3")
        voided = state.revoked.get((tenant, sub))
        if (voided is not None and credential.iat_s <= voided[0]) or (tenant, credential.jti) in state.revoked_jti:
            return _no("REV-1")
        return Verdict(True, "CRED-1")
    if isinstance(credential, Generation) and client.role is Role.DEVICE:
        return Verdict(credential.number >= state.floors.get((tenant, sub), 0), "REV-3")
    return _no("CRED-1")


def judge(state: GateState, client: Client, request: Request) -> Verdict:
    """The one question. A client whose identity does not hold together may do nothing."""
    known = identify(client)
    if not known:
        return known
    match request:
        case Publish(topic, qos, retain):
            return _publish(state, client, topic, qos, retain)
        case Subscribe(topic_filter):
            return _subscribe(state, client, topic_filter)
        case Unsubscribe():
            return Verdict(True, "ACL-14")
        case Deliver(topic):
            return _deliver(state, client, topic)


def _publish(state: GateState, client: Client, topic: str, qos: int, retain: bool) -> Verdict:
    try:
        parsed = parse_topic(topic)
    except BadId:
        return _no(DEFAULT_DENY)
    place = _in_place(state, client, Filter.of(parsed), MAY_PUBLISH[client.role].get(parsed.leaf))
    if not place:
        return place
    shape = SHAPES[parsed.leaf]
    if qos != shape.qos or retain != shape.retain:
        return _no("ACL-8")
    if parsed.leaf in MUTED_LEAVES and client.role not in SERVICE_ROLES:
        tenant, room, sub = parsed.tenant, parsed.room, parsed.subject
        all_muted = (tenant, room) in state.all_muted and client.role is not Role.TEACHER
        if all_muted or (tenant, room, sub) in state.muted:
            return _no("ACL-9")
    return place


def _subscribe(state: GateState, client: Client, topic_filter: str) -> Verdict:
    if topic_filter.startswith("$"):
        return _no("ACL-13")
    if client.role is Role.ROOMS:
        return Verdict(topic_filter.startswith("tenant/"), "ACL-2")
    try:
        wanted = parse_filter(topic_filter)
    except BadId:
        return _no("ACL-12")
    return _in_place(state, client, wanted, MAY_READ[client.role].get(wanted.leaf))


def _deliver(state: GateState, client: Client, topic: str) -> Verdict:
    if client.role is Role.ROOMS:
        return Verdict(topic.startswith("tenant/"), "ACL-2")
    try:
        parsed = parse_topic(topic)
    except BadId:
        return _no(DEFAULT_DENY)
    return _in_place(state, client, Filter.of(parsed), MAY_READ[client.role].get(parsed.leaf))


def _in_place(state: GateState, client: Client, wanted: Filter, whose: Whose | None) -> Verdict:
    """Whether everything that `wanted` matches lies where the client is, and is its own where it must be."""
    if whose is None:
        return _no(DEFAULT_DENY)
    if client.role in SERVICE_ROLES:
        return Verdict(True, _RULE_OF_ROLE[client.role])
    if wanted.tenant != client.tenant:
        return _no("ACL-10")
    if SHAPES[wanted.leaf].in_room and not _in_room(state, client, wanted):
        return _no("ACL-11")
    if whose is Whose.OWN and wanted.subject != client.sub:
        return _no("ACL-12" if wanted.subject is None else "ACL-15")
    return Verdict(True, _RULE_OF_ROLE[client.role])


def _in_room(state: GateState, client: Client, wanted: Filter) -> bool:
    """Whether the client is in the wanted room, and the room is open.

    A teacher is in every room of the tenant and may say `+`: the rooms that are not open are held back at delivery.
    """
    tenant, room = wanted.tenant, wanted.room
    assert tenant is not None  # noqa: S101  (it equals the client's)
    if room is None:
        return client.role is Role.TEACHER
    if (tenant, room) not in state.open_rooms:
        return False
    match client.role:
        case Role.TEACHER:
            return True
        case Role.DEVICE:
            return state.assigned.get((tenant, Subject(client.sub))) == room
        case _:
            return client.room == room
