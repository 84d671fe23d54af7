"""A web server with the tunnel alone, and brokers behind it: a real one, and one that does what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from bandroom.testing import wait_until, wait_until_async
from bandroom.web.tunnel import UVICORN_OPTIONS, Tunnel, router
from bandroom.web.tunnel_limits import Limits
from fastapi import FastAPI

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Door:
    """A running web server: where it is, and its tunnel."""

    host: str
    port: int
    tunnel: Tunnel

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}/mqtt"

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def _door_to(
    broker: tuple[str, int],
    limits: Limits | None = None,
    public_url: str | None = None,
    trusted: tuple[str, ...] = (),
) -> AsyncIterator[Door]:
    """A web server whose tunnel leads to ``broker``. ``trusted``: proxies whose word on addresses counts."""
    app = FastAPI()
    app.include_router(router)
    tunnel = Tunnel(lambda: broker, public_url, limits)
    app.state.tunnel = tunnel
    options = {**UVICORN_OPTIONS, "forwarded_allow_ips": list(trusted)}
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await wait_until_async(lambda: server.started, what="the web server")
            yield Door("127.0.0.1", listener.getsockname()[1], tunnel)
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def _scripted_broker(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    """A TCP server that treats each connection as ``handler`` says."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass  # the tunnel may be gone first: that is what some tests are about
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A real broker that knows one user: ``pupil`` with the password ``right``."""
    binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(binary).exists():
        pytest.skip("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    users = tmp_path / "users"
    users.write_text("pupil:right\n")
    users.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(users)], check=True)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\n"
        "persistence false\nset_tcp_nodelay true\nmax_packet_size 8192\nmax_queued_messages 100\n"
    )
    process = subprocess.Popen([binary, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listening() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(listening, what="the broker's port")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def door_to() -> Any:
    """``async with door_to(broker, …) as door``: a web server whose tunnel leads to ``broker``; see ``_door_to``."""
    return _door_to


@pytest.fixture
def scripted_broker() -> Any:
    """``async with scripted_broker(handler) as address``: a TCP server that does what ``handler`` says."""
    return _scripted_broker
