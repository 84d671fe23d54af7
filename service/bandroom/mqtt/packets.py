"""MQTT 3.1.1 packets, as far as the beat worker and the load generator need them: bytes in, bytes out, no I/O.

The general clients of this project use a general library. Beats have a path of their own because thousands of them
may fall due together: each is a few bytes around a topic that never changes, so it is encoded once, ahead of time,
and a whole batch leaves in one write. Section numbers are those of the MQTT 3.1.1 standard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_PACKET = 256 * 1024
PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"


class ProtocolError(Exception):
    """The other side sent something that is not MQTT 3.1.1, or more of it than we take."""


@dataclass(frozen=True, slots=True)
class Connack:
    session_present: bool
    code: int


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    payload: bytes
    qos: int
    retained: bool
    mid: int


@dataclass(frozen=True, slots=True)
class Puback:
    mid: int


@dataclass(frozen=True, slots=True)
class Suback:
    mid: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pong:
    pass


Packet = Connack | Publish | Puback | Suback | Pong


def remaining_length(length: int) -> bytes:
    """2.2.3: seven bits a byte, the lowest first. Raises ValueError outside 0 to 268,435,455."""
    if length < 128:
        return bytes((length,)) if length >= 0 else _bad_length(length)
    if length > 268_435_455:
        return _bad_length(length)
    out = bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | 0x80 if length else low)
        if not length:
            return bytes(out)


def _bad_length(length: int) -> bytes:
    raise ValueError(f"a packet's length is 0 to 268435455, not {length}")


def string(value: str) -> bytes:
    """1.5.3: two bytes of length, then UTF-8. Raises ValueError when it is over 65,535 bytes long."""
    raw = value.encode()
    if len(raw) > 65_535:
        raise ValueError(f"an MQTT string has at most 65535 bytes, this one {len(raw)}")
    return len(raw).to_bytes(2, "big") + raw


def connect(
    client_id: str,
    username: str,
    password: str,
    *,
    keepalive_s: int,
    will: tuple[str, bytes, int, bool] | None = None,
) -> bytes:
    """3.1: CONNECT with a clean session. `will` is (topic, payload, qos, retain)."""
    flags = 0x02 | 0x80 | 0x40
    body = bytearray(string(client_id))
    if will is not None:
        topic, payload, qos, retain = will
        flags |= 0x04 | (qos << 3) | (0x20 if retain else 0)
        body += string(topic) + len(payload).to_bytes(2, "big") + payload
    body += string(username) + string(password)
    head = string("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big")
    return b"\x10" + remaining_length(len(head) + len(body)) + head + bytes(body)


def publish(topic: bytes, payload: bytes) -> bytes:
    """3.3: a QoS 0 PUBLISH, not retained; `topic` as `string()` gives it, so that callers encode it only once."""
    length = len(topic) + len(payload)
    if length < 128:
        return b"\x30%c%b%b" % (length, topic, payload)
    if length < 16_384:
        return b"\x30%c%c%b%b" % (length & 0x7F | 0x80, length >> 7, topic, payload)
    return b"\x30" + remaining_length(length) + topic + payload


def publish_qos1(topic: bytes, payload: bytes, mid: int, *, retain: bool = False) -> bytes:
    """3.3: a QoS 1 PUBLISH with the packet id `mid` (1 to 65,535)."""
    length = len(topic) + 2 + len(payload)
    return bytes((0x32 | retain,)) + remaining_length(length) + topic + mid.to_bytes(2, "big") + payload


def puback(mid: int) -> bytes:
    return b"\x40\x02" + mid.to_bytes(2, "big")


def subscribe(mid: int, filters: Sequence[tuple[str, int]]) -> bytes:
    """3.8: SUBSCRIBE to (filter, maximum QoS) pairs."""
    body = mid.to_bytes(2, "big") + b"".join(string(name) + bytes((qos,)) for name, qos in filters)
    return b"\x82" + remaining_length(len(body)) + body


class Decoder:
    """Turns a stream of bytes into packets; keeps what is incomplete, at most one packet of `MAX_PACKET` bytes."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterable[Packet]:
        """The packets that `data` completes, in order. Raises ProtocolError for what a broker must not send."""
        buffer = self._buffer
        buffer += data
        packets: list[Packet] = []
        start = 0
        while True:
            frame = _frame(buffer, start)
            if frame is None:
                break
            body, end = frame
            packets.append(_parse(buffer[start], bytes(buffer[body:end])))
            start = end
        del buffer[:start]
        return packets


def _frame(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends, or None while it is incomplete."""
    length = 0
    for index in range(4):
        at = start + 1 + index
        if at >= len(buffer):
            return None
        byte = buffer[at]
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            break
    else:
        raise ProtocolError("a remaining length of more than four bytes")
    if length > MAX_PACKET:
        raise ProtocolError(f"a packet of {length} bytes; at most {MAX_PACKET} are taken")
    end = at + 1 + length
    return (at + 1, end) if end <= len(buffer) else None


def _parse(first: int, body: bytes) -> Packet:
    kind = first >> 4
    if kind == 3:
        return _parse_publish(first, body)
    if kind == 2 and len(body) == 2:
        return Connack(bool(body[0] & 1), body[1])
    if kind == 4 and len(body) == 2:
        return Puback(int.from_bytes(body, "big"))
    if kind == 9 and len(body) >= 3:
        return Suback(int.from_bytes(body[:2], "big"), tuple(body[2:]))
    if kind == 13 and not body:
        return Pong()
    raise ProtocolError(f"an unexpected packet of type {kind} with {len(body)} bytes")


def _parse_publish(first: int, body: bytes) -> Publish:
    qos = (first >> 1) & 3
    topic_end = 2 + int.from_bytes(body[:2], "big") if len(body) >= 2 else len(body) + 1
    payload_at = topic_end + (2 if qos else 0)
    if qos == 3 or payload_at > len(body):
        raise ProtocolError("a PUBLISH that ends inside its own header")
    try:
        topic = body[2:topic_end].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a topic that is not UTF-8") from error
    mid = int.from_bytes(body[topic_end:payload_at], "big") if qos else 0
    return Publish(topic, body[payload_at:], qos, bool(first & 1), mid)
