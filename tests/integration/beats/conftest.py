"""A bare broker, and a worker beside it, for what does not depend on the gate."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))  # bench/ is no installed package

from bandroom.clock import ServerClock
from bandroom.mqtt import Connection, Credential, Tcp, connect
from bandroom.music.tempo_map import TempoMap
from bandroom.paths import Home
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.tempo import to_message
from bandroom.wire.topics import Filter, Leaf, Room

from bench import home as data
from bench.broker import Broker, running

READY_WITHIN_S = 20.0


@pytest.fixture
def bare_broker(tmp_path: Path) -> Iterator[Broker]:
    """A Mosquitto without access control, ended with the test."""
    with running(tmp_path / "broker") as broker:
        yield broker


@dataclass(slots=True)
class Heard:
    """A beat as it arrived, and when (server time, µs)."""

    room: tuple[str, str]
    at_us: int
    beat: Beat


@dataclass(slots=True)
class Site:
    """A data folder with a bare broker, where workers can be started; tests play the service's part."""

    home: Home
    clock: ServerClock
    broker: Broker

    @asynccontextmanager
    async def worker(self, index: int = 0, count: int = 1) -> AsyncIterator[subprocess.Popen[bytes]]:
        """A worker that has said that it is ready."""
        argv = [sys.executable, "-P", "-m", "bandroom.beats.worker", "--home", str(self.home.root)]
        with (self.home.root / "worker.log").open("ab") as log:
            argv += ["--index", str(index), "--count", str(count)]
            process = await asyncio.to_thread(subprocess.Popen[bytes], argv, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            assert line, (self.home.root / "worker.log").read_text()
            assert json.loads(line)["ready"] is True
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()

    def set_map(self, tenant: str, room: str, tempo_map: TempoMap) -> None:
        """What the service does first: put the map on record."""
        data.add_rooms(self.home, [(tenant, room, tempo_map)])

    @asynccontextmanager
    async def ear(self) -> AsyncIterator[tuple[Connection, list[Heard]]]:
        """A client that hears every beat of every room, and the growing list of them."""
        heard: list[Heard] = []
        offset_us = self.clock.now_us() - self.clock_ns() // 1000
        where = Tcp("127.0.0.1", self.broker.port)
        who = Credential.fixed("lincoln/s-ear", "lincoln_s-ear", "x")
        async with connect(where, who, will=None, clock_ns=self.clock_ns, max_queued=100_000) as connection:
            await connection.subscribe(Filter(Leaf.BEAT, None))

            async def listen() -> None:
                async for incoming in connection.messages:
                    topic = incoming.topic
                    assert isinstance(incoming.message, Beat)
                    key = (str(topic.tenant), str(topic.room))
                    heard.append(Heard(key, incoming.t_received_ns // 1000 + offset_us, incoming.message))

            async with asyncio.TaskGroup() as group:
                task = group.create_task(listen())
                try:
                    yield connection, heard
                finally:
                    task.cancel()

    async def publish_map(self, connection: Connection, tenant: str, room: str, tempo_map: TempoMap) -> None:
        """What the service does next: tell everybody."""
        topic = Room(TenantId(tenant), RoomId(room)).tempo()
        await connection.publish(topic, to_message(tempo_map))

    def meters(self, index: int = 0) -> dict[str, Any]:
        """The worker's own figures, at most a second old."""
        return json.loads((self.home.root / "metrics" / f"tempo-{index}.json").read_text())

    @staticmethod
    def clock_ns() -> int:
        import time

        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@pytest.fixture
def site(tmp_path: Path, bare_broker: Broker) -> Site:
    """Keys, clock, an empty database and a bare broker; no supervisor, no service, no gate."""
    home, clock = data.make(tmp_path / "home")
    if home.broker_socket.exists():
        home.broker_socket.unlink()
    os.symlink(bare_broker.socket_path, home.broker_socket)
    return Site(home, clock, bare_broker)
