"""The tunnel between browsers and the broker: what passes, what does not, and that nothing piles up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import paho.mqtt.client as paho
import pytest
from bandroom.testing import wait_until_async
from bandroom.web.origins import host_known, origin_allowed
from bandroom.web.tunnel import Connack
from bandroom.web.tunnel_limits import Doorkeeper, Limits, Refusal, address_key
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

MQTT = [Subprotocol("mqtt")]
CONNECT = bytes.fromhex("1010 0004 4d515454 04 02 003c 0004 74657374".replace(" ", ""))
ACCEPTED = bytes.fromhex("20020000")
REFUSED = bytes.fromhex("20020005")


async def accept_and_hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(ACCEPTED)
    await writer.drain()
    await reader.read()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(REFUSED)
    await writer.drain()


async def test_mqtt_passes_both_ways_through_a_real_broker(mosquitto: tuple[str, int], door_to: Any) -> None:
    """An ordinary MQTT client publishes and hears itself over the tunnel, and the tunnel ends with it."""
    async with door_to(mosquitto) as door:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "c-1", transport="websockets")
        client.username_pw_set("pupil", "right")
        client.ws_set_options("/mqtt")
        heard: list[bytes] = []
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _u, message: heard.append(message.payload)
        await asyncio.to_thread(client.connect, door.host, door.port)
        client.loop_start()
        client.subscribe("a/#")
        assert await asyncio.to_thread(subscribed.wait, 5)
        for size in (0, 1, 200, 8000):
            client.publish("a/b", b"x" * size)
        await wait_until_async(lambda: len(heard) == 4, what="four messages")
        assert [len(payload) for payload in heard] == [0, 1, 200, 8000]
        assert door.tunnel.figures()["open"] == 1
        assert door.tunnel.counters.accepted == 1
        client.disconnect()
        client.loop_stop()
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_wrong_password_is_told_and_counted(mosquitto: tuple[str, int], door_to: Any) -> None:
    """The broker's refusal reaches the browser as a CONNACK, and counts as a failure of its address."""
    async with door_to(mosquitto) as door:
        codes: list[object] = []
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "c-1", transport="websockets")
        client.username_pw_set("pupil", "wrong")
        client.ws_set_options("/mqtt")
        client.on_connect = lambda _c, _u, _f, code, _p: codes.append(code)
        await asyncio.to_thread(client.connect, door.host, door.port)
        client.loop_start()
        await wait_until_async(lambda: codes, what="a CONNACK")
        client.loop_stop()
        assert str(codes[0]) == "Not authorized"
        assert door.tunnel.counters.refused_by_broker >= 1


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
async def test_cross_site_is_refused(origin: str, scripted_broker: Any, door_to: Any) -> None:
    """A page of another site cannot open the tunnel: nothing of it reaches the broker. (Attack 69.)"""
    reached: list[bool] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(True)

    async with scripted_broker(handler) as broker, door_to(broker) as door:
        with pytest.raises(InvalidStatus) as refused:
            await connect(door.url, subprotocols=MQTT, origin=origin, proxy=None)  # pyright: ignore[reportArgumentType]
        assert refused.value.response.status_code == 403
        assert not reached
        assert door.tunnel.counters.refused_origin == 1


async def test_own_pages_and_public_url_are_let_in(scripted_broker: Any, door_to: Any) -> None:
    """Pages from the same host, and from the public address behind a proxy, may open the tunnel."""
    async with (
        scripted_broker(accept_and_hold) as broker,
        door_to(broker, public_url="https://band.example.org") as door,
    ):
        for origin in (door.origin, "https://band.example.org", None):
            async with connect(door.url, subprotocols=MQTT, origin=origin, proxy=None) as ws:  # pyright: ignore[reportArgumentType]
                await ws.send(CONNECT)
                assert await ws.recv() == ACCEPTED


@pytest.mark.parametrize(
    ("origin", "host", "public", "allowed"),
    [
        (None, "h", None, True),
        ("http://h", "h", None, True),
        ("http://h:80", "h", None, True),
        ("https://h", "h:443", None, True),
        ("http://h", "h:443", None, False),
        ("http://h.evil", "h", None, False),
        ("http://h@evil", "h", None, False),
        ("file://", "h", None, False),
        ("http://[::1]:8080", "[::1]:8080", None, True),
        ("http://h:99999", "h", None, False),
        ("https://p.example", "h", "https://p.example/", True),
        ("http://p.example", "h", "https://p.example/", False),
        ("http://h", None, None, False),
    ],
)
def test_origins(origin: str | None, host: str | None, public: str | None, allowed: bool) -> None:
    """An origin is compared as scheme, host and port; what cannot be read is another site's."""
    assert origin_allowed(origin, host, public) is allowed


async def test_without_the_subprotocol_refused(scripted_broker: Any, door_to: Any) -> None:
    """A WebSocket that does not speak MQTT is turned away before the broker hears of it."""
    async with scripted_broker(accept_and_hold) as broker, door_to(broker) as door:
        with pytest.raises(InvalidStatus) as refused:
            await connect(door.url, proxy=None)
        assert refused.value.response.status_code == 400


@pytest.mark.parametrize(
    ("frame", "code"),
    [("text", 1003), (b"GET / HTTP/1.1\r\n\r\n", 1008), (b"\x00", 1008), (b"\x10" + b"\xff" * 17_000, 1009)],
)
async def test_what_is_not_mqtt_is_closed(frame: bytes | str, code: int, scripted_broker: Any, door_to: Any) -> None:
    """Text, a first packet other than CONNECT and oversized messages close the tunnel with a reason."""
    async with scripted_broker(accept_and_hold) as broker, door_to(broker) as door:
        async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
            await ws.send(frame)
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == code
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_slow_browser_holds_up_the_broker_not_the_memory(scripted_broker: Any, door_to: Any) -> None:
    """While a browser does not read, the tunnel stops reading from the broker: what it holds stays bounded."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1000)
        writer.write(ACCEPTED)
        while True:
            writer.write(b"\x30" + b"x" * 8191)
            await writer.drain()
            sent += 8192

    async with scripted_broker(flood) as broker, door_to(broker, Limits(send_s=0.5)) as door:
        ws = await connect(door.url, subprotocols=MQTT, proxy=None, max_queue=1)
        await ws.send(CONNECT)
        await ws.recv()
        # Never reading again: the flood comes to a stand (socket buffers hold a few MB), then the time-out ends it.
        await wait_until_async(lambda: door.tunnel.counters.timeouts == 1, what="the time-out of a slow reader")
        assert sent < 16_000_000
        ws.transport.abort()
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_slow_broker_holds_up_the_browser(scripted_broker: Any, door_to: Any) -> None:
    """While the broker does not read, the browser's messages stay in the browser."""
    hold = asyncio.Event()

    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(ACCEPTED)
        await writer.drain()
        await hold.wait()

    async with scripted_broker(stuck) as broker, door_to(broker) as door:
        ws = await connect(door.url, subprotocols=MQTT, proxy=None, write_limit=1)
        await ws.send(CONNECT)
        assert await ws.recv() == ACCEPTED

        async def send_without_end() -> None:
            for _ in range(4_000):
                async with asyncio.timeout(0.5):
                    await ws.send(b"\x30" + b"x" * 8191)

        with pytest.raises(TimeoutError):
            await send_without_end()
        hold.set()
        ws.transport.abort()
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_tunnel_without_sign_in_ends(scripted_broker: Any, door_to: Any) -> None:
    """A tunnel that is opened and over which nobody signs in is closed after its time, and gives its place back."""
    async with scripted_broker(accept_and_hold) as broker, door_to(broker, Limits(accept_s=0.2)) as door:
        async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1008
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_broker_away_is_told(door_to: Any) -> None:
    """With no broker behind it the tunnel closes with 'try again later', and it is not counted as a failure."""
    async with door_to(("127.0.0.1", 1), Limits(failures_free=1)) as door:
        for _ in range(3):
            async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 1013
        assert door.tunnel.counters.slowed == 0


async def test_broker_that_closes_ends_the_tunnel(scripted_broker: Any, door_to: Any) -> None:
    """When the broker ends a connection the browser's side closes at once, so that it can connect anew."""

    async def brief(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(ACCEPTED)
        await writer.drain()

    async with scripted_broker(brief) as broker, door_to(broker) as door:
        async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
            await ws.send(CONNECT)
            assert await ws.recv() == ACCEPTED
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1000
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")


async def test_places_are_limited(scripted_broker: Any, door_to: Any) -> None:
    """More tunnels than one address may hold are turned away with 429, and a place that is freed can be taken."""
    limits = Limits(per_address=2)
    async with scripted_broker(accept_and_hold) as broker, door_to(broker, limits) as door:
        first = await connect(door.url, subprotocols=MQTT, proxy=None)
        second = await connect(door.url, subprotocols=MQTT, proxy=None)
        with pytest.raises(InvalidStatus) as refused:
            await connect(door.url, subprotocols=MQTT, proxy=None)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "5"
        await first.close()
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 1, what="a free place")
        third = await connect(door.url, subprotocols=MQTT, proxy=None)
        await second.close()
        await third.close()


async def test_address_that_keeps_failing_is_slowed_down(scripted_broker: Any, door_to: Any) -> None:
    """Refused CONNECTs are counted for their address; past the free ones its connections have to wait."""
    limits = Limits(failures_free=2, failures_per_s=0.001, slowed_per_s=2.0)
    async with scripted_broker(refuse) as broker, door_to(broker, limits) as door:
        for _ in range(5):
            async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
                await ws.send(CONNECT)
                assert await ws.recv() == REFUSED
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
        assert door.tunnel.counters.refused_by_broker == 5
        assert door.tunnel.counters.slowed >= 1


def test_doorkeeper_slows_and_forgives() -> None:
    """Only failures are counted: a class that joins well never waits; a failing address waits in turn, then is
    turned away, and is forgiven with time; another address notices nothing."""
    keeper = Doorkeeper(Limits(failures_free=3, failures_per_s=0.5, slowed_per_s=2.0, slowed_wait_s=1.0))
    for _ in range(100):
        assert keeper.enter("school", 0.0) == 0.0
        keeper.accepted("school", 0.0)
    for _ in range(3):
        assert keeper.enter("school", 0.0) == 0.0
        keeper.failed("school", 0.0)
        keeper.leave("school", 0.0)
    assert [keeper.enter("school", 0.0) for _ in range(3)] == [0.0, 0.5, 1.0]
    refused = keeper.enter("school", 0.0)
    assert refused == Refusal("address_failing", 1.5)
    assert keeper.enter("elsewhere", 0.0) == 0.0
    assert keeper.enter("school", 2.0) == 0.0
    assert keeper.open == 105


def test_doorkeeper_forgets_idle_addresses_only() -> None:
    """Its memory is bounded, and an address with open connections keeps its count."""
    keeper = Doorkeeper(Limits(addresses=10))
    keeper.enter("held", 0.0)
    for i in range(100):
        keeper.enter(f"a{i}", 0.0)
        keeper.failed(f"a{i}", 0.0)
        keeper.leave(f"a{i}", 0.0)
    assert keeper.remembered <= 11
    keeper.leave("held", 0.0)
    assert keeper.open == 0


def test_doorkeeper_forgets_who_has_nothing_to_be_remembered_for() -> None:
    """A minute later, when anybody comes: addresses with nothing open whose failures are forgiven are gone."""
    keeper = Doorkeeper(Limits(failures_free=3, failures_per_s=0.5))
    for key in ("well", "failing", "held"):
        keeper.enter(key, 0.0)
        (keeper.failed if key == "failing" else keeper.accepted)(key, 0.0)
        if key != "held":
            keeper.leave(key, 0.0)
    assert keeper.remembered == 3
    keeper.enter("other", 60.0)
    assert keeper.remembered == 2
    keeper.leave("held", 61.0)
    assert keeper.open == 1


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (None, "local"),
        ("testclient", "local"),
    ],
)
def test_address_keys(host: str | None, key: str) -> None:
    """An IPv6 household holds a /64 of addresses and counts as one."""
    assert address_key(host) == key


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (ACCEPTED, 0),
        (REFUSED, 5),
        (bytes.fromhex("2003008600"), 0x86),
        (bytes.fromhex("2083000100"), 0),
        (b"\x30\x00", 0x80),
    ],
)
def test_connack_is_read_however_it_is_cut(packet: bytes, verdict: int) -> None:
    """The reason code is found in 3.1.1 and 5, whole or byte by byte."""
    assert Connack().feed(packet + b"more") == verdict
    reader = Connack()
    seen = [reader.feed(bytes([byte])) for byte in packet]
    assert seen[-1] == verdict


async def test_nothing_but_the_broker_is_reached(door_to: Any, scripted_broker: Any) -> None:
    """Whatever a client puts into path, query or headers, its bytes go to the broker and nowhere else. (Attack 67.)"""
    elsewhere: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.append(await reader.read(1000))

    async with scripted_broker(accept_and_hold) as broker, scripted_broker(other) as victim, door_to(broker) as door:
        target = f"{victim[0]}:{victim[1]}"
        headers = {"X-Forwarded-Host": target, "Forwarded": f"host={target}", "X-Broker": target}
        for query in ("", f"?host={victim[0]}&port={victim[1]}", f"?url=mqtt://{target}", "?//" + target):
            async with connect(door.url + query, subprotocols=MQTT, additional_headers=headers, proxy=None) as ws:
                await ws.send(CONNECT)
                assert await ws.recv() == ACCEPTED
        for path in (f"/{target}", "/..", "/%2e%2e/mqtt"):
            with pytest.raises(InvalidStatus):
                await connect(door.url + path, subprotocols=MQTT, proxy=None)
    assert elsewhere == []


@pytest.mark.parametrize("trusted", [("127.0.0.1",), ("127.0.0.0/8", "::1")])
async def test_behind_a_proxy_the_real_address_counts(trusted: Any, door_to: Any, scripted_broker: Any) -> None:
    """A proxy that the settings name tells the address that it speaks for; limits are kept by that one, the last that
    the proxy itself has seen, whatever the client wrote before it."""
    limits = Limits(per_address=1)
    async with scripted_broker(accept_and_hold) as broker, door_to(broker, limits, trusted=trusted) as door:
        first, second = await come_from(door, "203.0.113.1"), await come_from(door, "203.0.113.2")
        for told in ("203.0.113.1", "198.51.100.7, 203.0.113.1"):
            with pytest.raises(InvalidStatus) as refused:
                await come_from(door, told)
            assert refused.value.response.status_code == 429
        await first.close()
        await second.close()


async def test_nobody_else_may_name_an_address(door_to: Any, scripted_broker: Any) -> None:
    """Without a trusted proxy a client's own X-Forwarded-For is air: it gets round no limit."""
    async with scripted_broker(accept_and_hold) as broker, door_to(broker, Limits(per_address=1)) as door:
        first = await come_from(door, "203.0.113.1")
        with pytest.raises(InvalidStatus) as refused:
            await come_from(door, "203.0.113.2")
        assert refused.value.response.status_code == 429
        await first.close()


async def come_from(door: Any, address: str) -> ClientConnection:
    """A tunnel for which somebody claims that it comes from ``address``."""
    headers = {"X-Forwarded-For": address}
    return await connect(door.url, subprotocols=MQTT, additional_headers=headers, proxy=None)


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("192.168.1.20:8080", True),
        ("[fe80::1]:8080", True),
        ("localhost:8080", True),
        ("musicserver", True),
        ("band.local:8080", True),
        ("band.example.org", True),
        ("BAND.example.org:443", True),
        ("evil.example:8080", False),
        ("band.example.org.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("local.", True),
        ("", False),
        (None, False),
    ],
)
def test_names_that_another_site_could_own_are_not_ours(host: str | None, known: bool) -> None:
    """A site that points its own name at this machine's address (DNS rebinding) has no page here: such a name is
    ours only if it is the public URL's."""
    assert host_known(host, "https://band.example.org") is known
    assert origin_allowed(f"http://{host}", host, "https://band.example.org") is (known and host is not None)


async def test_silence_counts_against_its_address(scripted_broker: Any, door_to: Any) -> None:
    """Tunnels that are opened and left without a word are failures of their address, as wrong passwords are."""
    limits = Limits(accept_s=0.05, failures_free=1, failures_per_s=0.001)
    async with scripted_broker(accept_and_hold) as broker, door_to(broker, limits) as door:
        for _ in range(3):
            async with connect(door.url, subprotocols=MQTT, proxy=None) as ws:
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
        assert door.tunnel.counters.slowed >= 1
