"""Brokers for benches and tests: bare, or with one of the access controls that are compared."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 10.0
# Debian keeps daemons out of an ordinary user's PATH.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@dataclass(slots=True)
class Broker:
    """A running broker: where it listens, and its process (replaced by `restart`)."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    under: Sequence[str] = ()

    @property
    def socket_path(self) -> str:
        return str(self.folder / "broker.sock")

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until it has gone."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again on the same ports."""
        with suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        self.process = _start(self.folder, self.under)
        _wait_ready(self)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(
    folder: Path, options: str = "allow_anonymous true\n", port: int | None = None, *, under: Sequence[str] = ()
) -> Iterator[Broker]:
    """A Mosquitto on a loopback port and on `folder`/broker.sock, with `options` added to its configuration.

    `under` is the command, if any, that it is started by (valgrind …).
    """
    if MOSQUITTO is None:
        raise RuntimeError("mosquitto is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    user = "user root\n" if os.geteuid() == 0 else ""
    (folder / "mosquitto.conf").write_text(
        f"{user}per_listener_settings false\npersistence false\nlistener {port} 127.0.0.1\n"
        f"listener 0 {folder / 'broker.sock'}\nset_tcp_nodelay true\nmax_queued_messages 100\nsys_interval 0\n"
        f"check_retain_source false\nlog_type error\nlog_type warning\n{options}"
    )
    broker = Broker(folder, port, _start(folder, under), under)
    try:
        _wait_ready(broker)
        yield broker
    finally:
        broker.process.send_signal(signal.SIGCONT)
        broker.process.terminate()
        try:
            broker.process.wait(5)
        except subprocess.TimeoutExpired:
            broker.kill()


def _start(folder: Path, under: Sequence[str]) -> subprocess.Popen[bytes]:
    assert MOSQUITTO is not None
    with (folder / "broker.log").open("ab") as log:
        return subprocess.Popen([*under, MOSQUITTO, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)


def _wait_ready(broker: Broker) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", broker.port), timeout=1):
            return
        if broker.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"mosquitto did not start: {(broker.folder / 'broker.log').read_text()[-2000:]}")
        time.sleep(0.01)
