"""The MQTT client against a real broker: it comes back by itself, and nothing that arrives can hurt it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import aiomqtt
import pytest
from bandroom.mqtt import (
    Backoff,
    Connected,
    ConnectFailed,
    Credential,
    Disconnected,
    NotConnected,
    Tcp,
    UnixSocket,
    WebSocket,
    connect,
)
from bandroom.testing import wait_until_async
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import Note, Presence, RoomInfo
from bandroom.wire.topics import Filter, Leaf, Room, presence

from bench.broker import Broker, free_port, running

LINCOLN = TenantId("lincoln")
ROOM = Room(LINCOLN, RoomId("MUSIC-1234"))
ADA = Subject("s-ada")
PUPIL = Credential.fixed("lincoln/s-ada", "lincoln_s-ada", "x")
LISTENER = Credential.fixed("lincoln/s-bob", "lincoln_s-bob", "x")
INFO = RoomInfo(rev=3, name="Band", state="open")


def quick() -> Backoff:
    return Backoff(first_s=(0.01, 0.02), rng=Random(1))


async def test_messages_travel_typed_over_tcp_and_unix_socket(bare_broker: Broker) -> None:
    """A message published on a topic arrives as the same model, from TCP to the Unix socket."""
    async with (
        connect(UnixSocket(bare_broker.socket_path), LISTENER, will=None) as ear,
        connect(Tcp("127.0.0.1", bare_broker.port), PUPIL, will=None) as mouth,
    ):
        await ear.subscribe(Filter(Leaf.NOTE, LINCOLN, ROOM.room))
        await mouth.publish(ROOM.note(ADA), Note(on=(60, 64), v=90))
        async with asyncio.timeout(5):
            got = await anext(ear.messages)
    assert got.topic == ROOM.note(ADA)
    assert got.message == Note(on=(60, 64), v=90)
    assert not got.retained


async def test_retained_topics_and_clearing(bare_broker: Broker) -> None:
    """A retained message waits for a late subscriber, and clearing it arrives as a message of None."""
    async with (
        connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None) as ear,
        connect(Tcp("127.0.0.1", bare_broker.port), PUPIL, will=None) as mouth,
    ):
        await mouth.publish(ROOM.info(), INFO)
        await ear.subscribe(Filter.of(ROOM.info()))
        async with asyncio.timeout(5):
            first = await anext(ear.messages)
            await mouth.clear(ROOM.info())
            second = await anext(ear.messages)
        with pytest.raises(ValueError, match="not retained"):
            await mouth.clear(ROOM.note(ADA))
    assert (first.message, first.retained) == (INFO, True)
    assert second.message is None


async def test_it_reconnects_and_renews_its_subscriptions(bare_broker: Broker) -> None:
    """After kill -9 of the broker the client says so, comes back by itself, and hears its topics again."""
    async with connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None, backoff=quick()) as ear:
        await ear.subscribe(Filter.of(ROOM.note(ADA)))
        states = ear.states()
        assert await anext(states) == Connected(1)
        bare_broker.kill()
        async with asyncio.timeout(10):
            assert isinstance(await anext(states), Disconnected)
            with pytest.raises(NotConnected):
                await ear.publish(ROOM.note(ADA), Note(on=60))
            bare_broker.restart()
            assert await ear.wait_connected() == Connected(2)
            await ear.publish(ROOM.note(ADA), Note(on=61))
            assert (await anext(ear.messages)).message == Note(on=61)


@pytest.mark.rule("MSG-1")
async def test_undecodable_payloads_are_counted_not_raised(bare_broker: Broker) -> None:
    """Random bytes, wrong types, deep JSON and topics that are none of ours: a count, and the next message arrives."""
    rubbish = [b"\xff\xfe", b"{", b'{"on":"x"}', b'{"on":NaN}', b'{"on":1e30}', b"[" * 7000, b"null", b"x" * 9000]
    async with (
        connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None) as ear,
        aiomqtt.Client("127.0.0.1", bare_broker.port) as attacker,
    ):
        await ear.subscribe(Filter.of(ROOM.note(ADA)), Filter(Leaf.NOTE, None))
        for payload in rubbish:
            await attacker.publish(ROOM.note(ADA).name, payload)
        await attacker.publish("tenant/UPPER/music_room/MUSIC-1234/note/s-ada", b'{"on":60}')
        await attacker.publish(ROOM.note(ADA).name, b'{"on":60}')
        async with asyncio.timeout(5):
            assert (await anext(ear.messages)).message == Note(on=60)
        # The overlapping filters may bring each message once or twice, as the broker likes.
        assert ear.counters.undecodable >= len(rubbish) + 1
        assert ear.connected


async def test_a_slow_reader_bounds_the_queue(bare_broker: Broker) -> None:
    """Of 50 messages that nobody reads, as many wait as the queue holds; the others are counted."""
    async with connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None, max_queued=10) as ear:
        await ear.subscribe(Filter.of(ROOM.note(ADA)))
        for key in range(50):
            await ear.publish(ROOM.note(ADA), Note(on=key))
        await wait_until_async(lambda: ear.counters.received == 50, what="all arrived")
        assert ear.counters.overflowed == 40
        assert (await anext(ear.messages)).message == Note(on=0)


@pytest.mark.rule("PRES-2")
async def test_a_device_must_have_a_will_and_it_is_sent_only_on_a_loss(bare_broker: Broker) -> None:
    """Leaving the block sends no Will; a device without one cannot connect at all."""
    device = Credential.fixed("lincoln/d-drum/1", "lincoln_d-drum", "x")
    drum = Subject("d-drum")
    where = Tcp("127.0.0.1", bare_broker.port)
    with pytest.raises(ValueError, match="needs a Will"):
        async with connect(where, device, will=None):
            pass
    async with connect(where, LISTENER, will=None) as ear:
        await ear.subscribe(Filter(Leaf.PRESENCE, LINCOLN))
        async with connect(where, device, will=(presence(LINCOLN, drum), Presence("lost", 1))) as left:
            await left.publish(presence(LINCOLN, drum), Presence("disconnected", 1))
        # Somebody takes the client id over: the broker drops the first, whose Will speaks.
        async with (
            connect(where, device, will=(presence(LINCOLN, drum), Presence("lost", 2)), backoff=quick()),
            aiomqtt.Client("127.0.0.1", bare_broker.port, identifier="lincoln_d-drum"),
            asyncio.timeout(5),
        ):
            said = [(await anext(ear.messages)).message for _ in range(2)]
    assert said == [Presence("disconnected", 1), Presence("lost", 2)]


async def test_connecting_to_nobody_says_why_and_can_be_cancelled() -> None:
    """With a limit, connecting to a dead port fails with the reason; without one it waits, and cancels at once."""
    where = Tcp("127.0.0.1", 1)
    with pytest.raises(ConnectFailed, match=r"mqtt://127\.0\.0\.1:1 as lincoln/s-bob") as caught:
        async with connect(where, LISTENER, will=None, backoff=quick(), give_up_after_s=0.2):
            pass
    assert not caught.value.refused
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), connect(where, LISTENER, will=None, backoff=quick()):
            pass
    async with connect(where, LISTENER, will=None, wait=False) as connection:
        assert not connection.connected


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_cancelling_at_any_moment_leaves_nothing_behind(
    bare_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Cancelled after 0 to 10 ms, so at every stage of connecting: no task, no socket and no error in the log stays."""
    before, tasks = open_files(), len(asyncio.all_tasks())
    for tenths in range(100):
        try:
            async with asyncio.timeout(tenths / 10_000), connect(Tcp("127.0.0.1", bare_broker.port), PUPIL, will=None):
                pass
        except TimeoutError:
            pass
    await wait_until_async(lambda: len(asyncio.all_tasks()) <= tasks and open_files() <= before, what="all closed")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_cancelling_while_the_broker_is_silent_is_quick(bare_broker: Broker) -> None:
    """A broker that accepts and never answers does not hold a cancelled client for longer than a second."""
    bare_broker.pause()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None):
            pass
    assert loop.time() - began < 2.0
    bare_broker.resume()


async def test_a_refused_credential_is_offered_again(tmp_path: Path) -> None:
    """A refused CONNACK means wait and try the same again; the password is asked anew each time."""
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        return "wrong"

    with running(tmp_path / "closed", "allow_anonymous false\n") as broker:
        who = Credential("lincoln/s-ada", "lincoln_s-ada", password)
        with pytest.raises(ConnectFailed) as caught:
            async with connect(Tcp("127.0.0.1", broker.port), who, will=None, backoff=quick(), give_up_after_s=0.5):
                pass
    assert caught.value.refused
    assert len(asked) >= 3


async def test_messages_travel_inside_a_websocket(tmp_path: Path) -> None:
    """The same client speaks MQTT inside a WebSocket, as a browser does."""
    port = free_port()
    with running(tmp_path / "ws", f"allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets\n") as broker:
        async with (
            connect(Tcp("127.0.0.1", broker.port), PUPIL, will=None) as mouth,
            connect(WebSocket(f"ws://127.0.0.1:{port}/mqtt"), LISTENER, will=None) as ear,
        ):
            await ear.subscribe(Filter.of(ROOM.note(ADA)))
            await mouth.publish(ROOM.note(ADA), Note(on=60))
            async with asyncio.timeout(5):
                assert (await anext(ear.messages)).message == Note(on=60)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Tcp("", 1883), "host"),
        (lambda: Tcp("a b", 1883), "host"),
        (lambda: Tcp("localhost", 0), "port"),
        (lambda: Tcp("localhost", 65536), "port"),
        (lambda: UnixSocket(""), "path"),
        (lambda: UnixSocket("/" + "x" * 107), "path"),
        (lambda: WebSocket("http://localhost/mqtt"), "ws://"),
        (lambda: WebSocket("ws:///mqtt"), "host"),
        (lambda: WebSocket("ws://user:secret@localhost/mqtt"), "password"),
    ],
)
def test_an_impossible_endpoint_is_refused(make: Callable[[], object], says: str) -> None:
    """A wrong address is a ValueError when it is written down, not a failure when it is used."""
    with pytest.raises(ValueError, match=says):
        make()


async def test_an_error_in_the_block_comes_out_as_it_is(bare_broker: Broker) -> None:
    """What the program raises inside the block is not wrapped in an ExceptionGroup."""
    with pytest.raises(ZeroDivisionError):
        async with connect(Tcp("127.0.0.1", bare_broker.port), LISTENER, will=None):
            raise ZeroDivisionError
