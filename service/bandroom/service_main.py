"""The service's process: the rooms service and the web application, on one event loop.

    python -m bandroom.service_main --home DIR [--http-fd N | --http-host H --http-port N] [--https-fd N] [--alive]

Prints ``{"ready": true}`` once it listens and is connected to the broker. Exit codes: 1 it could not start or go on
(the reason is on stderr), 3 another service runs on the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from typing import Any

import structlog
import uvicorn

from bandroom import alive
from bandroom.auth.keys import BadKeys, load_keys, write_gate_keys
from bandroom.auth.owner import owner_token
from bandroom.clock import ClockFileError
from bandroom.paths import Home
from bandroom.rooms.control import Limits
from bandroom.rooms.gate_log import GateLogFailed
from bandroom.rooms.service import RoomsService
from bandroom.runstate import NotRunning, RunState
from bandroom.settings import BadSettings, load
from bandroom.store import InUse, StoreError
from bandroom.store.backup import apply_restore
from bandroom.web.app import create_app
from bandroom.web.deps import Site
from bandroom.web.https import HANDSHAKE_WITHIN_S, FreshContext
from bandroom.web.tunnel import UVICORN_OPTIONS

log = structlog.stdlib.get_logger("bandroom.service")
GRACE_S = 5


def configure_logging() -> None:
    """One JSON object a line on stderr, for our own messages and the libraries' alike."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # At INFO it writes each WebSocket's address with its query, where a careless client may have put a token.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class _Server(uvicorn.Server):
    """Uvicorn within our event loop: signals are ours, its start is an event, and one more listener has TLS."""

    def __init__(self, config: uvicorn.Config, https: socket.socket | None, tls: FreshContext | None) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._https = https
        self._tls = tls

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._https is not None and self._tls is not None:
            # One server and one application for both; the protocol sees by the transport which it is.
            protocol: Any = self.config.http_protocol_class
            server = await asyncio.get_running_loop().create_server(
                lambda: protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
                sock=self._https,
                ssl=self._tls.context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
                backlog=self.config.backlog,
            )
            self.servers.append(server)
        self.listening.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2048)
    return listener


def _inherited(fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    listener.set_inheritable(False)
    return listener


def _http_socket(args: argparse.Namespace, state: RunState) -> socket.socket:
    if args.http_fd is not None:
        return _inherited(args.http_fd)
    port = state.http_port if args.http_port is None else args.http_port
    return _listen(args.http_host or state.http_host, port)


async def _until_ready(service: RoomsService, server: _Server) -> None:
    await server.listening.wait()
    await service.connected.wait()
    print('{"ready": true}', flush=True)


async def _tell_alive() -> None:
    while True:
        alive.tell()
        await asyncio.sleep(alive.EVERY_S)


async def serve(home: Home, args: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT. Raises what keeps it from starting."""
    if apply_restore(home):
        log.info("a backup was put back")
    write_gate_keys(home, load_keys(home))  # a backup's, whenever this was interrupted
    settings, state = load(home=home.root), RunState.read(home)
    limits = Limits(
        max_rooms=settings.max_rooms,
        default_bpm=settings.default_bpm,
        default_meter=settings.default_meter,
        idle_close_s=settings.idle_close_s,
        token_ttl_s=settings.token_ttl_s,
    )
    service = RoomsService(home, limits)
    try:
        app = create_app(Site(service, owner_token(home), state))
        options: dict[str, Any] = {**UVICORN_OPTIONS, "forwarded_allow_ips": list(settings.trusted_proxies)}
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_S,
            **options,
        )
        tls = FreshContext(home.tls_pair) if args.https_fd is not None else None
        server = _Server(config, None if args.https_fd is None else _inherited(args.https_fd), tls)
        listener = _http_socket(args, state)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
        async with asyncio.TaskGroup() as group:
            rooms = group.create_task(service.run(), name="rooms")
            tasks = [rooms, group.create_task(_until_ready(service, server), name="ready")]
            if tls is not None:
                tasks.append(group.create_task(tls.keep_fresh(), name="certificate"))
            if args.alive:
                tasks.append(group.create_task(_tell_alive(), name="alive"))
            await server.serve(sockets=[listener])
            for task in tasks:
                task.cancel()
    finally:
        await service.close()
        log.info("stopped")


def main(argv: Sequence[str] | None = None) -> int:
    """The process: returns its exit code."""
    parser = argparse.ArgumentParser(prog="bandroom-service", description="The service of one bandroom installation.")
    parser.add_argument("--home", required=True, help="the data folder")
    parser.add_argument("--http-fd", type=int, help="an inherited socket to serve HTTP on")
    parser.add_argument("--https-fd", type=int, help="an inherited socket to serve HTTPS on, with DIR/tls/pair.pem")
    parser.add_argument("--alive", action="store_true", help="write signs of life to stdout, for the supervisor")
    parser.add_argument("--http-host", help="address to listen on (default: as state.json says)")
    parser.add_argument("--http-port", type=int, help="port to listen on, 0 for any (default: as state.json says)")
    args = parser.parse_args(argv)
    os.umask(0o077)
    configure_logging()
    try:
        asyncio.run(serve(Home(args.home), args))
    except InUse as error:
        print(f"bandroom-service: {error}", file=sys.stderr)
        return 3
    except (StoreError, BadKeys, BadSettings, NotRunning, ClockFileError, GateLogFailed, OSError) as error:
        print(f"bandroom-service: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
