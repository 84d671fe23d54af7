"""Runs the demo: nine processes, the commands to the room, and what the observer tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bandroom_devices.demo.child import Seat
from bandroom_devices.demo.make_score import PLAYERS, SCORE
from bandroom_devices.demo.recording import Recording
from bandroom_devices.demo.tally import PlayerTally, Tally
from bandroom_devices.score import Part, load_parts

BPM = 112
FASTER_BPM = 126
FASTER_AT_BEAT = 24  # bar 7: all four parts are in, so everybody has to follow
_READY_S = 40.0
_PLAY_S = 60.0
_LEAVE_S = 5.0


class DemoFailed(Exception):
    """The demo could not go on: says what happened."""


@dataclass(slots=True)
class Child:
    """One process of the demo."""

    name: str
    process: asyncio.subprocess.Process
    errors: IO[bytes]
    subject: str = ""
    done: dict[str, Any] | None = None

    def complaint(self) -> str:
        """The last of what it wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()[-500:]


@dataclass(slots=True)
class Stage:
    """A room to play in. ``command`` sends a room command; ``refresh`` is called when the picture changed."""

    url: str
    tenant: str
    code: str
    command: Callable[[dict[str, Any]], Awaitable[None]]
    refresh: Callable[[Tally, str], None]
    seed: int = 1
    tally: Tally = field(default_factory=Tally)
    recording: Recording = field(default_factory=Recording)
    parts: tuple[Part, ...] = field(default_factory=lambda: load_parts(SCORE))
    _children: list[Child] = field(default_factory=list[Child])
    _progress: asyncio.Event = field(default_factory=asyncio.Event)
    _failure: DemoFailed | None = None

    async def perform(self) -> None:
        """Bring in the class, play, and send everybody home. Raises ``DemoFailed``."""
        readers: list[asyncio.Task[None]] = []
        try:
            for seat, module in self._seats():
                child = await self._spawn(seat, module)
                self._children.append(child)
                readers.append(asyncio.create_task(self._read(child)))
            await self._until(self._all_in, _READY_S, "the class did not come in")
            await self.command({"cmd": "start", "at": "now", "count_in": 1})
            await self.command({"cmd": "set_tempo", "bpm": FASTER_BPM, "at": FASTER_AT_BEAT})
            await self._until(self._all_done, _PLAY_S, "the class did not come to the end")
            await self._until_silent()
            self._show("That was it.")
        finally:
            await self._dismiss(readers)

    def _seats(self) -> list[tuple[Seat, str]]:
        """Nine clocks, each seconds off and up to 50 ppm fast or slow."""
        draw = random.Random(self.seed)  # noqa: S311  (no secret hangs on it)

        def seat(name: str, part: int = 0, instrument: str | None = None) -> Seat:
            offset_us, ppm = draw.choice((-1, 1)) * draw.randint(1_000_000, 9_000_000), draw.uniform(-50, 50)
            return Seat(self.url, self.tenant, self.code, name, offset_us, ppm, str(SCORE), part, instrument)

        observer = (seat("Observer"), "bandroom_devices.demo.observer")
        return [
            observer,
            *((seat(p.name, i, p.instrument), "bandroom_devices.demo.player") for i, p in enumerate(PLAYERS)),
        ]

    async def _spawn(self, seat: Seat, module: str) -> Child:
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            # Ctrl-C goes to the demo, which sends the children home by closing their stdin.
            start_new_session=True,
        )
        if process.stdin is not None:
            process.stdin.write(seat.line())
        child = Child(seat.nickname, process, errors)
        if module.endswith("player"):
            part = self.parts[seat.part]
            key = f"?{seat.part}"  # until the service has told who the player is
            self.tally.players[key] = PlayerTally(
                seat.nickname, PLAYERS[seat.part].voice, seat.offset_us, seat.ppm, part.note_count
            )
            child.subject = key
        return child

    async def _read(self, child: Child) -> None:
        assert child.process.stdout is not None  # noqa: S101  (made with a pipe)
        async for line in child.process.stdout:
            told = json.loads(line)
            match told["kind"]:
                case "ready":
                    self._came_in(child, told["sub"])
                case "done":
                    child.done = told
                    self.tally.sent_late_us += told["late_us"]
                    self.tally.left_out += told["missed"]
                case "error":
                    self._failure = DemoFailed(f"{child.name}: {told['text']}")
                case _:
                    self.tally.take(told)
                    self.recording.take(told)
            self._show()
        code = await child.process.wait()
        if code and self._failure is None:
            self._failure = DemoFailed(f"{child.name} ended with {code}: {child.complaint()}")
        self._progress.set()

    def _came_in(self, child: Child, subject: str) -> None:
        if child.subject in self.tally.players:
            # Keep the order of the seats: it is the order of the rows.
            self.tally.players = {
                subject if key == child.subject else key: value for key, value in self.tally.players.items()
            }
        child.subject = subject

    def _all_in(self) -> bool:
        return all(child.subject and child.subject[0] != "?" for child in self._children)

    def _all_done(self) -> bool:
        return all(child.done is not None for child in self._children[1:])

    def _show(self, status: str | None = None) -> None:
        waiting = sum(not child.subject or child.subject[0] == "?" for child in self._children)
        if status is None and waiting:
            status = f"{len(self._children) - waiting} of {len(PLAYERS) + 1} are in and have set their clocks"
        self.refresh(self.tally, status or "")
        self._progress.set()

    async def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self._failure is not None:
                raise self._failure
            self._progress.clear()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    await self._progress.wait()
            except TimeoutError:
                missing = ", ".join(child.name for child in self._children if child.done is None)
                raise DemoFailed(f"{otherwise} within {seconds:.0f} s: {missing}") from None

    async def _until_silent(self) -> None:
        """Wait for the last notes to end, so that the recording ends as the music does."""
        with contextlib.suppress(DemoFailed):
            await self._until(
                lambda: not any(player.sounding for player in self.tally.players.values()), 3, "not silent"
            )

    async def _dismiss(self, readers: list[asyncio.Task[None]]) -> None:
        for child in self._children:
            if child.process.stdin is not None:
                child.process.stdin.close()
        if readers:
            _, late = await asyncio.wait(readers, timeout=_LEAVE_S)
            for reader in late:
                reader.cancel()
        for child in self._children:
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()
            child.errors.close()


def sound_files(folder: Path) -> tuple[Path, Path]:
    """Where the recording goes: a MIDI file, and a WAV beside it."""
    return folder / "heard.mid", folder / "heard.wav"
