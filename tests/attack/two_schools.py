"""The broker and the oracle, step by step: what two schools do at random, and what each of them must hear of it.

After every step each connection has heard exactly what the Python policy lets it hear, and is alive exactly if the
policy admits it.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

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
from bandroom.wire.ids import Role, RoomId, Subject, TenantId
from bandroom.wire.policy import Client, Deliver, Generation, Publish, Request, Subscribe, Token, admit, judge
from gatekit import Broker, eventually
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from raw_mqtt import PINGREQ, PINGRESP, Refused, Will, connect_packet, packet
from raw_mqtt import Client as Wire
from schools import ACTORS, FILTERS, ODD_TOPICS, PING, ROOMS, SUBS, TENANTS, TOPICS, Actor, matches, right_way

SEEDS = st.integers(0, 2**63)
"""What one step of many choices is drawn from: a draw of hypothesis costs as much as a message to the broker."""


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
    patience_s: ClassVar[float] = 5.0
    """How long an answer of the broker may take: a soak that gives way to everything else waits longer."""
    steps: ClassVar[int] = 0
    """One for each message, connection, filter, cut and entry of the log."""
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
        self.verdicts: dict[tuple[Client, Request], bool] = {}

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
        rng = random.Random(data.draw(SEEDS))
        for actor in ACTORS:
            if rng.random() < 0.8:
                self.connect(actor, None, True, "own", TOPICS[0], None, 3, 4, rng.getrandbits(63))
        self.settle()

    def judge(self, client: Client, request: Request) -> bool:
        """The oracle; asked the same again while the log says nothing new, it remembers."""
        found = self.verdicts.get((client, request))
        if found is None:
            found = self.verdicts[client, request] = bool(judge(self.state, client, request))
        return found

    @staticmethod
    def one_of(rng: random.Random, choices: list[str], fits: Callable[[str], bool]) -> str | None:
        """One that fits, from a random place on; None if there is none."""
        start = rng.randrange(len(choices))
        return next((one for one in itertools.chain(choices[start:], choices[:start]) if fits(one)), None)

    def granted(self, rng: random.Random, connection: Connection) -> str:
        """A filter that the connection would get now; any if there is none."""
        client = connection.client
        return self.one_of(rng, FILTERS, lambda one: self.judge(client, Subscribe(one))) or FILTERS[0]

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
            eventually(self.alone, "everybody to leave", 2 * Stage.patience_s)
            Stage.rooms.heard()

    def alone(self) -> bool:
        """Whether only the service is connected: a new line in the log makes the gate say so now."""
        Stage.broker.home.log(f"open {TENANTS[0]} {ROOMS[0]}")
        self.gate_reads()
        return Stage.broker.home.status()["connections"] == "2"

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
            if self.hearing(connection, topic):
                connection.expected.add((topic, payload))

    def ended(self, key: str, *, with_will: bool) -> None:
        """A connection is over: its Will is sent if the policy allows it."""
        connection = self.connections.pop(key)
        will = connection.will
        if will and with_will and self.judge(connection.client, Publish(will.topic, will.qos, will.retain)):
            self.published(will.topic, will.payload, will.retain)

    def settle(self) -> None:
        """A step is over: everybody has heard what the oracle says, and nothing else."""
        waiting = next(self.numbers)
        Stage.deliveries += sum(len(connection.expected) for connection in self.people())
        for connection in self.connections.values():  # all asked before any is waited for: one round trip in all
            connection.wire.send(packet(PINGREQ, b""))
        patience_s = Stage.patience_s
        for key, connection in self.connections.items():
            heard: dict[tuple[str, bytes], None] = {}
            try:
                if not self.hears(connection, heard):  # a Will comes a moment after its connection's end
                    what = f"step {waiting}: {key}"
                    eventually(lambda c=connection, h=heard: self.asks_and_hears(c, h), what, patience_s)
            except OSError:
                raise AssertionError(f"{key} lost its connection") from None
            except AssertionError:
                raise AssertionError(f"{key} heard {[*heard]}, expected {connection.expected}") from None
            beyond = heard.keys() - connection.expected
            assert not beyond, f"{key} heard {beyond} beyond what it may"
            connection.expected = set()
            if key == "rooms":  # of two Wills of one subject thrown out at once either may be the last
                self.retained.update({topic: payload for topic, payload in heard if topic in self.retained})

    @staticmethod
    def hears(connection: Connection, heard: dict[tuple[str, bytes], None]) -> bool:
        """Add what came up to the answer of a PINGREQ to `heard`, in order; whether that is all that is expected."""
        connection.wire.until(PINGRESP)
        for message in connection.wire.messages:
            is_time = message.topic.endswith("/r") and message.payload.startswith(PING[:12])
            heard[message.topic, b"(time)" if is_time else message.payload] = None
        connection.wire.messages.clear()
        return connection.expected <= heard.keys()

    def asks_and_hears(self, connection: Connection, heard: dict[tuple[str, bytes], None]) -> bool:
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
        self.connections[key].wire.wait_closed(Stage.patience_s)
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
        seed=SEEDS,
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
        seed: int,
    ) -> None:
        """Somebody connects, perhaps under another's client id, perhaps in the place of an earlier connection."""
        Stage.steps += 1
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
        elif will == "evil" and not self.judge(client, Publish(evil, 1, True)):
            last = Will(evil, b"evil %d" % next(self.numbers))
        welcome = admit(self.state, client, credential, clean=clean, now_s=int(time.time()))
        note(f"connect {client} {credential} clean={clean} will={last}: {welcome}")
        first = connect_packet(client_id, username, password, clean=clean, will=last, version=version)
        try:
            wire = Wire.open(("127.0.0.1", Stage.broker.port), first, version, Stage.patience_s)
        except Refused:
            assert not welcome, f"refused, and {welcome.rule} would admit {client}"
            return self.settle()
        assert welcome, f"let in, and {welcome.rule} forbids {client}"
        if client_id in self.connections:
            self.connections[client_id].wire.wait_closed(Stage.patience_s)
            self.ended(client_id, with_will=True)
        self.connections[client_id] = Connection(wire, client, credential, last)
        rng = random.Random(seed)
        for _ in range(rng.randint(0, 8)):
            self.ask(self.connections[client_id], self.granted(rng, self.connections[client_id]))
        return self.settle()

    @rule(seed=SEEDS, topic_filter=st.sampled_from(FILTERS), good=st.integers(0, 2))
    def subscribe(self, seed: int, topic_filter: str, good: int) -> None:
        """A connection asks for a filter; it is granted as the policy says, and what is retained comes at once."""
        rng = random.Random(seed)
        connection = self.somebody(rng)
        if connection.client.local:
            return
        if good == 1:
            topic_filter = self.granted(rng, connection)
        elif good == 2:
            mine, words = f"tenant/{connection.client.tenant}/", {connection.client.sub, "+"}
            near = self.one_of(rng, FILTERS, lambda one: one.startswith(mine) and bool(words & {*one.split("/")}))
            topic_filter = near or topic_filter
        self.ask(connection, topic_filter)
        self.settle()

    def ask(self, connection: Connection, topic_filter: str) -> None:
        """SUBSCRIBE, and the oracle's answer."""
        Stage.steps += 1
        allowed = self.judge(connection.client, Subscribe(topic_filter))
        note(f"subscribe {connection.client.client_id} {topic_filter}: {allowed}")
        (code,) = connection.wire.subscribe(topic_filter)
        assert (code < 0x80) == allowed, f"{connection.client} got {code:#x} for {topic_filter}"
        if allowed:
            connection.filters.add(topic_filter)
            for topic, payload in self.retained.items():
                if matches(topic_filter, topic) and self.judge(connection.client, Deliver(topic)):
                    connection.expected.add((topic, payload))

    @rule(seed=SEEDS, speakers=st.integers(1, 4))
    def publish(self, seed: int, speakers: int) -> None:
        """Some publish; whoever the policy lets hear it hears it."""
        self.publish_some(seed, speakers)

    def publish_some(self, seed: int, speakers: int = 1) -> None:
        """So many speak, a few messages each."""
        rng = random.Random(seed)
        for _ in range(speakers):
            speaker = self.somebody(rng)
            for _ in range(rng.randint(1, 6)):
                self.say(rng, speaker)
            speaker.wire.settle()  # before the next one speaks: what is retained is what came last
        self.settle()

    def say(self, rng: random.Random, connection: Connection) -> None:
        """One message, mostly one that is allowed and that somebody waits for."""
        Stage.steps += 1
        client = connection.client
        topic = rng.choice(ODD_TOPICS) if rng.random() < 0.05 else rng.choice(TOPICS)
        kind = rng.choice(["heard", "heard", "heard", "heard", "heard", "good", "own", "right", "any"])

        def fine(one: str) -> bool:
            return self.judge(client, Publish(one, *right_way(one)))

        if kind == "heard":
            topic = self.one_of(rng, TOPICS, lambda one: self.is_awaited(one) and fine(one)) or topic
        elif kind == "good":
            topic = self.one_of(rng, TOPICS, fine) or topic
        elif kind == "own" and not client.local:
            actor = next(one for one in ACTORS if (one.tenant, one.sub) == (client.tenant, client.sub))
            topic = rng.choice(actor.own_topics())
        qos, retain = (rng.randint(0, 2), rng.random() < 0.5) if kind == "any" else right_way(topic)
        is_ping = topic.endswith("/q")
        payload = PING if is_ping else b"%d" % next(self.numbers)
        allowed = self.judge(client, Publish(topic, qos, retain))
        note(f"publish {client.client_id} {topic} qos={qos} retain={retain}: {allowed}")
        connection.wire.post(topic, payload, qos, retain)
        if allowed:
            self.published(topic, payload, retain)

    def is_awaited(self, topic: str) -> bool:
        """Whether one of them, the service apart, would hear this."""
        return any(self.hearing(other, topic) for other in self.people())

    def hearing(self, connection: Connection, topic: str) -> bool:
        """Whether it asked for what is on this topic, and gets it."""
        asked = any(matches(one, topic) for one in connection.filters)
        return asked and self.judge(connection.client, Deliver(topic))

    def somebody(self, rng: random.Random) -> Connection:
        """One of those who are connected."""
        return self.connections[rng.choice(sorted(self.connections))]

    @rule(seed=SEEDS, polite=st.booleans(), stay=st.integers(0, 2))
    def leave(self, seed: int, polite: bool, stay: int) -> None:
        """A connection ends: with DISCONNECT (no Will), or cut."""
        connection = self.somebody(random.Random(seed))
        if connection.client.local or stay:
            return self.publish_some(seed)
        Stage.steps += 1
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
        seed=SEEDS,
        stay=st.integers(0, 3),
    )
    def log_withdrawals(self, tenant: TenantId, sub: Subject, verb: str, generation: int, seed: int, stay: int) -> None:
        """Somebody is kicked, or credentials are withdrawn: the connections concerned end, and no others."""
        if stay:
            return self.publish_some(seed)
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
        Stage.steps += 1
        note(f"log {format_body(entry)}")
        self.state.apply(entry)
        self.verdicts.clear()
        Stage.broker.home.log(format_body(entry))
        self.gate_reads()

    @rule(seed=SEEDS, stay=st.integers(0, 3))
    def compact(self, seed: int, stay: int) -> None:
        """A compaction changes nothing for anybody."""
        if stay:
            return self.publish_some(seed)
        Stage.steps += 1
        note("compact")
        self.write_compact()
        return self.settle()
