"""One supervisor a data folder, and nothing left of a dead one."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from bandroom.paths import Home
from bandroom.runstate import NotRunning, RunInfo
from bandroom.supervisor.errors import InTheWay, StartError

_GONE_WITHIN_S = 5.0


def take(home: Home) -> int:
    """Lock the data folder until this process ends. Returns the file descriptor; raises ``InTheWay``.

    The kernel drops the lock with the process, however that dies; children do not inherit it.
    """
    handle = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InTheWay(f"{home.root} is in use: {_who(home)}") from None
    return handle


def _who(home: Home) -> str:
    try:
        info = RunInfo.read(home)
    except NotRunning:
        return "another `bandroom up` is just starting or stopping there"
    return f"`bandroom up` runs there as process {info.pids.supervisor}, at {info.http.url}"


def clear_leftovers(home: Home) -> None:
    """Remove what a killed supervisor left behind: run.json, and parts still dying. The lock must be held.

    The parts die with their supervisor, but a moment later, and the old must be gone before the new starts.
    """
    try:
        info = RunInfo.read(home)
    except NotRunning:
        home.run_json.unlink(missing_ok=True)
        return
    for pid in (info.pids.broker, info.pids.service, *info.pids.tempo):
        if _is_ours(pid, home):
            os.kill(pid, signal.SIGKILL)
            _wait_gone(pid, home)
    home.run_json.unlink(missing_ok=True)


def _is_ours(pid: int, home: Home) -> bool:
    """Whether ``pid`` is still a part on this folder: process ids are used again, so its command line decides.

    In a container they are used again at once, by us or by whoever started us.
    """
    if pid <= 1 or pid in (os.getpid(), os.getppid()):
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        mine = os.stat(f"/proc/{pid}").st_uid == os.getuid()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return mine and any(os.fsencode(path) in words for path in (home.root, home.broker_conf))


def _wait_gone(pid: int, home: Home) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    while _is_ours(pid, home):
        if time.monotonic() > deadline:
            raise StartError(f"process {pid} of an earlier run does not end; end it by hand")
        time.sleep(0.01)
