"""A service whose time runs many times as fast, beside a real broker with the real gate: for drills of minutes.

Its event loop and, where asked for, its server clock are hurried: what it does every second it does every fraction of
one, its time-outs and back-offs are shorter by as much. Broker, gate, tempo worker and clients keep real time.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bandroom.auth.owner import Owner
from bandroom.auth.tokens import Minted
from bandroom.clock import Clock, ServerClock
from bandroom.paths import Home
from bandroom.rooms import admin
from bandroom.rooms.control import Limits
from bandroom.rooms.service import RoomsService
from bandroom.settings import Settings
from bandroom.supervisor import broker
from bandroom.supervisor.plan import Plan, prepare
from bandroom.wire.ids import Subject, TenantId
from bandroom.wire.messages import Command, Reply
from bandroom.wire.topics import Room

T = TypeVar("T")
LINCOLN = TenantId("lincoln")


class _Selector(selectors.DefaultSelector):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def select(self, timeout: float | None = None) -> Any:
        return super().select(None if timeout is None else timeout / self._rate)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop on which a second takes a ``rate``-th of one."""

    def __init__(self, rate: float) -> None:
        super().__init__(_Selector(rate))
        self._rate = rate

    def time(self) -> float:
        return super().time() * self._rate


class HurriedClock:
    """Server time that runs ``rate`` times as fast from the moment when it is made."""

    def __init__(self, real: Clock, rate: float) -> None:
        self._real, self._rate = real, rate
        self._began_us = real.now_us()

    def now_us(self) -> int:
        return self._began_us + round((self._real.now_us() - self._began_us) * self._rate)


@dataclass
class Hurried:
    """The service and its broker. It stands where tests of the whole have their ``stack``."""

    plan: Plan
    rate: float
    clock: Clock
    service: RoomsService
    _loop: HurriedLoop
    _brokers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where the broker listens."""
        return self.plan.state.mqtt.host, self.plan.state.mqtt.port

    def now_s(self) -> float:
        """The time of the service's event loop (s)."""
        return self._loop.time()

    async def ask(self, what: Callable[[], Awaitable[T]]) -> T:
        """Await ``what()`` on the service's loop."""

        async def run() -> T:
            return await what()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function of the control plane in its thread."""
        return await self.ask(lambda: self.service.call(function, self.service.control, *args, **kwargs))

    async def do(self, room: Room, cmd: str, **arguments: Any) -> Reply:
        """A command as the owner."""
        command = Command.decode(json.dumps({"id": f"{cmd}-{time.monotonic_ns()}", "cmd": cmd, **arguments}).encode())
        return await self.ask(lambda: self.service.command(Owner(), room.tenant, room.room, command))

    async def token(self, sub: str, room: Room | None = None) -> dict[str, Any]:
        """A token by the owner's hand, as the HTTP API answers it."""
        where = None if room is None else room.room
        minted: Minted = await self.call(admin.mint_token, LINCOLN, Subject(sub), where, 3600)
        await self.ask(self.service.in_force)
        return {"username": minted.username, "client_id": minted.client_id, "token": minted.token}

    async def start_broker(self) -> None:
        """A broker, which answers when this returns; an earlier one is gone."""
        broker.forget_last_run(self.plan.home)
        assert self.plan.broker_argv is not None
        with (self.plan.home.root / "broker.log").open("ab") as log:
            process = await asyncio.to_thread(
                subprocess.Popen[bytes], self.plan.broker_argv, stdout=log, stderr=subprocess.STDOUT
            )
        self._brokers.append(process)
        async with asyncio.timeout(20):
            await broker.until_ready(self.plan.home, self.plan.state.mqtt)

    async def kill_broker(self) -> None:
        """kill -9, and nobody brings another."""
        self._brokers[-1].kill()
        await asyncio.to_thread(self._brokers[-1].wait)

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[None]:
        """A tempo worker, in real time, that has said that it is ready."""
        argv = [sys.executable, "-P", "-m", "bandroom.beats.worker", "--home", str(self.plan.home.root)]
        with (self.plan.home.root / "worker.log").open("ab") as log:
            process = await asyncio.to_thread(subprocess.Popen[bytes], argv, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            assert b"ready" in await asyncio.to_thread(process.stdout.readline)
            yield
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()

    def end_brokers(self) -> None:
        for process in self._brokers:
            process.kill()
            process.wait()


@asynccontextmanager
async def hurried(home: Home, rate: float, *, clock_rate: float) -> AsyncGenerator[Hurried]:
    """A service with the tenant ``lincoln`` that is connected to its broker. ``clock_rate``: server time's."""
    home.create()
    plan = await asyncio.to_thread(prepare, Settings(mqtt_port=0, http_port=0), home)
    assert plan.mqtt is not None
    real = ServerClock.from_file(home.gate_clock)
    clock: Clock = real if clock_rate == 1 else HurriedClock(real, clock_rate)
    loop, up = HurriedLoop(rate), threading.Event()
    made: list[RoomsService] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        service = RoomsService(home, Limits(), clock)
        made.append(service)
        up.set()
        try:
            await service.run()
        finally:
            await service.close()

    tasks: list[asyncio.Task[None]] = []

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        tasks.append(task)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=run, name="hurried service")
    thread.start()
    try:
        await asyncio.to_thread(up.wait)
        assert made, failed
        stack = Hurried(plan, rate, clock, made[0], loop)
        try:
            await stack.start_broker()
            async with asyncio.timeout(20):
                await stack.ask(made[0].connected.wait)
            await stack.call(admin.create_tenant, LINCOLN, None)
            yield stack
        finally:
            stack.end_brokers()
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(tasks[0].cancel)
        await asyncio.to_thread(thread.join, 20)
        for reserved in (plan.mqtt, plan.http):
            reserved.socket.close()
    assert not failed, failed
    assert not thread.is_alive()
