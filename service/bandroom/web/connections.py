"""How much patience the web port has: uvicorn's two protocols, with what they leave unbounded bounded.

As they come, a connection that never finishes its request, or never reads its answer, is held for ever; a WebSocket
client that sends pings and does not read lets the pongs pile up here, and one that sends frames of a byte makes an
object of each.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

REQUEST_S = 15.0
"""How long a request may take to come in whole, from the connection's or the last answer's end."""
ANSWER_S = 60.0
"""How long an answer may wait for a browser that does not read."""
FRAGMENTS = 64
"""Frames that one WebSocket message may come in."""
PINGS = 20
"""WebSocket pings in a row, each within a second of the one before. Browsers send none; programs one in 20 s."""
_PING_GAP_S = 1.0


class PatientHttp(H11Protocol):
    """HTTP/1.1 whose requests and answers have to come to an end."""

    request_s = REQUEST_S
    answer_s = ANSWER_S
    _waiting: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:  # type: ignore[override]
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect_request()

    def handle_events(self) -> None:
        super().handle_events()
        # SEND_BODY: the head is there, and its body is not.
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._waiting = _cancelled(self._waiting)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._waiting = _cancelled(self._waiting)
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        # Before what may already lie in the buffer is read.
        self._expect_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting, self._stuck = _cancelled(self._waiting), _cancelled(self._stuck)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(self.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stuck = _cancelled(self._stuck)
        super().resume_writing()

    def _expect_request(self) -> None:
        _cancelled(self._waiting)
        self._waiting = self.loop.call_later(self.request_s, self.transport.abort)


class TunnelSocket(WebSocketsSansIOProtocol):
    """A WebSocket of binary messages that are taken as one stream: what came in together is handed on together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._together: list[bytes] | None = None
        self._pings = 0
        self._pinged_s = 0.0

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" or self.close_sent:
            self._together = None
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        if self._together is None:
            self._together = [data]
            # An event of ours, which ``receive`` makes whole.
            self.queue.put_nowait({"type": "websocket.receive", "bytes": b"", "together": self._together})  # type: ignore[typeddict-unknown-key]
        else:
            self._together.append(data)
        self.frames = []
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def receive(self) -> Any:
        message: dict[str, Any] = dict(await super().receive())
        if (together := message.pop("together", None)) is not None:
            self._together = None
            message["bytes"] = b"".join(together)
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            # A refusal in words is an answer too: without this each is logged as an error of ours.
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self._refuse(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        now_s = self.loop.time()
        self._pings = self._pings + 1 if now_s - self._pinged_s < _PING_GAP_S else 0
        self._pinged_s = now_s
        if self._pings > PINGS:
            self._refuse(CloseCode.POLICY_VIOLATION, "too many pings")
            return
        super().handle_ping()

    def _refuse(self, code: CloseCode, reason: str) -> None:
        if self.close_sent:
            return
        self.conn.fail(code, reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
