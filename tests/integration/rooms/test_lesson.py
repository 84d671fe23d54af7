"""docs/lesson.md, run as it stands, with pupils in the room."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bandroom.paths import Home
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Beat, RoomInfo
from bandroom.wire.topics import Filter, Leaf, Room

from .conftest import School

PAGE = Path(__file__).parents[3] / "docs" / "lesson.md"


def commands() -> Iterator[list[str]]:
    """Every command of the page, in order, without the program's name."""
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S):
        for line in block.splitlines():
            assert line.startswith("$ bandroom "), line
            yield shlex.split(line)[2:]


async def test_the_lesson_of_the_documentation(
    start_stack: Callable[..., Any], home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command works as written; pupils hear the beat while it plays, and hear that the room is closed."""
    stack = start_stack(home)
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    steps = list(commands())
    at_start = next(i for i, words in enumerate(steps) if words[:2] == ["rooms", "start"])
    at_close = next(i for i, words in enumerate(steps) if words[:2] == ["rooms", "close"])
    monkeypatch.chdir(tmp_path)

    room = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30) as http:
        school = School(stack, room.tenant, http)

        def run(words: list[str]) -> None:
            code, _, err = school.cli(*words)
            assert code == 0, f"bandroom {shlex.join(words)}: {err}"

        for words in steps[:at_start]:
            run(words)
        wanted = [Filter(leaf, room.tenant, room.room) for leaf in (Leaf.BEAT, Leaf.ROOM)]
        async with school.ear(school.join(room, nickname="Ann"), *wanted) as ann:
            for words in steps[at_start : at_close + 1]:
                run(words)
                if words[1] == "start":
                    await ann.wait(lambda i: isinstance(i.message, Beat) and i.message.n == 0, "beat 0")
            await ann.wait(lambda i: isinstance(i.message, RoomInfo) and i.message.state == "closed", "the end")
            tempi = {i.message.bpm for i in ann.heard if isinstance(i.message, Beat)}
            assert 100.0 in tempi
        for words in steps[at_close + 1 :]:
            run(words)
    assert (tmp_path / "lincoln.tar").exists()
