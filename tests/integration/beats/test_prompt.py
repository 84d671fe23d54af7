"""That a publish is on its way when `publish` returns: what clock pings depend on."""

import asyncio
import socket
from pathlib import Path

from bandroom.mqtt import Credential, UnixSocket, connect, packets
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import ClockPing
from bandroom.wire.topics import Room

ROOM = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))
ADA = Subject("s-ada")


async def test_a_ping_is_written_before_publish_returns(tmp_path: Path) -> None:
    """No turn of the event loop lies between the call and the socket: the bytes are there when the call returns."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.setblocking(False)
    loop = asyncio.get_running_loop()

    async def broker() -> socket.socket:
        peer, _ = await loop.sock_accept(listener)
        await loop.sock_recv(peer, 4096)
        await loop.sock_sendall(peer, b"\x20\x02\x00\x00")
        return peer

    accepting = asyncio.create_task(broker())
    who = Credential.fixed("lincoln/s-ada", "lincoln_s-ada", "x")
    with listener:
        async with connect(UnixSocket(str(tmp_path / "s")), who, will=None) as connection:
            peer = await accepting
            with peer:
                peer.setblocking(False)
                await connection.publish(ROOM.clock_ping(ADA), ClockPing("abcdefgh", 1))
                # A plain recv: the event loop has no part in it, so nothing can be written meanwhile.
                (packet,) = packets.Decoder().feed(peer.recv(4096))
    assert isinstance(packet, packets.Publish)
    assert packet.payload == ClockPing("abcdefgh", 1).encode()
