"""The Arduino sketch itself, with the stock library, compiled for this computer and let into a real room.

The library (arduino-mqtt) is not ours to ship: name its folder in BANDROOM_ARDUINO_MQTT to run this.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bandroom.testing import wait_until_async
from bandroom_devices import Device

HERE = Path(__file__).parent
SKETCH = HERE.parents[2] / "devices" / "arduino" / "bandroom_drum"
WITHIN_S = 30


@pytest.fixture
def library() -> Path:
    """The source of arduino-mqtt."""
    named = os.environ.get("BANDROOM_ARDUINO_MQTT")
    if not named:
        pytest.skip("BANDROOM_ARDUINO_MQTT names no folder with arduino-mqtt, so the sketch was NOT run")
    return Path(named) / "src"


def build(folder: Path, library: Path, config: dict[str, str]) -> Path:
    """The sketch as a program of this computer, with ``config`` in place of the maker's."""
    text = (SKETCH / "config.h").read_text()
    for name, value in config.items():
        text = "\n".join(
            f"#define {name} {value}" if line.startswith(f"#define {name} ") else line for line in text.split("\n")
        )
    (folder / "config.h").write_text(text)
    (folder / "bandroom.h").write_text((SKETCH / "bandroom.h").read_text())
    # The Arduino build declares functions ahead by itself; this sketch is in order, so it only needs the header.
    (folder / "sketch.cpp").write_text("#include <Arduino.h>\n" + (SKETCH / "bandroom_drum.ino").read_text())
    include = [f"-I{folder}", f"-I{HERE / 'arduino'}", f"-I{library}"]
    start = f"-DSTART_US={time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000}ull"
    sources: list[tuple[str, list[Path]]] = [
        ("gcc", sorted((library / "lwmqtt").glob("*.c"))),
        ("g++", [library / "MQTTClient.cpp", folder / "sketch.cpp", HERE / "arduino" / "board.cpp"]),
    ]
    objects: list[str] = []
    for compiler, files in sources:
        for source in files:
            target = str(folder / f"{source.stem}-{len(objects)}.o")
            subprocess.run([compiler, "-O1", start, *include, "-c", str(source), "-o", target], check=True)
            objects.append(target)
    program = folder / "sketch"
    subprocess.run(["g++", *objects, "-o", str(program)], check=True)
    return program


def run(program: Path) -> subprocess.Popen[str]:
    """The board, switched on."""
    return subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


async def test_the_sketch_flashes_on_the_beat_and_its_button_is_heard(
    library: Path, school: Any, tmp_path: Path
) -> None:
    """Assigned to a room it lights its LED on the grid, through a wrap of micros(); the button plays a note."""
    room, clock = school.room(bpm=240), school.clock
    enrolled, (host, port) = school.enroll("d-drum-3"), school.stack.mqtt
    config = {
        "BROKER": f'"{host}"',
        "BROKER_PORT": str(port),
        "TENANT": f'"{school.tenant}"',
        "SUBJECT": '"d-drum-3"',
        "PASSWORD": f'"{enrolled["password"]}"',
    }
    program = build(tmp_path, library, config)
    board = run(program)
    assert board.stdin is not None
    assert board.stdout is not None
    out, lit_us = board.stdout, list[int]()

    def read() -> None:
        for line in out:
            word, level, at_us = line.split()
            if word == "led" and level == "1":
                lit_us.append(int(at_us) + clock.offset_us)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        await asyncio.to_thread(school.assign, room, "d-drum-3")
        async with Device.join(school.stack.url, school.tenant, room) as ear:
            await ear.start_hearing()
            notes = ear.hear()
            await wait_until_async(lambda: len(lit_us) >= 20, timeout_s=WITHIN_S, what="twenty flashes")
            tempo_map = ear.tempo_map
            assert tempo_map is not None
            off_us = []
            for at_us in lit_us[2:20]:
                beat = tempo_map.beat_at_or_before(at_us + 125_000)
                assert beat is not None
                off_us.append(at_us - beat.t)
            assert len({round(at / 250_000) for at in lit_us[2:20]}) == 18
            assert sorted(map(abs, off_us))[9] < 10_000
            for letter, begins in (("d", True), ("u", False)):
                board.stdin.write(letter + "\n")
                board.stdin.flush()
                note = await asyncio.wait_for(anext(notes), WITHIN_S)
                assert (note.player, note.note, note.begins) == ("d-drum-3", 38, begins)
            assert ear.members["d-drum-3"].state == "ready"
    finally:
        board.kill()
        board.wait()
        reader.join(5)
