"""Two schools at random against the broker, with the Python policy as the oracle of everything that happens.

CONNECT, SUBSCRIBE, PUBLISH, Wills, cut connections, takeovers and gate log entries in any order; after every step each
connection has heard exactly what the policy lets it hear, and is alive exactly if the policy admits it. The number of
steps is `BANDROOM_RANDOM_STEPS` (10,000 unless set; `make soak` runs a million).
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from arena import running
from bandroom.wire.gate_log import (
    Assign,
    Close,
    Entry,
    Floor,
    Kick,
    Limit,
    LimitKey,
    Mute,
    MuteAll,
    Open,
    Revoke,
    RevokeJti,
    Unmute,
    UnmuteAll,
    format_body,
)
from bandroom.wire.gate_state import GateState
from bandroom.wire.ids import BadId, Role, RoomId, Subject, TenantId
from bandroom.wire.policy import Client, Deliver, Generation, Publish, Subscribe, Token, admit, judge
from bandroom.wire.topics import SHAPES, parse_topic
from gatekit import Broker, eventually
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from raw_mqtt import PINGREQ, PINGRESP, Refused, Will, connect_packet, packet
from raw_mqtt import Client as Wire

STEPS = int(os.environ.get("BANDROOM_RANDOM_STEPS", "10000"))
STEPS_AN_EXAMPLE = 100
SOAK_STEPS = 1_000_000
# To shrink a failure takes minutes on a real broker: the steps that led to it are printed as they are unless asked.
PHASES = [Phase.generate, *([Phase.shrink] if os.environ.get("BANDROOM_RANDOM_SHRINK") else [])]

TENANTS = [TenantId("lincoln"), TenantId("lincoln-2")]
ROOMS = [RoomId("MUSIC-1234"), RoomId("CHOIR-0001")]
SUBS = [Subject(sub) for sub in ("s-a", "s-ab", "t-a", "d-a", "v-a")]
PING = b"abcdefgh 0f 0000000000000000"


def places(room: str) -> list[str]:
    """All topics (or filters, with `+` for the room), of both tenants, by every subject."""
    found: list[str] = []
    for tenant, (_, shape) in itertools.product(TENANTS, SHAPES.items()):
        base = f"tenant/{tenant}/music_room/{room}/" if shape.in_room else f"tenant/{tenant}/"
        rest = "/".join(shape.levels)
        found += [base + rest.replace("{sub}", sub) for sub in (SUBS if shape.has_subject else SUBS[:1])]
    return found


TOPICS = sorted({topic for room in ROOMS for topic in places(room)})
ODD_TOPICS = [
    "$SYS/x",
    "$CONTROL/dynamic-security/v1",
    "tenant/lincoln",
    "tenant/lincoln/music_room/MUSIC-1234",
    "tenant/lincoln/music_room/MUSIC-1234/note",
    "tenant/lincoln/music_room/MUSIC-1234/note/s-a/",
    "tenant/lincoln/music_room/MUSIC-1234/note/s-a/beat",
    "tenant/lincoln/music_room/MUSIC-1234//beat",
    "/tenant/lincoln/music_room/MUSIC-1234/beat",
    "tenant/lincoln/music_room/music-1234/note/s-a",
    "elsewhere",
]


def with_plus(topic: str, sub: str) -> str:
    """The filter for all members where the topic names one."""
    return "/".join("+" if level == sub else level for level in topic.split("/"))


FILTERS = sorted(
    {*TOPICS, *places("+")}
    | {with_plus(topic, sub) for topic in [*TOPICS, *places("+")] for sub in SUBS}
    | {"#", "+/#", "tenant/#", "tenant/+/music_room/+/beat", "tenant/+/music_room/+/tempo", "$share/g/#", "$SYS/#"}
    | {f"tenant/{tenant}/#" for tenant in TENANTS}
    | {f"tenant/{tenant}/music_room/{room}/#" for tenant in TENANTS for room in ROOMS}
)


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT's own matching, of filters that were granted (no `$` topics come here)."""
    levels, names = topic_filter.split("/"), topic.split("/")
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(names) or level not in ("+", names[at]):
            return False
    return len(levels) == len(names)


@dataclass
class Actor:
    """One subject of one tenant."""

    tenant: TenantId
    sub: Subject
    room: RoomId | None

    @property
    def role(self) -> Role:
        return self.sub.role

    def own_topics(self) -> list[str]:
        """Topics in its tenant that name it."""
        return [
            topic for topic in TOPICS if topic.startswith(f"tenant/{self.tenant}/") and self.sub in topic.split("/")
        ]


ACTORS = [
    Actor(
        tenant,
        sub,
        (ROOMS[0] if sub in ("s-a", "v-a") else ROOMS[1]) if sub.role in (Role.STUDENT, Role.VIEWER) else None,
    )
    for tenant in TENANTS
    for sub in SUBS
]


@dataclass
class Connection:
    """A live connection, and what the oracle knows of it."""

    wire: Wire
    client: Client
    credential: Token | Generation | None
    will: Will | None = None
    filters: set[str] = field(default_factory=set[str])
    expected: set[tuple[str, bytes]] = field(default_factory=set[tuple[str, bytes]])


class Stage:
    """The broker of a run; made once, emptied before each example."""

    broker: ClassVar[Broker]
    rooms: ClassVar[Wire]
    tempo: ClassVar[Wire]
    steps: ClassVar[int] = 0
    deliveries: ClassVar[int] = 0


class TwoSchools(RuleBasedStateMachine):
    """The broker and the oracle, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.state = GateState()
        self.connections: dict[str, Connection] = {}
        self.retained: dict[str, bytes] = {}
        self.numbers = itertools.count()
        self.issued = itertools.count(int(time.time()) - 3600)
        self.last_issued = 0
        self.last_jti: dict[TenantId, str] = {}

    # -- beginning and end of an example

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A new log: all rooms open, devices assigned, limits out of the way. Most are there and listen already."""
        entries: list[Entry] = [Open(tenant, room) for tenant in TENANTS for room in ROOMS]
        entries += [Assign(tenant, Subject("d-a"), ROOMS[0]) for tenant in TENANTS]
        for tenant, key in itertools.product(TENANTS, LimitKey):
            entries.append(Limit(tenant, key, 10**6, 10**6))
        self.state.apply_all(entries)
        self.write_compact()
        for name, wire, filters in (("rooms", Stage.rooms, {"tenant/#"}), ("tempo-0", Stage.tempo, set[str]())):
            role = Role.ROOMS if name == "rooms" else Role.TEMPO
            client = Client(role, "bandroom", name, None, f"bandroom_{name}", True)
            self.connections[name] = Connection(wire, client, None, filters=filters)
        for actor in ACTORS:
            if data.draw(st.integers(0, 3)):
                self.connect(actor, None, True, "own", TOPICS[0], None, 3, 4)
        for connection in self.people():
            for topic_filter in data.draw(st.lists(st.sampled_from(self.granted(connection)), min_size=3, max_size=12)):
                self.ask(connection, topic_filter)
        self.settle()

    def granted(self, connection: Connection) -> list[str]:
        """Filters that the connection would get now; at least one."""
        client = connection.client
        return [one for one in FILTERS if judge(self.state, client, Subscribe(one))] or FILTERS[:1]

    def teardown(self) -> None:
        """Everybody leaves, and nothing is retained."""
        for connection in self.people():
            connection.wire.disconnect()
        for topic in self.retained:
            Stage.rooms.publish(topic, b"", 1, True)
        for name in ("rooms", "tempo-0"):
            if name in self.connections:
                self.connections[name].wire.heard()
        if "rooms" in self.connections:
            # Wills of those who were taken over or cut may still be on their way; nobody is left to hear them.
            eventually(lambda: Stage.broker.home.status()["connections"] == "2", "everybody to leave", 10)
            Stage.rooms.heard()

    # -- helpers

    def people(self) -> list[Connection]:
        """All but the service's own."""
        return [connection for connection in self.connections.values() if not connection.client.local]

    def write_compact(self) -> None:
        """The state as a new file, renamed over the log."""
        Stage.broker.home.write_log([format_body(entry) for entry in self.state.entries()])
        self.gate_reads()

    def gate_reads(self) -> None:
        """Before a SUBSCRIBE is judged the gate reads the log: an entry is in force once this one is answered."""
        assert Stage.rooms.subscribe("never/granted") == [0x80]

    def published(self, topic: str, payload: bytes, retain: bool) -> None:
        """A message passed the gate: who hears it, and whether it stays."""
        if topic.endswith("/q") and "/clock/" in topic:
            topic, payload = topic[:-1] + "r", b"(time)"
        if retain:
            self.retained.pop(topic, None)
            if payload:
                self.retained[topic] = payload
        for connection in self.connections.values():
            if any(matches(one, topic) for one in connection.filters) and judge(
                self.state, connection.client, Deliver(topic)
            ):
                connection.expected.add((topic, payload))

    def ended(self, key: str, *, with_will: bool) -> None:
        """A connection is over: its Will is sent if the policy allows it."""
        connection = self.connections.pop(key)
        will = connection.will
        if will and with_will and judge(self.state, connection.client, Publish(will.topic, will.qos, will.retain)):
            self.published(will.topic, will.payload, will.retain)

    def settle(self) -> None:
        """A step is over: everybody has heard what the oracle says, and nothing else."""
        waiting = next(self.numbers)
        Stage.steps += 1
        Stage.deliveries += sum(len(connection.expected) for connection in self.people())
        for connection in self.connections.values():  # all asked before any is waited for: one round trip in all
            connection.wire.send(packet(PINGREQ, b""))
        for key, connection in self.connections.items():
            heard: set[tuple[str, bytes]] = set()
            try:
                if not self.hears(connection, heard):  # a Will comes a moment after its connection's end
                    eventually(lambda c=connection, h=heard: self.asks_and_hears(c, h), f"step {waiting}: {key}", 3)
            except OSError:
                raise AssertionError(f"{key} lost its connection") from None
            except AssertionError:
                raise AssertionError(f"{key} heard {heard}, expected {connection.expected}") from None
            assert heard == connection.expected, f"{key} heard {heard - connection.expected} beyond what it may"
            connection.expected = set()

    @staticmethod
    def hears(connection: Connection, heard: set[tuple[str, bytes]]) -> bool:
        """Add what came up to the answer of a PINGREQ to `heard`; whether that is all that is expected."""
        connection.wire.until(PINGRESP)
        for message in connection.wire.messages:
            is_time = message.topic.endswith("/r") and message.payload.startswith(PING[:12])
            heard.add((message.topic, b"(time)" if is_time else message.payload))
        connection.wire.messages.clear()
        return connection.expected <= heard

    def asks_and_hears(self, connection: Connection, heard: set[tuple[str, bytes]]) -> bool:
        """The same, once more."""
        connection.wire.send(packet(PINGREQ, b""))
        return self.hears(connection, heard)

    def throw_out_the_unwelcome(self) -> None:
        """Connections that the state no longer admits end now, with their Wills."""
        now_s = int(time.time())
        for key, connection in list(self.connections.items()):
            if connection.client.local:
                continue
            if not admit(self.state, connection.client, connection.credential, clean=True, now_s=now_s):
                self.must_end(key)

    def must_end(self, key: str) -> None:
        """The broker closes this connection by itself."""
        self.connections[key].wire.wait_closed()
        self.ended(key, with_will=True)

    # -- steps

    @rule(
        actor=st.sampled_from(ACTORS),
        digit=st.sampled_from([None, None, 1]),
        clean=st.sampled_from([*[True] * 9, False]),
        will=st.sampled_from(["", "", "own", "own", "evil"]),
        evil=st.sampled_from(TOPICS),
        as_whom=st.sampled_from([*[None] * 50, *ACTORS]),
        generation=st.integers(1, 3),
        version=st.sampled_from([4, 4, 5]),
    )
    def connect(
        self,
        actor: Actor,
        digit: int | None,
        clean: bool,
        will: str,
        evil: str,
        as_whom: Actor | None,
        generation: int,
        version: int,
    ) -> None:
        """Somebody connects, perhaps under another's client id, perhaps in the place of an earlier connection."""
        whom = as_whom or actor
        client_id = f"{whom.tenant}_{whom.sub}" + ("" if digit is None else f"_{digit}")
        client = Client(actor.role, actor.tenant, actor.sub, actor.room, client_id, False)
        home = Stage.broker.home
        username = f"{actor.tenant}/{actor.sub}"
        if actor.role is Role.DEVICE:
            username += f"/{generation}"
            credential: Token | Generation = Generation(generation)
            password = home.password(username)
        else:
            self.last_issued = next(self.issued)
            claims = home.claims(actor.tenant, actor.role, actor.sub, actor.room) | {"iat": self.last_issued}
            credential = Token(claims["jti"], self.last_issued, claims["exp"])
            password = home.token(claims)
            self.last_jti[actor.tenant] = claims["jti"]
        last = None
        if will == "own":
            last = Will(f"tenant/{actor.tenant}/presence/{actor.sub}", b"lost %d" % next(self.numbers))
        elif will == "evil" and not judge(self.state, client, Publish(evil, 1, True)):
            last = Will(evil, b"evil %d" % next(self.numbers))
        welcome = admit(self.state, client, credential, clean=clean, now_s=int(time.time()))
        note(f"connect {client} {credential} clean={clean} will={last}: {welcome}")
        first = connect_packet(client_id, username, password, clean=clean, will=last, version=version)
        try:
            wire = Wire.open(("127.0.0.1", Stage.broker.port), first, version)
        except Refused:
            assert not welcome, f"refused, and {welcome.rule} would admit {client}"
            return self.settle()
        assert welcome, f"let in, and {welcome.rule} forbids {client}"
        if client_id in self.connections:
            self.connections[client_id].wire.wait_closed()
            self.ended(client_id, with_will=True)
        self.connections[client_id] = Connection(wire, client, credential, last)
        return self.settle()

    @rule(data=st.data(), topic_filter=st.sampled_from(FILTERS), good=st.integers(0, 2))
    def subscribe(self, data: st.DataObject, topic_filter: str, good: int) -> None:
        """A connection asks for a filter; it is granted as the policy says, and what is retained comes at once."""
        connection = self.somebody(data)
        if connection.client.local:
            return
        if good == 1:
            topic_filter = data.draw(st.sampled_from(self.granted(connection)))
        elif good == 2:
            mine = f"tenant/{connection.client.tenant}/"
            near = [one for one in FILTERS if one.startswith(mine) and {connection.client.sub, "+"} & {*one.split("/")}]
            topic_filter = data.draw(st.sampled_from(near))
        self.ask(connection, topic_filter)
        self.settle()

    def ask(self, connection: Connection, topic_filter: str) -> None:
        """SUBSCRIBE, and the oracle's answer."""
        allowed = judge(self.state, connection.client, Subscribe(topic_filter))
        note(f"subscribe {connection.client.client_id} {topic_filter}: {allowed}")
        (code,) = connection.wire.subscribe(topic_filter)
        assert (code < 0x80) == allowed.allow, f"{connection.client} got {code:#x} for {topic_filter}: {allowed.rule}"
        if allowed:
            connection.filters.add(topic_filter)
            for topic, payload in self.retained.items():
                if matches(topic_filter, topic) and judge(self.state, connection.client, Deliver(topic)):
                    connection.expected.add((topic, payload))

    @rule(data=st.data(), again=st.integers(1, 5))
    def publish(self, data: st.DataObject, again: int) -> None:
        """Some publish; whoever the policy lets hear it hears it."""
        for _ in range(again):
            self.say(data)

    def say(self, data: st.DataObject) -> None:
        """One message of one of those who are connected, mostly one that is allowed and that somebody waits for."""
        topic = data.draw(st.sampled_from([*TOPICS, *ODD_TOPICS]))
        kind = data.draw(st.sampled_from(["heard", "heard", "heard", "good", "own", "right", "any"]))
        connection = self.somebody(data)
        client = connection.client
        if kind in ("good", "heard"):
            fine = [one for one in TOPICS if judge(self.state, client, Publish(one, *self.right_way(one)))]
            if kind == "heard":
                wanted = {one for other in self.people() for one in other.filters}
                fine = [topic for topic in fine if any(matches(one, topic) for one in wanted)] or fine
            topic = data.draw(st.sampled_from(fine or TOPICS))
        elif kind == "own" and not client.local:
            actor = next(one for one in ACTORS if (one.tenant, one.sub) == (client.tenant, client.sub))
            topic = data.draw(st.sampled_from(actor.own_topics()))
        if kind == "any":
            qos, retain = data.draw(st.integers(0, 2)), data.draw(st.booleans())
        else:
            qos, retain = self.right_way(topic)
        is_ping = topic.endswith("/q")
        payload = PING if is_ping else b"%d" % next(self.numbers)
        allowed = judge(self.state, client, Publish(topic, qos, retain))
        note(f"publish {client.client_id} {topic} qos={qos} retain={retain}: {allowed}")
        connection.wire.publish(topic, payload, qos, retain)
        connection.wire.settle()
        if allowed:
            self.published(topic, payload, retain)
        self.settle()

    @staticmethod
    def right_way(topic: str) -> tuple[int, bool]:
        """QoS and retain as the topic's table has them; 0 and no for what is no topic."""
        try:
            parsed = parse_topic(topic)
        except BadId:
            return 0, False
        return parsed.qos, parsed.retain

    def somebody(self, data: st.DataObject) -> Connection:
        """One of those who are connected."""
        return self.connections[data.draw(st.sampled_from(sorted(self.connections)))]

    @rule(data=st.data(), polite=st.booleans(), stay=st.integers(0, 2))
    def leave(self, data: st.DataObject, polite: bool, stay: int) -> None:
        """A connection ends: with DISCONNECT (no Will), or cut."""
        connection = self.somebody(data)
        if connection.client.local or stay:
            return self.say(data)
        note(f"leave {connection.client.client_id} polite={polite}")
        if polite:
            connection.wire.disconnect()
        else:
            connection.wire.vanish()
        self.ended(connection.client.client_id, with_will=not polite)
        return self.settle()

    @rule(
        tenant=st.sampled_from(TENANTS),
        room=st.sampled_from(ROOMS),
        sub=st.sampled_from(SUBS),
        verb=st.sampled_from(["open", "open", "close", "assign", "unassign", "mute", "unmute", "muteall", "unmuteall"]),
    )
    def log_rooms(self, tenant: TenantId, room: RoomId, sub: Subject, verb: str) -> None:
        """Rooms open and close, devices move, players are muted: in force at once, for the connected too."""
        entry: Entry = {
            "open": Open(tenant, room),
            "close": Close(tenant, room),
            "assign": Assign(tenant, Subject("d-a"), room),
            "unassign": Assign(tenant, Subject("d-a"), None),
            "mute": Mute(tenant, room, sub),
            "unmute": Unmute(tenant, room, sub),
            "muteall": MuteAll(tenant, room),
            "unmuteall": UnmuteAll(tenant, room),
        }[verb]
        self.heard_by_gate(entry)
        self.settle()

    @rule(
        tenant=st.sampled_from(TENANTS),
        sub=st.sampled_from(SUBS),
        verb=st.sampled_from(["kick", "revoke", "revokejti", "floor"]),
        generation=st.integers(1, 3),
        data=st.data(),
        stay=st.integers(0, 3),
    )
    def log_withdrawals(
        self, tenant: TenantId, sub: Subject, verb: str, generation: int, data: st.DataObject, stay: int
    ) -> None:
        """Somebody is kicked, or credentials are withdrawn: the connections concerned end, and no others."""
        if stay:
            return self.say(data)
        until = int(time.time()) + 3600
        entry: Entry = {
            "kick": Kick(tenant, sub),
            "revoke": Revoke(tenant, sub, self.last_issued, until),
            "revokejti": RevokeJti(tenant, self.last_jti.get(tenant, "none"), until),
            "floor": Floor(tenant, Subject("d-a"), generation),
        }[verb]
        self.heard_by_gate(entry)
        if verb == "kick":
            for key, connection in list(self.connections.items()):
                if (connection.client.tenant, connection.client.sub) == (tenant, sub):
                    self.must_end(key)
        self.throw_out_the_unwelcome()
        return self.settle()

    def heard_by_gate(self, entry: Entry) -> None:
        """One more line in the log."""
        note(f"log {format_body(entry)}")
        self.state.apply(entry)
        Stage.broker.home.log(format_body(entry))
        self.gate_reads()

    @rule()
    def compact(self) -> None:
        """A compaction changes nothing for anybody."""
        note("compact")
        self.write_compact()
        self.settle()


@pytest.fixture(scope="module")
def random_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A broker of this module's own, and the service's two connections to it."""
    with running(tmp_path_factory.mktemp("gate-build"), []) as broker:
        Stage.broker, Stage.rooms, Stage.tempo = broker, broker.service(), broker.service("tempo-0")
        assert Stage.rooms.subscribe("tenant/#") == [0]
        yield


def run(steps: int, at_most_s: float) -> None:
    """So many steps, in examples of at most a hundred; fewer where the machine is too busy for that, and it says so."""
    chosen = settings(
        max_examples=10,
        stateful_step_count=STEPS_AN_EXAMPLE,
        deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    begin_steps, begin_s = Stage.steps, time.monotonic()
    while Stage.steps - begin_steps < steps:
        if time.monotonic() - begin_s > at_most_s:
            warnings.warn(f"{Stage.steps - begin_steps} of {steps} steps in {at_most_s} s", stacklevel=2)
            break
        run_state_machine_as_test(TwoSchools, settings=chosen)
    assert Stage.deliveries > Stage.steps // 20, f"{Stage.deliveries} messages heard in {Stage.steps} steps"


@pytest.mark.rule("ACL-1")
@pytest.mark.rule("ACL-10")
@pytest.mark.rule("ACL-17")
@pytest.mark.rule("REV-6")
@pytest.mark.rule("REV-7")
@pytest.mark.usefixtures("random_broker")
def test_two_schools_at_random() -> None:
    """Whatever two schools do, in whatever order, everybody hears what the policy says and nothing else."""
    run(STEPS, 90)


@pytest.mark.soak
@pytest.mark.usefixtures("random_broker")
def test_two_schools_at_random_for_long() -> None:
    """The same, a million steps or an hour."""
    run(int(os.environ.get("BANDROOM_SOAK_STEPS", str(SOAK_STEPS))), 3600)
