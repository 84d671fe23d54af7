"""A blocking MQTT client of bare packets: it can send what no client library would."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14


class Packet(NamedTuple):
    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retained: bool


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes = b"lost 0"
    qos: int = 1
    retain: bool = True
    delay_s: int = 0


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def variable(number: int) -> bytes:
    """A length as MQTT writes it: seven bits a byte, the lowest first."""
    size, rest = b"", number
    while True:
        rest, digit = divmod(rest, 128)
        size += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return size


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags]) + variable(len(body)) + body


def connect_packet(
    client_id: str | bytes,
    username: str | bytes | None,
    password: str | bytes | None,
    *,
    clean: bool = True,
    will: Will | None = None,
    version: int = 4,
    properties: bytes = b"",
    keepalive: int = 60,
) -> bytes:
    flags = (0x02 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    if will:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    body = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keepalive)
    if version == 5:
        body += variable(len(properties)) + properties
    body += text(client_id)
    if will:
        if version == 5:
            body += b"\x05\x18" + struct.pack(">I", will.delay_s)
        body += text(will.topic) + text(will.payload)
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(CONNECT, body)


class Refused(Exception):
    """The broker answered CONNECT with a code other than 0, or closed the connection (code None)."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"CONNECT refused with {code}")
        self.code = code


@dataclass
class Client:
    """One connection. Reads wait at most `patience` seconds, then fail the test."""

    sock: socket.socket
    version: int = 4
    patience: float = 5.0
    buffer: bytes = b""
    messages: list[Message] = field(default_factory=list[Message])
    last_id: int = 0

    @classmethod
    def open(cls, address: tuple[str, int] | str, connect: bytes, version: int = 4, patience: float = 5.0) -> Client:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(patience)
        sock.connect(address)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = cls(sock, version, patience)
        try:
            client.send(connect)
            answer = client.read()
        except ConnectionError:
            answer = None
        if answer is None or answer.kind != CONNACK or answer.body[1] != 0:
            sock.close()
            raise Refused(answer.body[1] if answer else None)
        return client

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, patience: float | None = None) -> Packet | None:
        """The next packet; None: the broker closed the connection. TimeoutError after `patience` seconds."""
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        while True:
            found = self._cut()
            if found:
                return found
            left = deadline - time.monotonic()
            waiter = select.poll()  # select() knows no descriptor above 1023
            waiter.register(self.sock, select.POLLIN)
            if left <= 0 or not waiter.poll(left * 1000):
                raise TimeoutError("nothing came from the broker")
            try:
                more = self.sock.recv(65536)
            except ConnectionError:
                return None
            if not more:
                return None
            self.buffer += more

    def _cut(self) -> Packet | None:
        size, shift, at = 0, 0, 1
        while True:
            if at >= len(self.buffer):
                return None
            digit = self.buffer[at]
            size |= (digit & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not digit & 0x80:
                break
        if len(self.buffer) < at + size:
            return None
        head, body, self.buffer = self.buffer[0], self.buffer[at : at + size], self.buffer[at + size :]
        return Packet(head >> 4, head & 0x0F, body)

    def _take(self, found: Packet) -> None:
        if found.kind != PUBLISH:
            return
        qos = found.flags >> 1 & 3
        (length,) = struct.unpack_from(">H", found.body)
        topic, at = found.body[2 : 2 + length].decode(), 2 + length
        if qos:
            (packet_id,) = struct.unpack_from(">H", found.body, at)
            at += 2
            self.send(packet(PUBACK, struct.pack(">H", packet_id)))
        if self.version == 5:
            at += 1 + found.body[at]
        self.messages.append(Message(topic, found.body[at:], qos, bool(found.flags & 1)))

    def until(self, kind: int) -> Packet:
        """Reads on to the next packet of `kind`; messages that come before it are kept in `messages`."""
        while True:
            found = self.read()
            if found is None:
                raise ConnectionError("the broker closed the connection")
            if found.kind == kind:
                return found
            self._take(found)

    def _next_id(self) -> int:
        self.last_id = self.last_id % 65535 + 1
        return self.last_id

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """The broker's answers, one for each filter: 0 to 2 granted, 0x80 and above refused."""
        body = struct.pack(">H", self._next_id()) + (b"\0" if self.version == 5 else b"")
        self.send(packet(SUBSCRIBE, body + b"".join(text(f) + bytes([qos]) for f in filters), 2))
        answer = self.until(SUBACK).body
        return list(answer[3:] if self.version == 5 else answer[2:])

    def post(
        self, topic: str, payload: bytes = b"x", qos: int = 0, retain: bool = False, properties: bytes = b""
    ) -> None:
        """Sends, and waits for nothing."""
        body = text(topic)
        packet_id = self._next_id()
        if qos:
            body += struct.pack(">H", packet_id)
        if self.version == 5:
            body += variable(len(properties)) + properties
        self.send(packet(PUBLISH, body + payload, qos << 1 | retain))

    def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 0, retain: bool = False, properties: bytes = b""
    ) -> int | None:
        """Sends; at QoS 1 waits for the PUBACK and returns its reason (0 before MQTT 5)."""
        self.post(topic, payload, qos, retain, properties)
        if qos == 0:
            return None
        answer = self.until(PUBACK if qos == 1 else PUBREC).body
        return answer[2] if len(answer) > 2 else 0

    def settle(self) -> None:
        """Returns once the broker has dealt with everything sent before: PINGREQ is answered in order."""
        self.send(packet(PINGREQ, b""))
        self.until(PINGRESP)

    def heard(self) -> list[Message]:
        """Everything that has arrived by now."""
        self.settle()
        found, self.messages = self.messages, []
        return found

    def wait_message(self) -> Message:
        while not self.messages:
            found = self.read()
            if found is None:
                raise ConnectionError("the broker closed the connection")
            self._take(found)
        return self.messages.pop(0)

    def wait_closed(self, patience: float = 5.0) -> None:
        """Returns once the broker has closed the connection; TimeoutError if it does not."""
        deadline = time.monotonic() + patience
        while (found := self.read(max(0.01, deadline - time.monotonic()))) is not None:
            self._take(found)

    def disconnect(self) -> None:
        try:
            self.send(packet(DISCONNECT, b""))
        except OSError:
            return  # already closed by the broker
        finally:
            self.sock.close()

    def vanish(self) -> None:
        """Closes without DISCONNECT: the broker sends the Will."""
        self.sock.close()
