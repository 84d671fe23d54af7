"""One part of the whole (broker, service, a tempo worker): started, watched, started again when it dies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bandroom.supervisor.child import Child
from bandroom.supervisor.errors import StartError

READY_WITHIN_S = 60.0
TRIES_AT_FIRST = 5
TRIES_LATER = 20
"""With the delays between them a minute and a half: a fault that stays. A full disk may be mended by then."""
LOOK_EVERY_S = 0.25
_LIVED_LONG_S = 1.0
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0


async def _says_so(child: Child) -> None:
    await child.ready.wait()


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Spec:
    """What a part is: how to start it, how to see that it is ready, how long it may take to end."""

    name: str
    start: Callable[[], Child]
    log: Path
    grace_s: float
    before: Callable[[], None] = _nothing
    """Runs before each start, when the last process is gone."""
    until_ready: Callable[[Child], Awaitable[None]] = _says_so
    hung_after_s: float | None = None
    """One that gave no sign of life for so long hangs, and is replaced; None: it gives none."""
    tries_later: int = TRIES_LATER
    """After so many starts in a row that did not make it ready again, the whole is given up."""


@dataclass(slots=True)
class Part:
    """A part and its present process. ``changed`` is called whenever a new process is ready."""

    spec: Spec
    say: Callable[[str], None]
    changed: Callable[[], None]
    first_up: asyncio.Future[None] = field(init=False)
    """Done when the part is ready for the first time; holds a ``StartError`` if it never will be."""
    lost: asyncio.Future[StartError] = field(init=False)
    """Done when the part had been ready, and cannot be brought back."""
    child: Child | None = None
    up: bool = False
    _stopping: bool = False
    _was_ready: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first_up, self.lost = loop.create_future(), loop.create_future()

    @property
    def pid(self) -> int:
        """Of the present process; 0 while there is none."""
        return self.child.pid if self.child else 0

    async def keep_running(self) -> None:
        """Start, and start again at each end, until ``stop``. At once when it had lived, else with growing delay."""
        tries, deaths, delay_s = 0, 0, 0.0  # tries: since it was last ready
        while not self._stopping:
            await self._pause(delay_s)
            if self._stopping:
                return
            tries += 1
            self._was_ready = False
            ending, lived = await self._one_life()
            if self._stopping:
                return
            if self._was_ready:
                tries = 0
            if tries >= (self.spec.tries_later if self.first_up.done() else TRIES_AT_FIRST):
                self._give_up(ending, tries)
                return
            self.say(f"{self.spec.name} {ending}; starting it again (see {self.spec.log})")
            # A first death comes out of the blue and costs no time; one that follows soon is a fault that may stay.
            deaths = 0 if lived else deaths + 1
            delay_s = min(_FIRST_DELAY_S * 2 ** (deaths - 2), _LONGEST_DELAY_S) if deaths > 1 else 0.0

    async def _one_life(self) -> tuple[str, bool]:
        """Start it and wait for its end: how it ended, and whether it had lived for a while before."""
        began = time.monotonic()
        try:
            self.spec.before()
            self.child = child = self.spec.start()
        except OSError as error:  # no memory, no disk, no such program
            self.child = None
            return f"cannot be started: {error}", False
        was_ready = self.up = self._was_ready = await self._is_ready(child)
        if was_ready:
            if not self.first_up.done():
                self.first_up.set_result(None)
            self.changed()
            await self._until_it_ends(child)
        await child.exited.wait()
        self.up = False
        return child.ending, was_ready and time.monotonic() - began > _LIVED_LONG_S

    def replace(self, why: str) -> None:
        """End it by force, so that another is started."""
        if self.child is not None and self.up and not self._stopping:
            self.say(f"{self.spec.name} {why}; ending it")
            self.child.kill()

    async def stop(self) -> None:
        """End it: asked first, by force when its grace is over."""
        self._stopping = True
        self._wake.set()
        if self.child is not None:
            await self.child.stop(self.spec.grace_s)

    def kill(self) -> None:
        """End it by force, without waiting."""
        self._stopping = True
        self._wake.set()
        if self.child is not None:
            self.child.kill()

    async def _until_it_ends(self, child: Child) -> None:
        """Return when it has ended; one that gives no more signs of life is ended by force.

        Looks are counted, not seconds: after a sleep of the machine, or of this process, nobody is judged by it.
        """
        if self.spec.hung_after_s is None:
            return
        most = max(1, round(self.spec.hung_after_s / LOOK_EVERY_S))
        silent, signs = 0, child.signs
        while not child.exited.is_set():
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await child.exited.wait()
            except TimeoutError:
                silent, signs = (silent + 1 if child.signs == signs else 0), child.signs
            if silent >= most and not self._stopping:
                self.say(f"{self.spec.name} gave no sign of life for {self.spec.hung_after_s:g} s; ending it")
                child.kill()
                return

    async def _pause(self, delay_s: float) -> None:
        if delay_s:
            try:
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _is_ready(self, child: Child) -> bool:
        """Wait until the part is ready; False if it ended first. One that does neither in time is ended."""
        ready = asyncio.ensure_future(self.spec.until_ready(child))
        ended = asyncio.ensure_future(child.exited.wait())
        try:
            done, _ = await asyncio.wait({ready, ended}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ready, ended):
                task.cancel()
        if not done:
            self.say(f"{self.spec.name} was not ready within {READY_WITHIN_S:.0f} s; ending it")
            child.kill()
        return ready in done and not child.exited.is_set()

    def _give_up(self, ending: str, tries: int) -> None:
        words = self.child.last_words() if self.child else ""
        text = f"{self.spec.name} {ending} at its start, {tries} times: {words or 'no word'}"
        error = StartError(f"{text} (log: {self.spec.log})")
        if self.first_up.done():
            self.lost.set_result(error)
        else:
            self.first_up.set_exception(error)


class WarmPool:
    """Processes that have imported a module and wait for their orders (see ``warm``)."""

    def __init__(self, python: Sequence[str], module: str, mark: Path, log: Path) -> None:
        """``mark`` goes into the command line, where a later supervisor recognises its leftovers by it."""
        self._argv = [*python, "-m", "bandroom.supervisor.warm", module, str(mark)]
        self._log = log
        self._waiting: list[Child] = []

    def prepare(self, count: int = 1) -> None:
        """Have at least ``count`` waiting."""
        self._waiting = [child for child in self._waiting if not child.exited.is_set()]
        while len(self._waiting) < count:
            self._waiting.append(Child(self._argv, self._log, stdin=True))

    def take(self, argv: Sequence[str], log: Path) -> Child:
        """Let one run the module with ``argv``, its stderr to ``log``."""
        self.prepare()
        child = self._waiting.pop(0)
        child.send_line(json.dumps({"argv": list(argv), "log": str(log)}))
        child.use_log(log)
        return child

    async def stop(self) -> None:
        """End those that wait."""
        for child in self._waiting:
            child.kill()
            await child.exited.wait()
        self._waiting.clear()
