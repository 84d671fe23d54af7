"""One part, with small real programs: readiness, restart, growing delay, giving up, ending."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bandroom.supervisor.child import Child
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.part import Part, Spec, WarmPool
from bandroom.testing import wait_until_async

READY = "import json, sys, time; print(json.dumps({'ready': True}), flush=True); "


def _part(tmp_path: Path, code: str, said: list[str], grace_s: float = 5.0, **more: Any) -> Part:
    log = tmp_path / "part.log"

    def start() -> Child:
        return Child((sys.executable, "-c", code), log)

    return Part(Spec("part", start=start, log=log, grace_s=grace_s, **more), said.append, lambda: said.append("up"))


async def _with(part: Part, act: Callable[[], object]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(part.keep_running())
        try:
            result = act()
            if asyncio.iscoroutine(result):
                await result
        finally:
            await part.stop()


async def test_ready_then_restart_at_once(tmp_path: Path) -> None:
    """A part that was ready and is killed is started again without delay, and announced again."""
    said: list[str] = []
    part = _part(tmp_path, READY + "time.sleep(100)", said)

    async def act() -> None:
        await part.first_up
        first, began = part.pid, time.monotonic()
        part.child.kill()  # type: ignore[union-attr]
        await wait_until_async(lambda: said.count("up") == 2, what="a second start")
        assert part.pid != first
        assert time.monotonic() - began < 5
        assert any("SIGKILL" in line for line in said)

    await _with(part, act)
    assert part.child is not None
    assert part.child.exited.is_set()


async def test_gives_up_on_one_that_never_gets_ready(tmp_path: Path) -> None:
    """A part that dies at its start again and again fails with its own last words."""
    part = _part(tmp_path, "import sys; sys.exit('error: the moon is full')", [])

    async def act() -> None:
        with pytest.raises(StartError, match="the moon is full"):
            await part.first_up

    await _with(part, act)


async def test_program_that_is_not_there(tmp_path: Path) -> None:
    """A part whose program cannot be started fails by its name instead of taking the supervisor down."""
    log = tmp_path / "part.log"
    spec = Spec("part", start=lambda: Child((str(tmp_path / "nowhere"),), log), log=log, grace_s=1)
    part = Part(spec, lambda _: None, lambda: None)

    async def act() -> None:
        with pytest.raises(StartError, match="nowhere"):
            await part.first_up

    await _with(part, act)


async def test_growing_delay(tmp_path: Path) -> None:
    """One that was ready but keeps dying is started ever more slowly, so that it cannot eat a core."""
    said: list[str] = []
    part = _part(tmp_path, READY, said)

    async def act() -> None:
        began = time.monotonic()
        await wait_until_async(lambda: said.count("up") >= 5, timeout_s=30, what="five starts")
        assert time.monotonic() - began > 0.1 + 0.2 + 0.4

    await _with(part, act)


async def test_deaf_to_being_asked(tmp_path: Path) -> None:
    """A part that ignores SIGTERM is ended by force when its grace is over."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "time.sleep(100)"
    part = _part(tmp_path, code, [], grace_s=0.2)

    async def act() -> None:
        await part.first_up

    await _with(part, act)
    assert part.child is not None
    assert "SIGKILL" in part.child.ending


async def test_output_goes_to_the_log(tmp_path: Path) -> None:
    """What a part prints lands in its log, closed to others; odd lines are no sign of readiness."""
    code = "print('{\"ready\": 1}'); print('[1'); print('{' * 5000); " + READY + "time.sleep(100)"
    part = _part(tmp_path, code, [])

    async def act() -> None:
        await part.first_up

    await _with(part, act)
    log = tmp_path / "part.log"
    assert log.read_text().splitlines()[:2] == ['{"ready": 1}', "[1"]
    assert log.stat().st_mode & 0o777 == 0o600


async def test_child_does_not_hear_ctrl_c(tmp_path: Path) -> None:
    """A child has a session of its own: the terminal's Ctrl-C reaches the supervisor alone."""
    import os

    child = Child((sys.executable, "-c", READY + "time.sleep(100)"), tmp_path / "log")
    await child.ready.wait()
    assert os.getsid(child.pid) != os.getsid(0)
    await child.stop(5)
    assert signal.SIGTERM.name in child.ending


async def test_warm_spare_runs_the_module(tmp_path: Path) -> None:
    """A warm process runs its module as a program with the given arguments, and its errors go to the part's log."""
    (tmp_path / "greeter.py").write_text(
        "import json, sys\nif __name__ == '__main__':\n"
        "    print(json.dumps({'ready': True}), flush=True)\n    sys.stderr.write(' '.join(sys.argv[1:]))\n"
    )
    launcher = (sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; "
                "sys.argv = sys.argv[2:]; sys.argv[0] = 'warm'; "
                "runpy.run_module('bandroom.supervisor.warm', run_name='__main__')")  # fmt: skip
    pool = WarmPool(launcher, "greeter", tmp_path, tmp_path / "spare.log")
    pool.prepare(2)
    child = pool.take(["--name", "a b"], tmp_path / "greeter.log")
    await asyncio.wait_for(child.ready.wait(), 20)
    await asyncio.wait_for(child.exited.wait(), 20)
    assert (tmp_path / "greeter.log").read_text() == "--name a b"
    await pool.stop()


ALIVE = "from bandroom import alive; alive.tell(); "


async def test_one_that_hangs_is_replaced(tmp_path: Path) -> None:
    """A part that gives signs of life lives on; stopped by SIGSTOP it is ended within its limit, and replaced."""
    said: list[str] = []
    part = _part(tmp_path, READY + "\nwhile True: " + ALIVE + "time.sleep(0.05)", said, hung_after_s=1.0)

    async def act() -> None:
        await part.first_up
        first, child = part.pid, part.child
        assert child is not None
        await wait_until_async(lambda: child.signs > 30, what="a life longer than the limit")
        assert said == ["up"]
        stopped_s = time.monotonic()
        child.signal(signal.SIGSTOP)
        await wait_until_async(lambda: said.count("up") == 2, what="a second start")
        assert time.monotonic() - stopped_s > 0.7
        assert part.pid != first
        assert any("no sign of life for 1 s" in line for line in said)

    await _with(part, act)


async def test_one_that_cannot_be_brought_back(tmp_path: Path) -> None:
    """A part that had been ready and then fails at every start is given up, with its last words."""
    said: list[str] = []
    mark = tmp_path / "mark"
    code = (
        f"import pathlib; mark = pathlib.Path({str(mark)!r}); "
        "first = not mark.exists(); mark.touch(); "
        "first or exit('ImportError: no module named band'); " + READY + "time.sleep(100)"
    )
    part = _part(tmp_path, code, said, tries_later=3)

    async def act() -> None:
        await part.first_up
        assert part.child is not None
        part.child.kill()
        error = await asyncio.wait_for(part.lost, 20)
        assert "3 times" in str(error)
        assert "ImportError" in str(error)
        assert str(tmp_path / "part.log") in str(error)

    await _with(part, act)
