"""The live view of `bandroom rooms watch`: hears the room as a teacher, and gives commands by single keys."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
import termios
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live

from bandroom.cli.errors import CliError
from bandroom.cli.watch_board import Board
from bandroom.mqtt import Connection, Credential, Disconnected, NotConnected, Tcp, connect
from bandroom.runstate import NotRunning
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import Command, RoomInfo
from bandroom.wire.topics import Filter, Leaf, Room

_HEARD = (Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM, Leaf.MEMBER, Leaf.NOTE, Leaf.LIMIT)
_FRAMES_S = 0.1


_ARROWS = {"A": "up", "B": "down"}
RENEW_S = 6 * 3600  # half of what a token lasts


class _Quit(Exception):
    pass


class FreshToken:
    """A view may be left open for days: a connection that is made again after hours shows a token of its own."""

    def __init__(self, first: str, mint: Callable[[], str], now_s: Callable[[], float] = time.monotonic) -> None:
        self._token, self._mint, self._now_s = first, mint, now_s
        self._renew_at_s = now_s() + RENEW_S

    def __call__(self) -> str:
        if self._now_s() >= self._renew_at_s:
            try:
                self._token = self._mint()
            except (CliError, NotRunning):  # the service is away as well: what there is, then, and again next time
                return self._token
            self._renew_at_s = self._now_s() + RENEW_S
        return self._token


async def watch(
    access: dict[str, Any],
    mint: Callable[[], str],
    host: str,
    port: int,
    room: Room,
    code: str,
    ask_code: Callable[[], str],
) -> None:
    """Show a room until `q` is pressed.

    ``access``: a teacher's user name, client id, token; ``mint`` gives another token, ``ask_code`` the code of now.
    """
    sub = Subject(str(access["username"]).split("/")[1])
    credential = Credential(access["username"], access["client_id"], FreshToken(access["token"], mint))
    board, news = Board(str(room.room), code), asyncio.Event()
    try:
        async with connect(Tcp(host, port), credential, will=None, wait=False) as connection:
            await connection.subscribe(
                *(Filter(leaf, room.tenant, room.room) for leaf in _HEARD),
                Filter(Leaf.CONTROL_REPLY, room.tenant, room.room, sub),
            )
            with Live(console=Console(), refresh_per_second=10, screen=sys.stdout.isatty()) as live, _keys() as keys:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_hear(connection, board, news))
                    group.create_task(_keep_code(board, news, ask_code))
                    group.create_task(_follow(connection, board))
                    group.create_task(_draw(connection, board, live))
                    group.create_task(_obey(connection, board, room, sub, keys))
    except* _Quit:
        pass


async def _hear(connection: Connection, board: Board, news: asyncio.Event) -> None:
    async for incoming in connection.messages:
        board.hear(incoming, time.monotonic())
        if isinstance(incoming.message, RoomInfo):
            news.set()


async def _keep_code(board: Board, news: asyncio.Event, ask_code: Callable[[], str]) -> None:
    """What pupils type is told to nobody in the room, only that something about the room is new."""
    while True:
        await news.wait()
        news.clear()
        try:
            board.code = await asyncio.to_thread(ask_code)
        except (CliError, NotRunning):  # the service is away: when it is back, it tells of the room again
            continue


async def _follow(connection: Connection, board: Board) -> None:
    async for state in connection.states():
        if isinstance(state, Disconnected):
            board.lose()


async def _draw(connection: Connection, board: Board, live: Live) -> None:
    while True:
        board.connected = connection.connected
        live.update(board.render(time.monotonic(), live.console.height))
        await asyncio.sleep(_FRAMES_S)


async def _obey(connection: Connection, board: Board, room: Room, sub: Subject, keys: asyncio.Queue[str]) -> None:
    while True:
        asked = command_of(await keys.get(), board, time.monotonic())
        if asked is None:
            continue
        body = {"id": f"watch-{secrets.token_hex(6)}", **asked}
        try:
            await connection.publish(room.control(sub), Command.decode(json.dumps(body).encode()))
            board.ask(asked["cmd"], time.monotonic())
        except (NotConnected, TimeoutError):
            board.said = f"{asked['cmd']} was not sent: no connection"


def command_of(key: str, board: Board, now_s: float) -> dict[str, Any] | None:
    """The command that a key means now, or None."""
    match key:
        case "q" | "\x03" | "\x04":
            raise _Quit
        case "s":
            return {"cmd": "stop" if board.playing(now_s) else "start"}
        case "c":
            return {"cmd": "continue"}
        case "t":
            return {"cmd": "tap"}
        case "m":
            return {"cmd": "unmute" if board.info is not None and board.info.all_muted else "mute"}
        case "l":
            return {"cmd": "unlock" if board.info is not None and board.info.state == "locked" else "lock"}
        case "up" | "down":
            board.mark(-1 if key == "up" else 1)
            return None
        case _ if key.isdigit() or key == "x":
            sub = board.marked if key == "x" else board.nth(int(key))
            return None if sub is None else {"cmd": "unmute" if board.is_muted(sub) else "mute", "who": str(sub)}
        case _:
            return None


def keys_of(typed: str) -> list[str]:
    """What was typed, key by key; of those that send several characters the arrows up and down, as such."""
    found = re.findall(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", typed, re.DOTALL)
    return [_ARROWS.get(key[-1], "") if len(key) > 1 else key for key in found]


@contextmanager
def _keys() -> Generator[asyncio.Queue[str]]:
    """Single keys as they are pressed; none where there is no terminal."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    if not sys.stdin.isatty():
        yield queue
        return
    fd, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def read() -> None:
        for key in keys_of(os.read(fd, 64).decode("utf-8", "replace") or "q"):
            queue.put_nowait(key)

    loop.add_reader(fd, read)
    try:
        yield queue
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def place(found: dict[str, Any]) -> Room:
    """The room of an answer of the API."""
    return Room(TenantId(found["tenant"]), RoomId(found["room"]))
