"""A board, run by MicroPython itself on its unix port, in a real room."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bandroom.testing import wait_until_async
from bandroom.wire.ids import Subject
from bandroom_devices import Device

HERE = Path(__file__).parent
BOARD = HERE.parents[2] / "devices" / "micropython"
WITHIN_S = 30


@pytest.fixture
def micropython() -> str:
    """MicroPython's unix port."""
    found = shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")
    if found is None:
        pytest.skip("micropython is not installed, so the board's client was NOT run")
    return found


@contextmanager
def board(micropython: str, school: Any, sub: str, beats: int) -> Iterator[list[dict[str, Any]]]:
    """A board that plays ``beats`` beats; what it says, line by line, while it runs."""
    enrolled, (host, port) = school.enroll(sub), school.stack.mqtt
    told = {
        "path": str(BOARD),
        "host": host,
        "port": port,
        "username": enrolled["username"],
        "password": enrolled["password"],
        "beats": beats,
    }
    said: list[dict[str, Any]] = []
    # 256 KB of heap: what an ESP32 leaves to a program.
    process = subprocess.Popen(
        [micropython, "-X", "heapsize=256K", str(HERE / "board.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    out = process.stdout
    reader = threading.Thread(target=lambda: said.extend(json.loads(line) for line in iter_lines(out)), daemon=True)
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    reader.start()
    try:
        yield said
    finally:
        process.kill()
        process.wait()
        reader.join(5)


def iter_lines(out: Any) -> Iterator[str]:
    """The lines of a stream as they come, up to one that was cut off."""
    for line in out:
        if line.endswith("\n"):
            yield line


def played(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The beats that the board played."""
    return [line for line in said if line["kind"] == "beat"]


async def test_a_board_plays_on_the_beat_of_its_room_and_hears_classmates(micropython: str, school: Any) -> None:
    """Assigned to a room: time, tempo map and beats on 256 KB of memory; its notes reach others, theirs reach it."""
    room, clock = school.room(bpm=240), school.clock
    with board(micropython, school, "d-board-1", beats=1000) as said:
        await asyncio.to_thread(school.assign, room, "d-board-1")
        async with Device.join(school.stack.url, school.tenant, room) as ear:
            await ear.start_hearing()
            note = await asyncio.wait_for(anext(ear.hear()), WITHIN_S)
            assert note.player == "d-board-1"
            assert note.note in (36, 42)
            assert note.t_us is not None
            assert abs(note.t_us - clock.now_us()) < 500_000
            await ear.play(61, 65, length_s=0.05)
            await wait_until_async(lambda: len(played(said)) >= 8, timeout_s=WITHIN_S, what="eight beats")
            await wait_until_async(
                lambda: any(line.get("message", {}).get("off") == [61, 65] for line in said),
                timeout_s=WITHIN_S,
                what="the chord heard on the board",
            )
        beats = played(said)
        assert [beat["n"] - beats[0]["n"] for beat in beats] == list(range(len(beats)))
        assert all(beat["sent"] and beat["room"] == room for beat in beats)
        assert sorted(beat["late_us"] for beat in beats)[len(beats) // 2] < 10_000
        assert all(beat["t"] % 250_000 == beats[0]["t"] % 250_000 for beat in beats)


@pytest.mark.parametrize(
    ("jump_us", "what", "first"),
    [(0, "clock", (2, 3)), (250_000, "clock", (3, 4)), (1_370_000, "clock", (12, 1)), (1_370_000, "offset", (12, 1))],
)
def test_after_a_sleep_a_board_comes_back_at_a_bar(
    micropython: str, jump_us: int, what: str, first: tuple[int, int]
) -> None:
    """Asleep for over a second while beats were due, or its clock found to be far off: the next beat is the first of a
    bar and nothing is replayed. A stall of less leaves out what is over, and goes on with the next beat."""
    argv = [micropython, str(HERE / "board_sleeps.py"), str(BOARD), str(jump_us), what]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = json.loads(ran.stdout)
    assert [tuple(beat[:2]) for beat in said["before"]] == [(0, 1), (1, 2)]
    assert tuple(said["after"][0][:2]) == first
    assert [beat[0] for beat in said["after"]] == list(range(first[0], first[0] + 6))
    assert all(0 <= beat[2] <= 1000 for beat in said["after"][1:])


@pytest.mark.rule("PRES-4")
@pytest.mark.rule("PRES-6")
async def test_a_board_tells_by_how_much_its_clock_may_be_off(micropython: str, school: Any) -> None:
    """It stands beside its name within seconds, as any other device's, and so does what it plays."""
    room = school.room()
    with board(micropython, school, "d-board-4", beats=1000):
        await asyncio.to_thread(school.assign, room, "d-board-4")
        async with Device.join(school.stack.url, school.tenant, room) as ear:

            def told_ms() -> float | None:
                member = ear.members.get(Subject("d-board-4"))
                return member.err if member else None

            await wait_until_async(lambda: told_ms() is not None, timeout_s=WITHIN_S, what="the board to have told")
            assert 0 < (told_ms() or 0) < 1000
            assert ear.members[Subject("d-board-4")].instrument == "bells"


async def test_a_board_moves_with_its_assignment(micropython: str, school: Any) -> None:
    """Assigned elsewhere it goes there, in that room's tempo."""
    first, second = school.room(bpm=240), school.room(bpm=200)
    with board(micropython, school, "d-board-2", beats=1000) as said:
        for room, bpm in ((first, 240), (second, 200)):
            await asyncio.to_thread(school.assign, room, "d-board-2")
            await wait_until_async(
                lambda room=room: sum(beat["room"] == room for beat in played(said)) >= 3, timeout_s=WITHIN_S, what=room
            )
            assert played(said)[-1]["bpm"] == pytest.approx(bpm)


async def test_a_board_comes_back_after_the_broker_was_killed(micropython: str, own_school: Any) -> None:
    """kill -9 of the broker: the board keeps the beat meanwhile and is heard again afterwards."""
    school = own_school
    room = school.room(bpm=240)
    with board(micropython, school, "d-board-3", beats=1000) as said:
        await asyncio.to_thread(school.assign, room, "d-board-3")
        await wait_until_async(lambda: len(played(said)) >= 3, timeout_s=WITHIN_S, what="three beats")
        killed = school.stack.kill("broker")
        await asyncio.to_thread(school.stack.wait_restarted, "broker", killed)
        await wait_until_async(
            lambda: played(said)[-1]["connects"] >= 2, timeout_s=WITHIN_S, what="the board connected again"
        )
        async with Device.join(school.stack.url, school.tenant, room) as ear:
            assert (await asyncio.wait_for(anext(ear.hear()), WITHIN_S)).player == "d-board-3"
        beats = played(said)
        assert [beat["n"] - beats[0]["n"] for beat in beats] == list(range(len(beats)))
