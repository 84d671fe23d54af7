"""The beat worker's connection: non-blocking, driven by its owner's loop, a whole batch of beats in one write.

No thread and no event loop of its own. The worker waits for a beat to fall due or for this socket, whichever comes
first, so nothing else ever holds the interpreter when a beat is due, and the imports are few: how fast a worker
starts is how long its rooms stay silent after a crash. One connection carries both ways; a worker has more of them
(`bandroom.beats.lanes`).

Nothing is kept for later. What cannot be written now is the caller's to drop: a beat that comes late is worse than
none.
"""

import errno
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bandroom.mqtt import packets
from bandroom.mqtt.backoff import Backoff
from bandroom.mqtt.credential import Credential
from bandroom.mqtt.endpoint import Tcp, UnixSocket

CONNECT_TIMEOUT_S = 3.0
STALL_S = 0.1
_SEND_BUFFER = 1 << 20
_MAX_UNSENT = 64 * 1024
_SUBSCRIBE_MID = 1


@dataclass(frozen=True, slots=True)
class Online:
    """Connected and subscribed: from now on nothing said on the filters is missed."""


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection is gone or was not made; it will be tried again."""

    reason: str


Event = Online | Offline | packets.Publish


class BeatWriter:
    """A connection to `endpoint` that is made again whenever it breaks. Call `step` when its socket is readable
    and at `wake_at_s`; times are of `time.monotonic`, in seconds.

    `keepalive_s`: a broker that has not answered for so long is taken for lost.
    """

    def __init__(
        self,
        endpoint: UnixSocket | Tcp,
        credential: Credential,
        filters: Sequence[tuple[str, int]] = (),
        *,
        backoff: Backoff | None = None,
        keepalive_s: int = 10,
    ) -> None:
        self._endpoint = endpoint
        self._credential = credential
        self._filters = tuple(filters)
        self._backoff = backoff or Backoff()
        self._keepalive_s = keepalive_s
        self._sock: socket.socket | None = None
        self._decoder = packets.Decoder()
        self._unsent = b""
        self._online = False
        self._online_since_s = 0.0
        self._retry_at_s = 0.0
        self._answer_by_s = 0.0
        self._ping_at_s = 0.0
        self.connects = 0
        self.stalls = 0

    @property
    def online(self) -> bool:
        """Whether `send` can succeed."""
        return self._online

    def fileno(self) -> int:
        """The socket to wait for, or -1 while there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    def wake_at_s(self) -> float:
        """When `step` has something to do even if nothing arrives."""
        if self._sock is None:
            return self._retry_at_s
        return min(self._answer_by_s, self._ping_at_s) if self._online else self._answer_by_s

    def step(self, now_s: float) -> list[Event]:
        """Read what came, connect or ping where that is due; returns what happened. Does not block (a TCP connect
        may, for up to `CONNECT_TIMEOUT_S`; the worker uses the Unix socket)."""
        try:
            if self._sock is None:
                if now_s >= self._retry_at_s:
                    self._open(now_s)
                return []
            events = self._read(now_s)
            if now_s >= self._answer_by_s:
                raise ConnectionError("the broker does not answer")
            if self._online and now_s >= self._ping_at_s:
                self._ping_at_s = now_s + self._keepalive_s / 2
                self._write(packets.PINGREQ)
            return events
        except (OSError, packets.ProtocolError) as error:
            return [self._lose(error, now_s)]

    def send(self, batch: Sequence[bytes], stall_s: float = STALL_S) -> int:
        """Write encoded packets at once; returns how many were taken, the first ones.

        When the broker does not read, waits at most `stall_s` for it, then gives up on the rest: it would be late.
        """
        sock = self._sock
        if sock is None or not self._online:
            return 0
        data = memoryview(self._unsent + b"".join(batch) if self._unsent else b"".join(batch))
        head = len(self._unsent)
        try:
            done = sock.send(data)
        except BlockingIOError:
            done = 0
        except OSError as error:
            self._fail_soon(error)
            return 0
        if done < len(data):
            done = self._push(sock, data, done, stall_s)
        return self._taken(batch, data, head, done)

    def close(self) -> None:
        """Say goodbye, if that is possible at once, and close."""
        if self._sock is not None and self._online:
            with suppress(OSError):  # it is being closed anyway
                self._write(packets.DISCONNECT)
        self._drop()

    # -- how it works

    def _open(self, now_s: float) -> None:
        self._answer_by_s = now_s + CONNECT_TIMEOUT_S
        match self._endpoint:
            case UnixSocket(path):
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._sock.setblocking(False)
                self._sock.connect(path)
            case Tcp(host, port):
                self._sock = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        who = self._credential
        self._write(packets.connect(who.client_id, who.username, who.password(), keepalive_s=2 * self._keepalive_s))

    def _read(self, now_s: float) -> list[Event]:
        sock = self._sock
        assert sock is not None  # noqa: S101  (held by step)
        try:
            data = sock.recv(65_536)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("the broker closed the connection")
        events: list[Event] = []
        for packet in self._decoder.feed(data):
            match packet:
                case packets.Publish():
                    if packet.qos:
                        self._write(packets.puback(packet.mid))
                    events.append(packet)
                case packets.Connack(_, code):
                    if code:
                        raise ConnectionError(f"the broker refused the connection (code {code})")
                    if self._filters:
                        self._write(packets.subscribe(_SUBSCRIBE_MID, self._filters))
                    else:
                        events.append(self._now_online(now_s))
                case packets.Suback(_, codes):
                    if any(code >= 0x80 for code in codes):
                        raise ConnectionError("the broker refused the subscription")
                    events.append(self._now_online(now_s))
                case packets.Pong():
                    self._answer_by_s = now_s + self._keepalive_s
                case packets.Puback():
                    pass
        return events

    def _now_online(self, now_s: float) -> Online:
        self._online = True
        self._online_since_s = now_s
        self._answer_by_s = now_s + self._keepalive_s
        self._ping_at_s = now_s + self._keepalive_s / 2
        self.connects += 1
        return Online()

    def _write(self, packet: bytes) -> None:
        """Write a small packet, or as much as goes now; the rest goes first next time."""
        assert self._sock is not None  # noqa: S101  (held by the callers)
        data = self._unsent + packet
        try:
            done = self._sock.send(data)
        except BlockingIOError:
            done = 0
        self._unsent = data[done:]
        if len(self._unsent) > _MAX_UNSENT:
            raise ConnectionError("the broker reads nothing")

    def _push(self, sock: socket.socket, data: memoryview, done: int, stall_s: float) -> int:
        """Go on writing until all is out or the broker has stalled for too long; how far it came."""
        give_up_s = time.monotonic() + stall_s
        while done < len(data):
            left_s = give_up_s - time.monotonic()
            if left_s <= 0 or not select.select([], [sock], [], left_s)[1]:
                self.stalls += 1
                break
            try:
                done += sock.send(data[done:])
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail_soon(error)
                break
        return done

    def _taken(self, batch: Sequence[bytes], data: memoryview, head: int, done: int) -> int:
        """How many packets of the batch are out; a packet that was cut keeps its rest for the next write."""
        if done == len(data):
            self._unsent = b""
            return len(batch)
        end = head
        if done < head:
            self._unsent = bytes(data[done:head])
            return 0
        for taken, packet in enumerate(batch):
            if done <= end:
                self._unsent = b""
                return taken
            end += len(packet)
            if done < end:
                self._unsent = bytes(data[done:end])
                return taken + 1
        self._unsent = b""
        return len(batch)

    def _fail_soon(self, error: OSError) -> None:
        # The loss itself is reported by the next step, which finds the socket dead.
        self._online = False
        self._answer_by_s = 0.0
        if error.errno not in (errno.EPIPE, errno.ECONNRESET) and self._sock is not None:
            self._sock.close()

    def _lose(self, error: Exception, now_s: float) -> Offline:
        if self._online_since_s:
            self._backoff.connected_for(now_s - self._online_since_s)
        self._drop()
        self._retry_at_s = now_s + self._backoff.next_delay_s()
        return Offline(str(error) or type(error).__name__)

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._online = False
        self._online_since_s = 0.0
        self._unsent = b""
        self._decoder = packets.Decoder()
