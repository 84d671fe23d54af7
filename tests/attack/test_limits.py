"""Cases 56 to 63: floods, storms and garbage cost who sends them, and nobody else."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from arena import OURS, Arena, Ear
from gatekit import eventually
from raw_mqtt import CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, Client, Refused, Will, connect_packet, packet, text

WILD = "lincoln-2"
"""The attacker's school here; its limits are the gate's own."""
ROOM = f"tenant/{WILD}/music_room/MUSIC-1234"
RATE, BURST = 100, 200
"""What one pupil may publish: messages a second, and at once."""
FLOOD = Path(__file__).with_name("flood.py")


def note(topic: str, count: int = 1) -> bytes:
    """That many notes."""
    return packet(PUBLISH, text(topic) + b'{"on":60}') * count


def attacker(arena: Arena, sub: str, **more: object) -> Client:
    """A pupil of the wild school."""
    return arena.broker.student(WILD, sub, **more)


def flood_process(
    arena: Arena, sub: str, seconds: float, load: bytes, digit: int | None = None
) -> subprocess.Popen[str]:
    """A process that sends `load` again and again, coming back whenever it is put out."""
    home = arena.broker.home
    token = home.token(home.claims(WILD, "student", sub, "MUSIC-1234"))
    connect = connect_packet(f"{WILD}_{sub}", f"{WILD}/{sub}", token)
    process = subprocess.Popen(
        [sys.executable, str(FLOOD), "127.0.0.1", str(arena.broker.port), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(f"{connect.hex()}\n{load.hex()}\n")
    process.stdin.flush()
    return process


def heard_while(arena: Arena, topic: str, act: Callable[[], None]) -> tuple[int, float]:
    """How many messages on `topic` a pupil of the wild school's room heard while `act` ran, and for how long it ran."""
    hearer = attacker(arena, f"s-hear-{next(arena.marker)}")
    assert hearer.subscribe(f"{ROOM}/note/+") == [0]
    ear = Ear("hearer", hearer)
    began = time.monotonic()
    act()
    took = time.monotonic() - began
    number = b"%d" % next(arena.marker)
    arena.rooms.publish(f"{ROOM}/note/s-marker", number)
    eventually(lambda: number in ear.payloads(f"{ROOM}/note/s-marker"), "the marker")
    hearer.disconnect()
    return len(ear.payloads(topic)), took


def allowance(seconds: float) -> float:
    """The most that a pupil can have sent in this time."""
    return BURST + RATE * (seconds + 0.1)


@pytest.mark.rule("LIM-1")
@pytest.mark.rule("LIM-2")
def test_case_56_reconnecting_wins_nothing(arena: Arena) -> None:
    """The allowance is the subject's: it is not full again on the next connection."""
    topic = f"{ROOM}/note/{arena.me}"

    def act() -> None:
        for _ in range(5):
            client = attacker(arena, arena.me)
            client.send(note(topic, BURST))
            client.settle()
            client.disconnect()

    heard, took = heard_while(arena, topic, act)
    assert BURST <= heard <= allowance(took)


@pytest.mark.rule("LIM-2")
def test_case_57_many_client_ids_win_nothing(arena: Arena) -> None:
    """Ten connections of one subject share one allowance."""
    topic = f"{ROOM}/note/{arena.me}"

    def act() -> None:
        clients = [attacker(arena, arena.me, digit=digit) for digit in range(10)]
        for client in clients:
            client.send(note(topic, 100))
        for client in clients:
            client.settle()
            client.disconnect()

    heard, took = heard_while(arena, topic, act)
    assert BURST <= heard <= allowance(took)


@pytest.mark.rule("LIM-2")
@pytest.mark.rule("ACL-16")
def test_case_58_wills_win_nothing(arena: Arena) -> None:
    """With the allowance used up, Wills to one's own notes do not add to it; connections by the hundred are stopped."""
    topic = f"{ROOM}/note/{arena.me}"

    def act() -> None:
        client = attacker(arena, arena.me)
        client.send(note(topic, BURST))
        client.settle()
        client.disconnect()
        for _ in range(300):
            with contextlib.suppress(Refused):
                attacker(arena, arena.me, will=Will(topic, b"{}", 0, False)).vanish()

    heard, took = heard_while(arena, topic, act)
    assert heard <= allowance(took)


@pytest.mark.rule("LIM-1")
@pytest.mark.parametrize("sub", ["s-beat", "s-tempo", "s-rooms"])
def test_case_59_a_note_that_looks_like_a_beat(arena: Arena, sub: str) -> None:
    """What exempts a beat is who sends it: a pupil named `beat` has the allowance of a pupil."""
    topic = f"{ROOM}/note/{sub}"

    def act() -> None:
        client = attacker(arena, sub)
        client.send(note(topic, 600) + note(f"{ROOM}/note/{sub}/beat", 300) + note(f"{ROOM}/beat", 300))
        client.settle()
        client.disconnect()

    heard, took = heard_while(arena, topic, act)
    assert heard <= allowance(took)


@pytest.mark.rule("LIM-3")
def test_the_sender_and_the_teacher_hear_of_drops(arena: Arena) -> None:
    """`limit/<sub>` tells sender and teacher, not classmates, what was dropped and why, at most once a second."""
    school, sub = f"told-{next(arena.marker)}", arena.me  # where nobody else has used up the room's allowance
    arena.log(f"open {school} MUSIC-1234")
    room = f"tenant/{school}/music_room/MUSIC-1234"
    client, teacher = arena.broker.student(school, sub), arena.broker.teacher(school, "t-wild")
    mate = arena.broker.student(school, "s-mate")
    assert client.subscribe(f"{room}/limit/{sub}") == [0]
    assert teacher.subscribe(f"{room}/limit/+") == [0]
    assert mate.subscribe(f"{room}/limit/{sub}") == [0x80]
    end, reports = time.monotonic() + 2.5, 0
    client.send(note(f"{room}/note/{sub}", 3 * BURST))
    while time.monotonic() < end:
        client.send(note(f"{room}/note/{sub}", 10))
        client.settle()
        reports = len(client.messages)
        time.sleep(0.02)  # the pace of the flood
    assert 1 <= reports <= 4
    for message in client.messages:
        told = json.loads(message.payload)
        assert told["dropped"] >= 1
        assert told["why"] == "client_msgs"
    assert {m.topic for m in teacher.heard()} == {f"{room}/limit/{sub}"}
    assert mate.heard() == []
    for one in (client, teacher, mate):
        one.disconnect()


@pytest.mark.rule("LIM-1")
def test_ten_pupils_cannot_use_up_a_rooms_teacher(arena: Arena) -> None:
    """With the room's allowance used up by pupils, the teacher's commands, notes and clock still pass."""
    teacher = arena.broker.teacher(WILD, "t-wild")
    assert teacher.subscribe(f"{ROOM}/clock/t-wild/r") == [0]
    pupils = [attacker(arena, f"s-wild-{n}") for n in range(10)]
    for _ in range(3):
        for n, pupil in enumerate(pupils):
            pupil.send(note(f"{ROOM}/note/s-wild-{n}", 70))
        for pupil in pupils:
            pupil.settle()
    arena.settle()  # whoever hears the flood has heard it out: what is missing from here on, the broker denied
    service = arena.victims["the service"]
    for n in range(5):
        teacher.publish(f"{ROOM}/control/t-wild", b"command %d" % n, 1)
        teacher.publish(f"{ROOM}/note/t-wild", b"note %d" % n)
    teacher.publish(f"{ROOM}/clock/t-wild/q", b"abcdefgh 0f 0000000000000000")
    assert teacher.wait_message().topic == f"{ROOM}/clock/t-wild/r"
    eventually(lambda: len(service.payloads(f"{ROOM}/control/t-wild")) >= 5, "the commands")
    notes = [b"note %d" % n for n in range(5)]
    eventually(lambda: service.payloads(f"{ROOM}/note/t-wild")[-5:] == notes, "the notes, every one of them")
    for one in (teacher, *pupils):
        one.disconnect()


@pytest.mark.rule("LIM-4")
def test_case_60_a_flood_delays_no_other_school(arena: Arena) -> None:
    """Four processes flood at full speed: the other school's beats come all, and about as soon as ever."""
    eventually(lambda: len(arena.lateness_ms()) > 100, "a hundred quiet beats")
    quiet = arena.lateness_ms()
    arena.begin()
    allowed = note(f"{ROOM}/note/s-flood-0", 500)
    loads = [allowed, note(f"{ROOM}/note/s-flood-1", 500), note("tenant/jefferson/x", 500), note(f"{ROOM}/beat", 500)]
    floods = [flood_process(arena, f"s-flood-{n}", 3.0, load) for n, load in enumerate(loads)]
    machine = answers_ms(lambda: any(flood.poll() is None for flood in floods))
    sent = [int(flood.communicate(timeout=30)[0]) for flood in floods]
    assert all(sent), "each flood reached the broker"
    loud = arena.lateness_ms()
    # What holds while other tests run beside this one. The goal itself (p99 within twice the quiet one or 5 ms, under
    # 500 who flood as well) is measured on a quiet machine: make bench ARGS="gate --parts flood".
    for part, times, at_least_ms in ((0.5, 3, 10), (0.98, 4, 50)):
        before, under, any_process = (sorted(late)[int(part * len(late))] for late in (quiet, loud, machine))
        bound = max(times * before, times * any_process, at_least_ms)
        assert under <= bound, (
            f"p{part:.0%} {under:.1f} ms under the flood, {before:.1f} ms before; "
            f"a process that does nothing else answers within {any_process:.1f} ms"
        )


def answers_ms(goes_on: Callable[[], bool]) -> list[float]:
    """How long any process takes to answer meanwhile, in ms: what lateness is the machine's, busy with other things."""
    took: list[float] = []
    with subprocess.Popen(["cat"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as echo:
        assert echo.stdin
        assert echo.stdout
        while goes_on():
            began = time.monotonic()
            echo.stdin.write(b"x")
            assert echo.stdout.read(1) == b"x"
            took.append((time.monotonic() - began) * 1000)
            time.sleep(0.01)  # as often as beats come
    return took


def spent(arena: Arena, school: str, entries: list[str], act: Callable[[], None], *leaves: str) -> tuple[int, float]:
    """How many messages of a school of its own, with these limits, passed while `act` ran, and for how long it ran."""
    room = f"tenant/{school}/music_room/MUSIC-1234"
    arena.log(f"open {school} MUSIC-1234", f"open {school} CHOIR-0001", f"assign {school} d-one MUSIC-1234")
    arena.log(*(f"limit {school} {entry}" for entry in entries))
    hearer = arena.broker.service(digit=4)
    filters = [f"tenant/{school}/music_room/+/{leaf}/+" for leaf in leaves]
    assert hearer.subscribe(f"{room}/limit/s-marker", *filters) == [0] * (1 + len(filters))
    ear = Ear("hearer", hearer)
    began = time.monotonic()
    act()
    took = time.monotonic() - began
    arena.rooms.publish(f"{room}/limit/s-marker", b"end")
    eventually(lambda: b"end" in ear.payloads(f"{room}/limit/s-marker"), "the marker")
    hearer.disconnect()
    return len(ear.heard) - 1, took


def pours(arena: Arena, school: str, who: str, leaf: str, payload: bytes, count: int, room: str = "MUSIC-1234") -> None:
    """A pupil, device or teacher says the same so many times."""
    open_as = {"s": arena.broker.student, "d": arena.broker.device, "t": arena.broker.teacher}[who[0]]
    client = open_as(school, who, **({"room": room} if who[0] == "s" else {}))
    qos = 1 if leaf == "control" else 0
    body = text(f"tenant/{school}/music_room/{room}/{leaf}/{who}") + (b"\0\1" if qos else b"") + payload
    client.send(packet(PUBLISH, body, qos << 1) * count)
    client.settle()
    client.disconnect()


@pytest.mark.rule("LIM-1")
@pytest.mark.rule("LIM-5")
@pytest.mark.parametrize(
    ("limit", "who", "leaf", "size", "at_most"),
    [
        ("room_msgs 1 20", "s-one", "note", 1, 20),
        ("room_msgs 1 20", "s-one", "midi", 3, 20),
        ("room_msgs 1 20", "d-one", "note", 1, 20),
        ("tenant_msgs 1 20", "d-one", "midi", 3, 20),
        ("client_msgs 1 20", "t-one", "note", 1, 20),
        ("control_msgs 1 20", "t-one", "control", 1, 20),
        ("control_bytes 1 10000", "t-one", "control", 951, 10),
        ("room_bytes 1 10000", "s-one", "note", 954, 10),
        ("tenant_bytes 1 10000", "s-one", "note", 954, 10),
        ("client_bytes 1 10000", "t-one", "note", 954, 10),
        ("client_bytes 1 1000", "s-one", "note", 0, 22),
    ],
)
def test_what_counts(arena: Arena, limit: str, who: str, leaf: str, size: int, at_most: int) -> None:
    """Each bucket counts all that it is for, whoever may say it, and bytes are those of topic and payload."""
    school = f"count-{next(arena.marker)}"
    passed, took = spent(
        arena, school, [limit], lambda: pours(arena, school, who, leaf, b"x" * size, 60), "note", "midi", "control"
    )
    assert at_most - 2 <= passed <= at_most + took + 1


@pytest.mark.rule("LIM-1")
@pytest.mark.parametrize(
    ("who", "leaf", "size", "rate", "burst", "apart_from"),
    [
        ([("s-x{}", "MUSIC-1234")] * 8, "note", 1, 600, 600, ["tenant_msgs 9999 9999", "tenant_bytes 999999 999999"]),
        ([("s-x{}", "MUSIC-1234")] * 4 + [("s-x{}", "CHOIR-0001")] * 4, "note", 1, 2000, 600, []),
        ([("t-one", "MUSIC-1234")], "control", 1, 10, 40, []),
        ([("t-one", "MUSIC-1234")], "note", 954, 16, 32, []),
    ],
    ids=["room", "tenant", "control", "bytes"],
)
def test_what_is_allowed_to_whom_nothing_was_said_of(
    arena: Arena, who: list[tuple[str, str]], leaf: str, size: int, rate: int, burst: int, apart_from: list[str]
) -> None:
    """The gate's own limits of room, tenant, commands and bytes are in force where the school has none of its own."""
    school = f"plain-{next(arena.marker)}"

    def act() -> None:
        for n, (sub, room) in enumerate(who):
            pours(arena, school, sub.format(n), leaf, b"x" * size, 200, room)

    passed, took = spent(arena, school, apart_from, act, leaf)
    assert 0.9 * burst <= passed <= burst + rate * (took + 0.1)


@pytest.mark.rule("LIM-1")
@pytest.mark.parametrize(("entry", "rate", "burst"), [("limit {} subs 1 30", 1, 30), ("kick {} s-nobody", 20, 100)])
def test_subscribing_is_limited_by_rate(arena: Arena, entry: str, rate: int, burst: int) -> None:
    """One filter asked for over and over is held once, and still costs its asker each time; here and by default."""
    school = f"asks-{next(arena.marker)}"
    arena.log(f"open {school} MUSIC-1234", entry.format(school))
    client = arena.broker.student(school)
    began = time.monotonic()
    answers = [client.subscribe(f"tenant/{school}/music_room/MUSIC-1234/beat") for _ in range(2 * burst)]
    assert burst <= answers.count([0]) <= burst + rate * (time.monotonic() - began + 0.1)
    client.disconnect()


@pytest.mark.rule("LIM-1")
@pytest.mark.parametrize("version", [4, 5])
def test_giving_up_filters_that_one_does_not_have_is_a_flood_too(arena: Arena, version: int) -> None:
    """UNSUBSCRIBE is never refused, and costs what SUBSCRIBE does: who does not stop is put out."""
    school = f"drop-{next(arena.marker)}"
    arena.log(f"open {school} MUSIC-1234")
    client = arena.broker.student(school, version=version)
    body = struct.pack(">H", 9) + (b"\0" if version == 5 else b"") + text("a") * 2000
    with contextlib.suppress(ConnectionError, OSError):
        for _ in range(10):
            client.send(packet(UNSUBSCRIBE, body, 2))
        client.wait_closed()
    with pytest.raises(Refused):
        arena.broker.student(school)


@pytest.mark.rule("LIM-1")
def test_a_sustained_flood_is_put_out(arena: Arena) -> None:
    """Who does not stop is disconnected and kept out for a while; a classmate is not."""
    client = attacker(arena, arena.me)
    with contextlib.suppress(ConnectionError, OSError):
        for _ in range(100):
            client.send(note(f"{ROOM}/note/{arena.me}", 100))
        client.wait_closed()
    with pytest.raises(Refused):
        attacker(arena, arena.me)
    attacker(arena, "s-mate").disconnect()


@pytest.mark.rule("CRED-10")
def test_case_61_connect_storm(arena: Arena) -> None:
    """Hundreds of CONNECTs, bad and good, in a row: others still come in, in good time."""
    home = arena.broker.home
    good = home.token(home.claims(WILD, "student", arena.me, "MUSIC-1234"))
    address = ("127.0.0.1", arena.broker.port)
    said, storm_began = arena.broker.log.count("gate: connection from"), time.monotonic()
    for n in range(400):
        password = good if n % 4 == 0 else f"bad {n}"
        with contextlib.suppress(Refused):
            Client.open(address, connect_packet(f"{WILD}_{arena.me}", f"{WILD}/{arena.me}", password)).vanish()
        if n % 100 == 99:
            began = time.monotonic()
            arena.broker.student("jefferson", "s-late").disconnect()
            assert time.monotonic() - began < 1.0
    said = arena.broker.log.count("gate: connection from") - said
    assert 0 < said <= 10 * (time.monotonic() - storm_began + 2), "a storm must not fill the disk with its refusals"


def test_case_62_half_open_and_slow_connections(arena: Arena) -> None:
    """Connections that say nothing, or their CONNECT a byte at a time, and readers that do not read, delay nobody."""
    address = ("127.0.0.1", arena.broker.port)
    silent = [socket.create_connection(address, 5) for _ in range(150)]
    home = arena.broker.home
    token = home.token(home.claims(WILD, "student", arena.me, "MUSIC-1234"))
    connect = connect_packet(f"{WILD}_{arena.me}", f"{WILD}/{arena.me}", token)
    slow = [socket.create_connection(address, 5) for _ in range(20)]
    deaf = attacker(arena, "s-deaf")
    assert deaf.subscribe(f"{ROOM}/note/+") == [0]
    for at in range(20):
        for one in slow:
            one.sendall(connect[at : at + 1])
        for _ in range(20):
            arena.rooms.publish(f"{ROOM}/note/s-loud", b"x" * 4000)
    arena.rooms.settle()
    began = time.monotonic()
    late = arena.broker.student("jefferson", "s-late")
    assert time.monotonic() - began < 1.0
    late.disconnect()
    for one in (*silent, *slow):
        one.close()
    deaf.vanish()


def mangled(rng: random.Random, good: list[bytes]) -> bytes:
    """A packet with bits, bytes, lengths or order changed, or nothing but noise."""
    data = bytearray(rng.choice(good))
    match rng.randrange(6):
        case 0:
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            data = data[: rng.randrange(1, len(data) + 1)]
        case 2:
            data[1] = rng.randrange(256)
        case 3:
            data[0] = rng.randrange(256)
        case 4:
            data = bytearray(rng.randbytes(rng.randint(1, 300)))
        case _:
            at = rng.randrange(len(data))
            data[at:at] = struct.pack(">H", rng.choice([0, 0xFFFF, rng.randrange(65536)]))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_case_63_malformed_packets(arena: Arena, seed: int) -> None:
    """Garbage before and after CONNECT ends its own connection at the most."""
    rng = random.Random(seed)
    home = arena.broker.home
    for version in (4, 5):
        token = home.token(home.claims(WILD, "student", arena.me, "MUSIC-1234"))
        will = Will(f"tenant/{WILD}/presence/{arena.me}")
        connect = connect_packet(f"{WILD}_{arena.me}", f"{WILD}/{arena.me}", token, version=version, will=will)
        none = b"\0" if version == 5 else b""
        good = [
            connect,
            note(f"{ROOM}/note/{arena.me}"),
            packet(PUBLISH, text(f"{ROOM}/control/x") + b"\0\1" + none, 2),
            packet(SUBSCRIBE, b"\0\1" + none + text(f"{ROOM}/beat") + b"\0", 2),
            packet(10, b"\0\1" + none + text("#"), 2),
            packet(4, b"\0\1"),
            packet(6, b"\0\1", 2),
            packet(12, b""),
            packet(14, b""),
            packet(15, b"\x18\0"),
            packet(CONNECT, b"\0" * 20),
        ]
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", arena.broker.port), 5) as sock, contextlib.suppress(OSError):
                if rng.random() < 0.7:
                    sock.sendall(connect)
                    sock.recv(100)
                sock.sendall(b"".join(mangled(rng, good) for _ in range(rng.randint(1, 6))))
    arena.rooms.publish(f"tenant/{WILD}/presence/{arena.me}", b"", 1, True)
    arena.settle()
    own = {f"{ROOM}/note/{arena.me}", f"{ROOM}/midi/{arena.me}", f"tenant/{WILD}/presence/{arena.me}"}
    for topic, payload in arena.heard_since_begin("the service"):
        # The broker itself may still have to tell of those who flooded a moment ago, wherever that was.
        is_report = "/limit/" in topic and payload.startswith(b'{"dropped":')
        is_anothers = is_report or topic.endswith(("/beat", "/note/s-marker"))
        assert topic in own or is_anothers, f"{payload!r} on {topic} from a pupil's garbage"


def test_the_room_of_the_attacker_still_plays(arena: Arena) -> None:
    """After all of it, a pupil of another room plays and is heard."""
    client = arena.attacker()
    client.publish(f"{OURS}/note/{arena.me}", b"still here")
    client.settle()
    bob = arena.victims["classmate"]
    eventually(lambda: b"still here" in bob.payloads(f"{OURS}/note/{arena.me}"), "a note")
    client.disconnect()
