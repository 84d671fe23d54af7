"""The beat writer against brokers that misbehave: what it writes is always whole packets, and it always comes back."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from bandroom.mqtt import Backoff, Credential, UnixSocket, packets
from bandroom.mqtt.beat_writer import BeatWriter, Event, Offline, Online

WHO = Credential.fixed("bandroom/tempo-0", "bandroom_tempo-0", "x")
TOPIC = packets.string("tenant/lincoln/music_room/MUSIC-1234/beat")


class FakeBroker:
    """A listening Unix socket, and by hand what a broker would say."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.decoder = packets.Decoder()

    def accept(self, code: int = 0) -> socket.socket:
        """Take a connection, read its CONNECT, answer with `code`."""
        peer, _ = self.listener.accept()
        peer.settimeout(5)
        assert peer.recv(4096)[0] == 0x10
        peer.sendall(b"\x20\x02\x00" + bytes((code,)))
        return peer


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FakeBroker]:
    fake = FakeBroker(tmp_path / "s")
    with closing(fake.listener):
        yield fake


def writer_to(tmp_path: Path, **options: int) -> BeatWriter:
    return BeatWriter(UnixSocket(str(tmp_path / "s")), WHO, backoff=Backoff((0.01, 0.02), rng=Random(1)), **options)


def step_until(writer: BeatWriter, kind: type[Event], timeout_s: float = 5.0) -> list[Event]:
    """Drive the writer as the worker does, until something of `kind` happened."""
    seen: list[Event] = []
    deadline_s = time.monotonic() + timeout_s
    while not any(isinstance(event, kind) for event in seen):
        assert time.monotonic() < deadline_s, seen
        fds = [writer] if writer.fileno() >= 0 else []
        select.select(fds, [], [], max(0.0, min(0.05, writer.wake_at_s() - time.monotonic())))
        seen += writer.step(time.monotonic())
    return seen


def connected(writer: BeatWriter, broker: FakeBroker) -> socket.socket:
    assert writer.step(time.monotonic()) == []
    peer = broker.accept()
    step_until(writer, Online)
    return peer


def beats(count: int, size: int = 400) -> list[bytes]:
    return [packets.publish(TOPIC, b"%06d" % i + b"x" * size) for i in range(count)]


def read_all(peer: socket.socket, quiet_s: float = 0.3) -> bytes:
    data = b""
    peer.settimeout(quiet_s)
    try:
        while chunk := peer.recv(1 << 20):
            data += chunk
    except TimeoutError:
        pass
    return data


def test_a_broker_that_stops_reading_gets_whole_packets_only(tmp_path: Path, broker: FakeBroker) -> None:
    """What does not fit is refused and counted; a packet cut in the middle is finished before the next one."""
    writer = writer_to(tmp_path)
    with connected(writer, broker) as peer:
        batch = beats(20_000)
        taken = writer.send(batch)
        assert 0 < taken < len(batch)
        assert writer.stalls == 1
        assert writer.send(beats(10)) == 0
        first = read_all(peer)
        assert writer.send([packets.publish(TOPIC, b"after")]) == 1
        got = [packet.payload for packet in packets.Decoder().feed(first + read_all(peer))]  # type: ignore[union-attr]
    assert [int(payload[:6]) for payload in got[:-1]] == list(range(taken))
    assert got[-1] == b"after"


def test_a_refused_connection_is_tried_again_with_a_new_password(tmp_path: Path, broker: FakeBroker) -> None:
    """A refused CONNACK means wait and try the same again; the password is asked anew."""
    asked: list[str] = []
    who = Credential(WHO.username, WHO.client_id, lambda: asked.append("x") or "x")
    writer = BeatWriter(UnixSocket(str(tmp_path / "s")), who, backoff=Backoff((0.01, 0.02), rng=Random(1)))
    writer.step(time.monotonic())
    with broker.accept(5):
        (event,) = step_until(writer, Offline)
        assert isinstance(event, Offline)
        assert "refused" in event.reason
    while writer.fileno() < 0:
        writer.step(time.monotonic())
    with broker.accept():
        step_until(writer, Online)
    assert len(asked) == 2


def test_nothing_is_sent_while_offline_and_nothing_is_kept(tmp_path: Path, broker: FakeBroker) -> None:
    """Beats offered without a connection are refused, and the next connection does not begin with them."""
    writer = writer_to(tmp_path)
    assert writer.send(beats(3)) == 0
    peer = connected(writer, broker)
    peer.close()
    step_until(writer, Offline)
    assert writer.send(beats(3)) == 0
    while writer.fileno() < 0:
        writer.step(time.monotonic())
    with broker.accept() as peer:
        step_until(writer, Online)
        assert writer.send(beats(1)) == 1
        assert len(list(packets.Decoder().feed(read_all(peer)))) == 1


def test_a_silent_broker_is_given_up(tmp_path: Path, broker: FakeBroker) -> None:
    """No answer to a ping within the keep-alive: the connection is taken for lost. Time is an argument here."""
    writer = writer_to(tmp_path, keepalive_s=10)
    with connected(writer, broker) as peer:
        now_s = time.monotonic()
        assert writer.step(now_s + 5.5) == []
        assert read_all(peer, 0.1) == packets.PINGREQ
        (event,) = writer.step(now_s + 10.5)
        assert event == Offline("the broker does not answer")


def test_rubbish_from_the_broker_ends_the_connection_and_nothing_else(tmp_path: Path, broker: FakeBroker) -> None:
    """Bytes that are no MQTT: a reason, and another try."""
    writer = writer_to(tmp_path)
    with connected(writer, broker) as peer:
        peer.sendall(b"\x00" * 50)
        (event,) = step_until(writer, Offline)
        assert isinstance(event, Offline)
        assert "unexpected packet" in event.reason


def test_no_socket_no_crash(tmp_path: Path) -> None:
    """Where there is no broker yet, it waits and says why."""
    writer = writer_to(tmp_path)
    (event,) = step_until(writer, Offline)
    assert isinstance(event, Offline)
    assert "No such file" in event.reason
