"""One child process: started so that it cannot outlive us, its readiness and its end as events."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from bandroom import alive

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_MOST_FILES = 1_048_576
# Only the supervisor speaks to systemd: Mosquitto would say READY=1 for all of us.
_NOT_THEIRS = frozenset(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"])


def _before_exec(parent: int) -> Callable[[], None]:
    """Runs in the child between fork and exec."""

    def prepare() -> None:
        # SIGKILL: however hung a part is, it must not go on without its supervisor.
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

    return prepare


def open_log(path: Path) -> int:
    """A descriptor that appends to ``path`` (0600)."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Child:
    """A running process. Its stderr goes to ``log``, as do lines on stdout other than ``{"ready": true}``.

    A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the parts in order.
    """

    def __init__(self, argv: Sequence[str], log: Path, *, pass_fds: Sequence[int] = (), stdin: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._log_path = log
        self._log = open_log(log)
        self._log_begins = os.fstat(self._log).st_size
        self._rest = b""
        self.ready = asyncio.Event()
        self.exited = asyncio.Event()
        self.signs = 0
        """Signs of life so far."""
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                list(argv),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=tuple(pass_fds),
                env={name: value for name, value in os.environ.items() if name not in _NOT_THEIRS},
                start_new_session=True,
                preexec_fn=_before_exec(os.getpid()),
            )
        except BaseException:
            os.close(self._log)
            raise
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("no pipe to the child")
        self._stdout = stdout
        os.set_blocking(stdout.fileno(), False)
        self._loop.add_reader(stdout.fileno(), self._read)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ending(self) -> str:
        """How it ended, for a message."""
        code = self._process.returncode
        if code is None:
            return "still runs"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def send_line(self, line: str) -> None:
        """One line on its stdin, which is closed after it. The line must fit into a pipe (4 KB)."""
        if self._process.stdin is None:
            raise RuntimeError("this child has no stdin")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, which `exited` tells

    def use_log(self, log: Path) -> None:
        """From now on lines of its stdout go to ``log``."""
        os.close(self._log)
        self._log = open_log(log)
        self._log_begins = os.fstat(self._log).st_size
        self._log_path = log

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.exited.is_set():
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, without waiting."""
        self.signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after ``grace_s``; returns when it has ended."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.exited.wait()
        except TimeoutError:
            self.kill()
            await self.exited.wait()

    def last_words(self) -> str:
        """Why it ended, for a message: the last two lines of its log that speak of errors, else its last line."""
        with self._log_path.open("rb") as file:
            file.seek(max(self._log_begins, self._log_path.stat().st_size - 4000))
            lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "error" in line.lower()]
        return " | ".join(errors[-2:] or lines[-1:])

    def _read(self) -> None:
        try:
            data = os.read(self._stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._stdout.fileno())
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line == alive.SIGN:
                self.signs += 1
            elif _says_ready(line):
                self.ready.set()
            else:
                # A full disk costs a line of log, not a running part.
                with contextlib.suppress(OSError):
                    os.write(self._log, line + b"\n")
        self._rest = self._rest[-65536:]

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._read()
        self._loop.remove_reader(self._stdout.fileno())
        self._stdout.close()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        os.close(self._log)
        self.exited.set()


def _says_ready(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        value: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and cast("dict[str, Any]", value).get("ready") is True
