"""In the broker's place, to show that nothing else is the bottleneck: it copies each packet to its room's sockets.

A process, `python -m bench.trivial SOCKET CLIENTS`: answers CONNECT and SUBSCRIBE of so many clients on a TCP port,
then reads the pump's packets from the Unix socket and writes each as it is to everybody who asked for its topic, one
write a delivery, as any broker must. It looks at nothing and checks nothing. Prints {"port": …} at once.
"""

import json
import select
import socket
import sys
from collections import defaultdict
from contextlib import suppress

from bench.pump import SIZE

_WELCOME = b"\x20\x02\x00\x00"
_GRANTED = b"\x90\x03\x00\x01\x00"


def _filter(data: bytes) -> bytes | None:
    """The first filter in a CONNECT and a SUBSCRIBE, sent together; None while they are incomplete."""
    at = 1
    for _ in range(2):
        length = shift = 0
        while True:
            if at >= len(data):
                return None
            length |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                break
        body, at = at, at + length + 1
    if at - 1 > len(data):
        return None
    return data[body + 4 : body + 4 + int.from_bytes(data[body + 2 : body + 4], "big")]


def main() -> None:
    path, clients = sys.argv[1], int(sys.argv[2])
    local = socket.socket(socket.AF_UNIX)
    local.bind(path)
    local.listen()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    rooms: dict[bytes, list[socket.socket]] = defaultdict(list)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    new: dict[int, tuple[socket.socket, bytes]] = {}
    while clients:
        for fd, _ in epoll.poll():
            if fd == listener.fileno():
                peer = listener.accept()[0]
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                new[peer.fileno()] = (peer, b"")
                epoll.register(peer.fileno(), select.EPOLLIN)
                continue
            peer, data = new[fd]
            data += peer.recv(4096)
            new[fd] = (peer, data)
            name = _filter(data)
            if name is not None:
                peer.sendall(_WELCOME + _GRANTED)
                peer.setblocking(False)
                epoll.unregister(fd)
                rooms[name].append(peer)
                clients -= 1
    pump = local.accept()[0]
    pump.recv(4096)
    pump.sendall(_WELCOME)
    rest = b""
    while data := pump.recv(65536):
        rest += data
        whole = len(rest) - len(rest) % SIZE
        for at in range(0, whole, SIZE):
            packet = rest[at : at + SIZE]
            for peer in rooms[packet[4 : 4 + packet[3]]]:
                with suppress(BlockingIOError):  # dropped, as a broker drops for who does not read
                    peer.send(packet)
        rest = rest[whole:]


if __name__ == "__main__":
    main()
