"""`bandroom listen`, `play` and `demo`, as a person or a script uses them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mido
import pytest
from bandroom.testing import wait_until_async
from bandroom_devices import Device
from bandroom_devices.demo.make_score import SCORE


def lines(out: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def test_listen_prints_beats_with_their_arrival(school: Any) -> None:
    """Three beats in a row, each with how late it arrived by the listener's own clock; then it ends with 0."""
    room = school.room(bpm=240)
    ran = school.stack.run("listen", "--tenant", school.tenant, "--room", room, "--count", "3", "--json")
    assert ran.code == 0, ran.err
    beats = lines(ran.out)
    assert [beat["kind"] for beat in beats] == ["beat"] * 3
    assert [beat["n"] - beats[0]["n"] for beat in beats] == [0, 1, 2]
    assert all(-5_000 < beat["late_us"] < 200_000 for beat in beats)


def test_listen_by_code_is_for_people(school: Any) -> None:
    """Without --json: words and units."""
    room = school.room(bpm=240)
    ran = school.stack.run("listen", "--tenant", school.tenant, "--code", room, "--what", "beats", "--count", "2")
    assert ran.code == 0, ran.err
    assert f"in {room}" in ran.out
    assert ran.out.count("beat") == 2
    assert " ms" in ran.out


async def test_play_is_heard_on_the_beat(school: Any) -> None:
    """A chord and a note, one a beat: heard by a classmate at the due times of beats, and the command says 2."""
    room = school.room(bpm=240)
    async with Device.join(school.stack.url, school.tenant, room) as ear:
        await ear.start_hearing()
        heard: list[Any] = []

        async def listen() -> None:
            async for note in ear.hear():
                heard.append(note)  # noqa: PERF401  (the list is read meanwhile)

        listening = asyncio.create_task(listen())
        words = ("play", "--tenant", school.tenant, "--room", room, "--notes", "C4+E4,F#3", "--json")
        ran = await asyncio.to_thread(school.stack.run, *words)
        assert ran.code == 0, ran.err
        assert ran.json == {"played": 2}
        await wait_until_async(lambda: len(heard) == 6, what="three notes on and off")
        listening.cancel()
        begun = [note for note in heard if note.begins]
        assert [note.note for note in begun] == [60, 64, 54]
        assert ear.tempo_map is not None
        for note in begun:
            beat = ear.tempo_map.beat_at_or_before(note.t_us)
            assert beat is not None
            assert beat.t == note.t_us


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["play", "--room", "MUSIC-1234", "--notes", "H4"], 2, "H4"),
        (["play", "--room", "MUSIC-1234", "--notes", ""], 2, "note"),
        (["play", "--room", "MUSIC-1234", "--notes", "128"], 2, "0 to 127"),
        (["play", "--notes", "C4"], 2, "--room"),
        (["listen", "--room", "MUSIC-1234", "--code", "MUSIC-1234"], 2, "--room"),
        (["listen", "--room", "music"], 2, "MUSIC-1234"),
        (["listen", "--room", "MUSIC-1234", "--count", "0"], 2, "count"),
        (["listen", "--link", "http://127.0.0.1/none"], 2, "join link"),
        (["listen", "--room", "NOROOM-0000"], 1, "NOROOM-0000"),
        (["listen", "--code", "NOROOM-0000"], 4, "code"),
        (["listen", "--code", "MUSIC-0000", "--url", "http://127.0.0.1:9"], 3, "127.0.0.1:9"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_an_exit_code(
    school: Any, words: list[str], code: int, says: str
) -> None:
    """2 for a bad value, 1 for what failed, 3 where nothing runs, 4 for a refusal; never a traceback."""
    ran = school.stack.run(*words, "--tenant", school.tenant)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_room_that_stands_still_is_no_endless_wait(school: Any) -> None:
    """play --on beat in a stopped room gives up after --seconds and says what to do."""
    room = school.room(start=False)
    words = ("play", "--tenant", school.tenant, "--room", room, "--notes", "C4", "--seconds", "3")
    ran = school.stack.run(*words)
    assert ran.code == 1
    assert "stands still" in ran.err
    ran = school.stack.run(*words, "--on", "now")
    assert ran.code == 0, ran.err


def test_nothing_runs(tmp_path: Path) -> None:
    """On an empty data folder: exit code 3, and how to start it."""
    for words in (["listen", "--room", "MUSIC-1234"], ["play", "--room", "MUSIC-1234", "--notes", "C4"]):
        done = subprocess.run(
            [sys.executable, "-m", "bandroom.cli", *words, "--home", str(tmp_path / "none")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert "bandroom up" in done.stderr


def test_the_demo_plays_the_whole_round_and_leaves_its_recording(school: Any, tmp_path: Path) -> None:
    """Eight instruments, 256 notes: each was heard or left out as far too late; the MIDI file holds what was heard.

    The bound on time is wide, and a few notes may be left out: the test machine may be busy. What is measured is
    printed by the demo itself.
    """
    out = tmp_path / "out"
    ran = school.stack.run("demo", "--json", "--out", str(out), "--svg", str(tmp_path / "demo.svg"), timeout_s=120)
    assert ran.code == 0, ran.err
    told = ran.json
    assert len(told["players"]) == 8
    assert told["expected"] == 256
    assert told["heard"] + told["left_out"] == 256
    assert told["left_out"] <= 25
    assert -5 < told["median_ms"] < 30
    assert all(1 <= abs(player["clock_off_s"]) <= 9 for player in told["players"])
    assert (tmp_path / "demo.svg").read_text().startswith("<svg")

    def melody(path: Path) -> dict[int, list[int]]:
        notes: dict[int, list[int]] = {}
        for message in mido.MidiFile(path):
            if message.type == "note_on" and message.velocity:
                notes.setdefault(message.channel, []).append(message.note)
        return notes

    for channel, notes in melody(SCORE).items():
        played = iter(notes)
        assert all(note in played for note in melody(out / "heard.mid")[channel]), channel
    # 14 bars, the first 6 at 112 and the rest at 126 beats a minute, up to the breath before the last bar line.
    assert mido.MidiFile(out / "heard.mid").length == pytest.approx((24 / 112 + 32 / 126) * 60, abs=0.7)
