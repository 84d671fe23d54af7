"""One attempt at one connection: aiomqtt, made to close what it opened and to hand messages over at once.

Everything here that leans on aiomqtt's insides stands in this file (written against 2.5.1):

- a failed or cancelled `__aenter__` leaves paho's socket and its thread's result behind; `abandon` closes them;
- a packet is written while it is being published, not a turn of the event loop later: a clock ping's send time is
  then true to the microseconds, and a publish costs half;
- a call that waits for the broker's answer ends when the connection does, not at its timeout;
- TCP_NODELAY is set on every kind of socket, the one inside paho's WebSocket wrapper included: without it Nagle's
  algorithm holds back a small packet for 40 ms now and then;
- a message goes to `deliver` while the packet is being read, so that its time of arrival is true however long the
  program takes to come round to it, and no task is made per message.
"""

import asyncio
import contextlib
import math
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

import aiomqtt
import paho.mqtt.client as paho

from bandroom.mqtt.credential import Credential
from bandroom.mqtt.endpoint import Endpoint, Tcp, UnixSocket, system_trust

CLOSE_TIMEOUT_S = 1.0
T = TypeVar("T")
Deliver = Callable[[str, bytes, bool], None]


class _Handover(asyncio.Queue[aiomqtt.Message]):
    """Stands where aiomqtt keeps its queue: passes each message on, and stays empty."""

    def __init__(self, deliver: Deliver) -> None:
        super().__init__()
        self._deliver = deliver

    def put_nowait(self, item: aiomqtt.Message) -> None:
        self._deliver(item.topic.value, item.payload, bool(item.retain))


class Link(aiomqtt.Client):
    """A connection to `endpoint`, not yet opened. Use it once, as an async context manager."""

    def __init__(
        self,
        endpoint: Endpoint,
        credential: Credential,
        *,
        will: aiomqtt.Will | None,
        deliver: Deliver,
        keepalive_s: int,
        timeout_s: float,
    ) -> None:
        options: dict[str, Any] = {"max_queued_outgoing_messages": 1000, "max_inflight_messages": 100}
        if not isinstance(endpoint, UnixSocket) and (tls := _tls(endpoint)) is not None:
            options["tls_context"] = tls
        if not isinstance(endpoint, Tcp | UnixSocket):
            options["websocket_path"] = endpoint.path
        host, port, transport = _address(endpoint)
        super().__init__(
            host,
            port,
            username=credential.username,
            password=credential.password(),
            identifier=credential.client_id,
            will=will,
            clean_session=True,
            transport=transport,
            keepalive=keepalive_s,
            timeout=timeout_s,
            queue_type=lambda maxsize: _Handover(deliver),  # type: ignore[arg-type, unused-ignore]  # pyright: ignore
            **options,
        )
        self._client.connect_timeout = timeout_s
        self._loop_thread = threading.get_ident()
        self._abandoned = self._connecting = False

    def _client_connect(self) -> None:
        # Runs in a thread, which cannot be cancelled: if the caller went away meanwhile, close what it opened.
        self._connecting = True
        try:
            super()._client_connect()
            _set_nodelay(self._client.socket())
        finally:
            self._connecting = False
            if self._abandoned:
                with contextlib.suppress(RuntimeError):  # the loop has ended: the socket goes with the process
                    self._loop.call_soon_threadsafe(self._client.disconnect)

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109  (aiomqtt's signature)
        # asyncio.wait_for, which aiomqtt uses, loses a cancellation that arrives together with the result (up to
        # Python 3.11): whoever cancelled would wait for ever.
        limit_s = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if limit_s == math.inf else limit_s):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        # Cancelled, or out of time, while it waited for the CONNACK: nobody is left to be told, and aiomqtt would
        # trip over the cancelled future.
        if not self._connected.cancelled():
            super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        if threading.get_ident() == self._loop_thread:
            try:
                client.loop_write()
            except Exception as error:  # as aiomqtt does in its own writer: the line broke
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)
                return
            if client.socket() is not sock or not client.want_write():
                return
        super()._on_socket_register_write(client, userdata, sock)

    def abandon(self) -> None:
        """Close the socket, if one is open or is just being opened. Safe to call at any time, more than once."""
        self._abandoned = True
        self._disconnected.add_done_callback(_seen)
        # Not at once: the thread that connects may have asked the loop to watch the socket, and that must have
        # happened before the socket's number is free for another. While it still connects, it closes it itself.
        if not self._connecting:
            self._loop.call_soon(self._client.disconnect)

    async def until_lost(self) -> None:
        """Wait until the connection is gone; raises `aiomqtt.MqttError` saying why."""
        async for _ in self.messages:
            pass

    async def unless_lost(self, call: Coroutine[Any, Any, T]) -> T:
        """What `call` returns; raises `aiomqtt.MqttError` as soon as the connection is gone."""
        task = self._loop.create_task(call)
        try:
            await asyncio.wait((task, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise aiomqtt.MqttError("disconnected while waiting for the broker's answer")
            return task.result()
        finally:
            task.cancel()

    async def close(self) -> None:
        """Say goodbye to the broker, so that it sends no Will; give up after a second."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.__aexit__(None, None, None)
        except (TimeoutError, aiomqtt.MqttError):
            self.abandon()


def _seen(lost: asyncio.Future[None]) -> None:
    # Nobody waits for it any more, and asyncio complains about errors that nobody looked at.
    if not lost.cancelled():
        lost.exception()


def _address(endpoint: Endpoint) -> tuple[str, int, Literal["tcp", "websockets", "unix"]]:
    match endpoint:
        case UnixSocket(path):
            return path, 1, "unix"  # paho wants a port above 0 and does not use it
        case Tcp(host, port):
            return host, port, "tcp"
        case _:
            return endpoint.host, endpoint.port, "websockets"


def _tls(endpoint: Any) -> Any:
    if endpoint.tls is not None:
        return endpoint.tls
    return system_trust() if getattr(endpoint, "secure", False) else None


def _set_nodelay(sock: Any) -> None:
    """Set TCP_NODELAY through a duplicate of the descriptor: options belong to the socket beneath all wrappers."""
    if sock is None or sock.fileno() < 0:
        return
    with socket.socket(fileno=os.dup(sock.fileno())) as plain:
        if plain.family in (socket.AF_INET, socket.AF_INET6):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
