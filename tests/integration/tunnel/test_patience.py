"""The web port's patience with those who send too little, too much, or never read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from typing import Any

import pytest
from bandroom.testing import wait_until_async
from bandroom.web.connections import FRAGMENTS, PINGS, PatientHttp
from bandroom.web.tunnel_limits import Limits, Pace
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from .test_tunnel import ACCEPTED, CONNECT, MQTT, accept_and_hold

UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)
TEXT, BINARY, PING = 1, 2, 9


def frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A masked frame, as a client sends it; up to 125 bytes."""
    mask = os.urandom(4)
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
    return struct.pack("!BB", opcode | (0x80 if fin else 0), 0x80 | len(data)) + mask + body


@contextlib.asynccontextmanager
async def raw(door: Any, head: bytes = UPGRADE):
    """A socket to the web port over which ``head`` has been sent; with the upgrade, until it is answered."""
    reader, writer = await asyncio.open_connection(door.host, door.port)
    try:
        writer.write(head)
        if head is UPGRADE:
            assert b"101" in await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side closes."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
    return b""


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /api/join HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "half of the second"],
)
async def test_a_request_that_never_ends_is_given_up(
    head: bytes, scripted_broker: Any, door_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is opened and sends nothing, or a request bit by bit, is not held for ever."""
    monkeypatch.setattr(PatientHttp, "request_s", 0.2)
    async with scripted_broker(accept_and_hold) as broker, door_to(broker) as door, raw(door, head) as (reader, _):
        await end_of(reader)


async def test_a_whole_request_has_all_the_time_it_needs(
    scripted_broker: Any, door_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only requests are waited for with a limit: a tunnel lives on, however long it is there."""
    monkeypatch.setattr(PatientHttp, "request_s", 0.1)
    async with (
        scripted_broker(accept_and_hold) as broker,
        door_to(broker) as door,
        connect(door.url, subprotocols=MQTT, proxy=None) as ws,
    ):
        await ws.send(CONNECT)
        assert await ws.recv() == ACCEPTED
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.3)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(BINARY, b"\x10", fin=False) + frame(0, b"", fin=False) * (FRAGMENTS + 5), 1009),
        (frame(PING, b"x" * 125) * (PINGS + 5), 1008),
        (frame(TEXT, b"hello"), 1003),
    ],
    ids=["fragments", "pings", "text"],
)
async def test_what_would_pile_up_ends_the_tunnel(frames: bytes, code: int, scripted_broker: Any, door_to: Any) -> None:
    """A message in endless empty pieces and pings without end are cut off: neither is kept, neither is answered on."""
    async with scripted_broker(accept_and_hold) as broker, door_to(broker) as door:
        async with raw(door) as (reader, writer):
            writer.write(frames)
            await writer.drain()
            async with asyncio.timeout(5):
                await reader.readuntil(struct.pack("!H", code))
        await wait_until_async(lambda: door.tunnel.figures()["open"] == 0, what="the tunnel's end")
        assert door.tunnel.counters.bad_frames == 1


async def test_many_small_messages_pass_whole_and_in_order(scripted_broker: Any, door_to: Any) -> None:
    """MQTT is a stream: thousands of messages of one byte each arrive at the broker as they were sent."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            heard.extend(data)

    sent = CONNECT + bytes(range(256)) * 12
    async with scripted_broker(listen) as broker, door_to(broker) as door, raw(door) as (_, writer):
        writer.write(b"".join(frame(BINARY, bytes([byte])) for byte in sent))
        await writer.drain()
        await wait_until_async(lambda: len(heard) == len(sent), what="all of it")
        assert bytes(heard) == sent


async def test_one_who_floods_is_held_up_and_nobody_else(scripted_broker: Any, door_to: Any) -> None:
    """What a browser sends beyond its pace stays in its own socket; a neighbour's bytes pass meanwhile."""
    heard: dict[int, int] = {}

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(ACCEPTED)
        while data := await reader.read(65_536):
            heard[data[0]] = heard.get(data[0], 0) + len(data)

    limits = Limits(up_bytes_per_s=200_000.0, up_burst_bytes=20_000.0)
    async with scripted_broker(count) as broker, door_to(broker, limits) as door:
        flood = await connect(door.url, subprotocols=[Subprotocol("mqtt")], proxy=None, write_limit=1)
        good = await connect(door.url, subprotocols=MQTT, proxy=None)
        for ws in (flood, good):
            await ws.send(CONNECT)
            assert await ws.recv() == ACCEPTED

        async def send_without_end() -> None:
            while True:
                await flood.send(b"\x31" * 8_000)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_without_end(), 1.0)
        await good.send(b"\x30" * 100)
        await wait_until_async(lambda: heard.get(0x30) == 100, what="the neighbour's bytes")
        assert door.tunnel.counters.held_up >= 1
        # Unhindered it would be hundreds of megabytes.
        assert heard[0x31] < 3_000_000
        flood.transport.abort()
        await good.close()


def test_a_pace_is_kept_in_the_long_run() -> None:
    """A burst is free, beyond it the waits make the rate; rest fills the bucket up to its burst and not beyond."""
    pace = Pace(per_s=100.0, burst=50.0, left=50.0, at=0.0)
    assert pace.spend(50, 0.0) == 0.0
    assert pace.spend(100, 0.0) == 1.0
    assert pace.spend(0, 1.0) == 0.0
    assert pace.spend(60, 1_000.0) == pytest.approx(0.1)
