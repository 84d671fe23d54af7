# A small MQTT 3.1.1 client for MicroPython's asyncio: clean session, Will, QoS 0 in, QoS 0 or 1 out. It streams:
# no packet is held twice, and one that is longer than `limit` is read past instead of filling the memory.

import asyncio
import struct

LIMIT = 2048


class MqttError(OSError):
    pass


# The broker answered and said no: `args[0]` is the CONNACK's code (4: bad credential, 5: not allowed).
class Refused(MqttError):
    pass


def _string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data


def packet(kind, body):
    head = bytearray([kind])
    left = len(body)
    while True:
        byte = left & 0x7F
        left >>= 7
        head.append(byte | (0x80 if left else 0))
        if not left:
            return bytes(head) + body


def connect_packet(client_id, user, password, will, keepalive_s):
    topic, message = will
    # Clean session, a retained Will at QoS 1, user name, password.
    flags = 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
    body = _string("MQTT") + bytes([4, flags]) + struct.pack("!H", keepalive_s)
    return packet(0x10, body + b"".join(_string(text) for text in (client_id, topic, message, user, password)))


class Mqtt:
    def __init__(self, on_message, keepalive_s=20, limit=LIMIT):
        # on_message(topic: str, payload: bytes, retained: bool); `None` where a subscription was refused.
        self._on_message = on_message
        self._keepalive_s = keepalive_s
        self._limit = limit
        self._id = 0
        self._out = None
        self.skipped = 0

    @property
    def connected(self):
        return self._out is not None

    # Connect, encrypted where there is an `ssl` context (MicroPython 1.22); raises Refused, MqttError or OSError.
    async def open(self, host, port, client_id, user, password, will, ssl=None):
        encrypted = {"ssl": ssl, "server_hostname": host} if ssl else {}
        self._in, out = await asyncio.wait_for(asyncio.open_connection(host, port, **encrypted), 10)
        try:
            # Without TCP_NODELAY a small packet waits up to 40 ms for the one before it to be acknowledged.
            out.s.setsockopt(6, 1, 1)
        except (AttributeError, OSError):
            pass  # a port whose sockets cannot
        try:
            out.write(connect_packet(client_id, user, password, will, self._keepalive_s))
            await out.drain()
            answer = await asyncio.wait_for(self._in.readexactly(4), 10)
            if answer[0] != 0x20:
                raise MqttError("not a broker")
            if answer[3]:
                raise Refused(answer[3])
        except BaseException:
            out.close()
            raise
        self._out = out

    # Read until the connection ends (MqttError or OSError), sending a PINGREQ when it is time.
    async def run(self):
        pinger = asyncio.create_task(self._ping())
        try:
            while True:
                # The broker answers each PINGREQ, so silence for longer than this means that it is gone.
                await asyncio.wait_for(self._packet(), self._keepalive_s * 3 // 2)
        except (asyncio.TimeoutError, EOFError):
            raise MqttError("silence")
        finally:
            pinger.cancel()
            self.abandon()

    def abandon(self):
        out = self._out
        self._out = None
        if out is not None:
            out.close()

    async def publish(self, topic, payload, qos=0, retain=False):
        body = _string(topic)
        if qos:
            body += struct.pack("!H", self._next_id())
        await self._send(packet(0x30 | qos << 1 | (1 if retain else 0), body + payload))

    async def subscribe(self, *topics):
        body = struct.pack("!H", self._next_id())
        await self._send(packet(0x82, body + b"".join(_string(topic) + b"\x00" for topic in topics)))

    async def unsubscribe(self, *topics):
        body = struct.pack("!H", self._next_id())
        await self._send(packet(0xA2, body + b"".join(_string(topic) for topic in topics)))

    # A goodbye, so that the broker sends no Will.
    async def close(self):
        if self.connected:
            await self._send(b"\xe0\x00")
            self.abandon()

    async def _send(self, data):
        out = self._out
        if out is None:
            raise MqttError("not connected")
        out.write(data)
        await out.drain()

    def _next_id(self):
        self._id = self._id % 65535 + 1
        return self._id

    async def _ping(self):
        while True:
            await asyncio.sleep(self._keepalive_s // 2)
            await self._send(b"\xc0\x00")

    async def _packet(self):
        kind = (await self._in.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self._in.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
            if shift > 21:
                raise MqttError("bad length")
        if length > self._limit:
            self.skipped += 1
            while length:
                length -= len(await self._in.read(min(length, 256)))
            return
        body = await self._in.readexactly(length) if length else b""
        if kind & 0xF0 == 0x30:
            await self._received(kind, body)
        elif kind == 0x90 and any(code & 0x80 for code in body[2:]):
            self._on_message(None, body, False)

    async def _received(self, kind, body):
        end = 2 + struct.unpack_from("!H", body)[0]
        topic = body[2:end].decode()
        if kind & 0x06:
            await self._send(b"\x40\x02" + body[end : end + 2])
            end += 2
        self._on_message(topic, body[end:], bool(kind & 1))
