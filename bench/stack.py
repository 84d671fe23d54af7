"""A whole `bandroom up` for benches: started on free ports and a folder of its own, ended with the block."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandroom.clock import ServerClock
from bandroom.paths import HOME_VARIABLE, Home
from bandroom.runstate import NotRunning, RunInfo

UP_WITHIN_S = 120.0


@dataclass(slots=True)
class Stack:
    """What is running."""

    home: Home
    process: subprocess.Popen[bytes]
    prefix: tuple[str, ...] = ()
    """What every command line begins with: `ip netns exec …` where it runs in a namespace."""

    @property
    def info(self) -> RunInfo:
        return RunInfo.read(self.home)

    @property
    def clock(self) -> ServerClock:
        return ServerClock.from_file(self.home.gate_clock)

    def cli(self, *words: str) -> Any:
        """`bandroom words… --json`, which must succeed."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-P", "-m", "bandroom.cli", *words, "--json"],
            env=_environment(self.home),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"bandroom {' '.join(words)}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def pid_of(self, part: str) -> int:
        """Of `broker`, `service` or `tempo`."""
        pids = self.info.pids
        return pids.tempo[0] if part == "tempo" else int(getattr(pids, part))

    def wait_new(self, part: str, old: int) -> int:
        """Wait until the supervisor has brought `part` back; its process id."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if (pid := self.pid_of(part)) != old:
                    return pid
            except NotRunning:
                pass  # between two versions of run.json
            time.sleep(0.01)
        raise RuntimeError(f"{part} did not come back")


def _environment(home: Home, host: str | None = None) -> dict[str, str]:
    keep = ("BANDROOM_GATE", "BANDROOM_MOSQUITTO")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BANDROOM_") or name in keep}
    where = {} if host is None else {"BANDROOM_MQTT_HOST": host, "BANDROOM_HTTP_HOST": host}
    return {**clean, **where, HOME_VARIABLE: str(home.root)}


@contextmanager
def running(folder: Path, *options: str, prefix: Sequence[str] = (), host: str | None = None) -> Iterator[Stack]:
    """`bandroom up`, ready; on the address `host` instead of the loopback, and begun by `prefix`, if given."""
    home = Home(folder / "home")
    argv = [*prefix, sys.executable, "-P", "-m", "bandroom.cli", "up", "--home", str(home.root)]
    argv += ["--mqtt-port", "0", "--http-port", "0", *options]
    with (folder / "up.log").open("ab") as log:
        process = subprocess.Popen(
            argv, env=_environment(home, host), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    stack = Stack(home, process, tuple(prefix))
    try:
        _wait_ready(stack, folder / "up.log")
        yield stack
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(stack: Stack, log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        try:
            if stack.info.pids.supervisor == stack.process.pid:
                return
        except NotRunning:
            pass  # not yet
        if stack.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"bandroom up did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)
