"""MQTT over WebSocket at ``/mqtt``: bytes between a browser and the broker's TCP port, and nothing else.

The broker's own WebSocket listener is not used: in Mosquitto 2.0 it ignores the packet limit and scales badly.
The tunnel judges no MQTT beyond the first packet of each side; identity and rights are the gate's. What it sees
for itself is the address behind a connection, so it is the place where refused connections are counted by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import structlog
from fastapi import APIRouter, WebSocket
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from bandroom.web.connections import PatientHttp, TunnelSocket
from bandroom.web.origins import origin_allowed
from bandroom.web.tunnel_limits import Doorkeeper, Limits, Pace, Refusal, address_key

log = structlog.stdlib.get_logger(__name__)
router = APIRouter()

SUBPROTOCOL = "mqtt"
BrokerAddress = Callable[[], tuple[str, int]]
"""Where the broker's TCP port is now (host, port); asked anew for each connection, as a restart may move it."""

UVICORN_OPTIONS: dict[str, Any] = {
    "http": PatientHttp,
    "ws": TunnelSocket,
    "ws_max_size": Limits().frame_bytes,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # Nobody's word about another address counts unless the settings name who may give it.
    "forwarded_allow_ips": [],
}
"""What uvicorn must be told for the tunnel: these protocols stop reading while the tunnel is busy, messages are
small, and compressing packets of 80 bytes would cost memory and time for nothing."""

_CHUNK = 16_384
_CONNECT = 0x10
_CONNACK = 0x20
# Refusals that speak of the credentials; the others (server unavailable, quota) are not the client's doing.
_CREDENTIAL_REFUSALS = frozenset({1, 2, 4, 5, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})

# WebSocket close codes (RFC 6455, 7.4.1).
_NORMAL, _UNSUPPORTED, _POLICY, _TRY_LATER = 1000, 1003, 1008, 1013
_BROKEN = frozenset({1002, 1007, 1008, 1009})
"""Of a disconnect: the protocol below found the client's frames broken, too many or too big."""


@dataclass(slots=True)
class Counters:
    """What happened so far, since the service started."""

    opened: int = 0
    accepted: int = 0
    held_up: int = 0
    refused_by_broker: int = 0
    refused_origin: int = 0
    refused_limit: int = 0
    slowed: int = 0
    broker_away: int = 0
    bad_frames: int = 0
    timeouts: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class _Ended(Exception):
    """One side is done; ``code`` is what the browser is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connack:
    """Reads the broker's verdict out of the first bytes that pass, however they are cut."""

    def __init__(self) -> None:
        self._head = b""
        self.verdict: int | None = None
        """The reason code, 0 = accepted; None until it has passed."""

    def feed(self, data: bytes) -> int | None:
        """Look at ``data``; the reason code once it is known. 0x80 stands for what is no CONNACK at all."""
        if self.verdict is None:
            self._head += data[:8]
            if self._head[0] != _CONNACK:
                self.verdict = 0x80
            else:
                # Behind the type: the length (1 to 4 bytes, MQTT 5 has properties), the flags, the reason.
                end = next((i for i in range(1, min(5, len(self._head))) if self._head[i] < 0x80), None)
                if end is not None and len(self._head) > end + 2:
                    self.verdict = self._head[end + 2]
        return self.verdict


class Tunnel:
    """All tunnels of one service. ``now`` is a monotonic clock in seconds."""

    def __init__(
        self,
        broker: BrokerAddress,
        public_url: str | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.counters = Counters()
        self.doorkeeper = Doorkeeper(self.limits)
        self._broker = broker
        self._public_url = public_url
        self._now = now
        self._warned_at, self._unsaid = -1.0, 0

    def figures(self) -> dict[str, int]:
        """The counters and the number of open tunnels, for metrics."""
        return {**asdict(self.counters), "open": self.doorkeeper.open}

    async def serve(self, websocket: WebSocket) -> None:
        """One connection, from handshake to end."""
        headers = websocket.headers
        if not origin_allowed(headers.get("origin"), headers.get("host"), self._public_url):
            self.counters.refused_origin += 1
            self._warn("cross-site", origin=headers.get("origin", "")[:100], host=headers.get("host", "")[:100])
            await _deny(websocket, 403, "This page's address may not open /mqtt here: set public_url to allow it.")
            return
        if SUBPROTOCOL not in websocket.scope.get("subprotocols", []):
            await _deny(websocket, 400, "The WebSocket subprotocol 'mqtt' is wanted.")
            return
        key = address_key(websocket.client.host if websocket.client else None)
        entry = self.doorkeeper.enter(key, self._now())
        if isinstance(entry, Refusal):
            self.counters.refused_limit += 1
            self._warn(entry.reason, address=key)
            await _deny(websocket, 429, "Too many connections: try again later.", entry.retry_after_s)
            return
        visit = _Visit(self, websocket, key)
        try:
            if entry > 0:
                self.counters.slowed += 1
                await asyncio.sleep(entry)
            await visit.run()
        finally:
            visit.settle(None)
            self.doorkeeper.leave(key, self._now())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the broker's TCP port. Raises ``OSError`` or ``TimeoutError``."""
        host, port = self._broker()
        async with asyncio.timeout(self.limits.accept_s):
            # The reader's limit is what bounds the memory held for a browser that reads slowly.
            reader, writer = await asyncio.open_connection(host, port, limit=_CHUNK)
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.transport.set_write_buffer_limits(high=_CHUNK)
        return reader, writer

    def _warn(self, reason: str, **about: str) -> None:
        """Log a refusal; one a second, as whoever is refused may try without end."""
        now = self._now()
        if now - self._warned_at < 1.0:
            self._unsaid += 1
            return
        log.warning("tunnel refused", reason=reason, more_since=self._unsaid, **about)
        self._warned_at, self._unsaid = now, 0

    def time(self) -> float:
        """Seconds of the tunnel's own clock."""
        return self._now()


class _Visit:
    """One tunnel while it is open: two pumps, each waiting for the slower side."""

    def __init__(self, tunnel: Tunnel, websocket: WebSocket, key: str) -> None:
        self._tunnel = tunnel
        self._counters = tunnel.counters
        self._websocket = websocket
        self._key = key
        self._waiting = True
        self._connack = Connack()
        self._accepted = asyncio.Event()

    def settle(self, verdict: int | None, *, misused: bool = False) -> None:
        """Tell the doorkeeper once what the broker said; None = it never said anything.

        ``misused``: nobody signed in, and that was the client's doing.
        """
        if not self._waiting:
            return
        self._waiting = False
        doorkeeper, now = self._tunnel.doorkeeper, self._tunnel.time()
        if verdict == 0:
            self._counters.accepted += 1
            doorkeeper.accepted(self._key, now)
        else:
            self._counters.refused_by_broker += verdict is not None
            doorkeeper.failed(self._key, now, count=misused or verdict in _CREDENTIAL_REFUSALS)

    async def run(self) -> None:
        await self._websocket.accept(subprotocol=SUBPROTOCOL)
        self._counters.opened += 1
        try:
            reader, writer = await self._tunnel.connect()
        except (OSError, TimeoutError):
            self._counters.broker_away += 1
            await self._close(_TRY_LATER, "the broker does not answer")
            return
        end = _Ended(_NORMAL, "")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._up(writer), name="tunnel-up")
                group.create_task(self._down(reader), name="tunnel-down")
                group.create_task(self._wait_for_acceptance(), name="tunnel-acceptance")
        except* _Ended as ends:
            end = next(e for e in ends.exceptions if isinstance(e, _Ended))
        finally:
            writer.close()
        # Only then the browser: the broker has been told, whatever the browser does now.
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await self._close(end.code, end.reason)

    async def _up(self, writer: asyncio.StreamWriter) -> None:
        """Browser to broker. Awaiting ``drain`` leaves what the broker does not take in the browser's socket."""
        limits, now = self._tunnel.limits, self._tunnel.time
        pace = Pace(limits.up_bytes_per_s, limits.up_burst_bytes, limits.up_burst_bytes, now())
        first = True
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") in _BROKEN:
                    self._bad()
                raise _Ended(_NORMAL, "")
            data: bytes | None = message.get("bytes")
            if data is None:
                raise self._bad(_UNSUPPORTED, "MQTT travels in binary messages")
            if not data:
                continue
            if first and data[0] != _CONNECT:
                raise self._bad(_POLICY, "the first packet must be CONNECT")
            first = False
            self._counters.bytes_up += len(data)
            try:
                writer.write(data)
                await writer.drain()
            except OSError:
                raise _Ended(_NORMAL, "the broker closed") from None
            if (wait := pace.spend(len(data), now())) > 0:
                self._counters.held_up += 1
                await asyncio.sleep(wait)

    def _bad(self, code: int = _POLICY, reason: str = "") -> _Ended:
        """Count what is no MQTT over WebSocket; the end to raise for it."""
        self._counters.bad_frames += 1
        self.settle(None, misused=True)
        return _Ended(code, reason)

    async def _down(self, reader: asyncio.StreamReader) -> None:
        """Broker to browser. While the browser does not read, the broker's queue for it fills and then drops."""
        while True:
            try:
                data = await reader.read(_CHUNK)
            except OSError:
                data = b""
            if not data:
                raise _Ended(_NORMAL, "the broker closed")
            if self._waiting and (verdict := self._connack.feed(data)) is not None:
                self.settle(verdict)
                if verdict == 0:
                    self._accepted.set()
            self._counters.bytes_down += len(data)
            try:
                async with asyncio.timeout(self._tunnel.limits.send_s):
                    await self._websocket.send_bytes(data)
            except TimeoutError:
                self._counters.timeouts += 1
                raise _Ended(_TRY_LATER, "reading too slowly") from None
            except (WebSocketDisconnect, RuntimeError):
                raise _Ended(_NORMAL, "") from None

    async def _wait_for_acceptance(self) -> None:
        """End a tunnel over which nobody signs in: half-open connections would use up the places."""
        try:
            async with asyncio.timeout(self._tunnel.limits.accept_s):
                await self._accepted.wait()
        except TimeoutError:
            self._counters.timeouts += 1
            self.settle(None, misused=True)
            raise _Ended(_POLICY, "no accepted CONNECT in time") from None

    async def _close(self, code: int, reason: str) -> None:
        websocket = self._websocket
        if WebSocketState.DISCONNECTED in (websocket.client_state, websocket.application_state):
            return
        # The browser may be gone, or may never read again; the server's own ping ends that connection.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(1.0):
                await websocket.close(code, reason)


async def _deny(websocket: WebSocket, status: Literal[400, 403, 429], text: str, retry_s: float | None = None) -> None:
    headers = {} if retry_s is None else {"Retry-After": str(max(1, round(retry_s)))}
    await websocket.send_denial_response(PlainTextResponse(text + "\n", status_code=status, headers=headers))


@router.websocket("/mqtt")
async def mqtt(websocket: WebSocket) -> None:
    """MQTT 3.1.1 or 5 in binary WebSocket messages, subprotocol ``mqtt``."""
    tunnel: Tunnel = websocket.app.state.tunnel
    await tunnel.serve(websocket)
