"""A tenant of the test's own in the running stack, and clients of it."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from bandroom.cli.main import app
from bandroom.mqtt import Connection, Credential, Tcp, connect
from bandroom.mqtt.client import Incoming
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import Beat, Presence, Tempo
from bandroom.wire.tempo import from_message
from bandroom.wire.topics import Filter, Room, presence

_numbers = itertools.count()
WITHIN_S = 10.0


@dataclass
class Ear:
    """A connected client that remembers what it heard."""

    connection: Connection
    sub: Subject
    heard: list[Incoming] = field(default_factory=list[Incoming])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        async for incoming in self.connection.messages:
            self.heard.append(incoming)
            self._news.set()

    async def wait(self, wanted: Callable[[Incoming], bool], what: str = "a message") -> Incoming:
        """The first message heard, before or from now on, that is wanted."""
        seen = 0
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    for incoming in self.heard[seen:]:
                        if wanted(incoming):
                            return incoming
                    seen = len(self.heard)
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            names = sorted({incoming.topic.name for incoming in self.heard})
            raise AssertionError(f"{what} was not heard within {WITHIN_S} s; heard: {names}") from None


@dataclass
class School:
    """A tenant in the running stack."""

    stack: Any
    tenant: TenantId
    http: httpx.Client

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return self.http.post(f"/api/tenants/{self.tenant}{path}", json=body, **options)

    def cli(self, *words: str) -> tuple[int, str, str]:
        """`bandroom words…` within this process, for tests of many: exit code, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("BANDROOM_HOME", str(self.stack.home.root))
            try:
                app(args=list(words))
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return code, out.getvalue(), err.getvalue()

    def call(self, path: str, token: str | None = None, body: Any = None) -> httpx.Response:
        """Call the API as anybody: with a token of one's own, or none."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.post(f"{self.stack.url}{path}", json=body, headers=headers)

    def room(self, **asked: Any) -> Room:
        """A new room of this tenant."""
        made = self.post("/rooms", asked)
        assert made.status_code == 201, made.text
        return Room(self.tenant, RoomId(made.json()["room"]))

    def do(self, room: Room, cmd: str, **arguments: Any) -> Any:
        """A command as the owner, over HTTP; it must be done."""
        done = self.post(f"/rooms/{room.room}/commands", {"cmd": cmd, **arguments})
        assert done.status_code == 200, done.text
        return done.json()

    def join(self, room: Room, **more: Any) -> Any:
        """Join as a pupil; the answer."""
        code = self.http.get(f"/api/tenants/{self.tenant}/rooms/{room.room}").json()["code"]
        done = httpx.post(f"{self.stack.url}/api/join", json={"tenant": self.tenant, "code": code, **more})
        assert done.status_code == 200, done.text
        return done.json()

    def token(self, sub: str, room: Room | None = None) -> Any:
        """A token by the owner's hand."""
        made = self.post("/tokens", {"sub": sub, "room": room.room if room else None})
        assert made.status_code == 201, made.text
        return made.json()

    @asynccontextmanager
    async def ear(self, access: Any, *filters: Filter) -> AsyncGenerator[Ear]:
        """A client connected with a token (or a device's credential), announced as present."""
        username: str = access["username"]
        sub = Subject(username.split("/")[1])
        credential = Credential.fixed(username, access["client_id"], access.get("token") or access["password"])
        here = presence(self.tenant, sub)
        host, port = self.stack.mqtt
        will = (here, Presence("lost"))
        async with connect(Tcp(host, port), credential, will=will, give_up_after_s=WITHIN_S) as connection:
            ear = Ear(connection, sub)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(ear.listen())
                await connection.subscribe(*filters)
                await connection.publish(here, Presence("ready"))
                yield ear
                listening.cancel()


def is_on_its_grid(ear: Ear) -> int:
    """Checks every beat that was heard against the map of its revision; returns how many there were."""
    maps = {i.message.rev: from_message(i.message) for i in ear.heard if isinstance(i.message, Tempo)}
    beats = [i.message for i in ear.heard if isinstance(i.message, Beat)]
    for beat in beats:
        due = maps[beat.rev].beat(beat.n)
        assert due is not None
        assert abs(due.t - beat.t) <= 1, beat
    numbers = [beat.n for beat in beats]
    assert numbers == sorted(set(numbers))
    return len(beats)


@pytest.fixture
def school(stack: Any) -> Iterator[School]:
    """A tenant of this test's own."""
    with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.owner_token}"}) as http:
        tenant = TenantId(f"r{os.getpid() % 100000}-{next(_numbers)}")
        made = http.post("/api/tenants", json={"tenant": tenant})
        assert made.status_code == 201, made.text
        yield School(stack, tenant, http)
