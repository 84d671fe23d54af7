"""Parts that hang are replaced, a broker that just starts is not hung up on, what cannot start ends `up`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from bandroom.beats.lanes import LANES
from bandroom.paths import Home
from bandroom.supervisor import pulse
from bandroom.testing import wait_until, wait_until_async

StartStack = Callable[..., Any]
# The limit is 4 s for a worker and 10 s for the service; the rest is for a machine that is busy with other tests.
WORKER_BACK_WITHIN_S = 12.0
SERVICE_BACK_WITHIN_S = 25.0


class Ear:
    """Remembers the numbers of a room's beats, and when the latest came."""

    def __init__(self, stack: Any, tenant: str, room: str) -> None:
        minted = stack.cli("tokens", "mint", "--tenant", tenant, "--role", "teacher", "--sub", "t-ear")
        self.beats: list[tuple[float, bytes]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=minted["client_id"])
        self._client.username_pw_set(minted["username"], minted["token"])
        topic = f"tenant/{tenant}/music_room/{room}/beat"
        self._client.on_connect = lambda client, *_: client.subscribe(topic)
        self._client.on_message = lambda _c, _u, message: self.beats.append((time.monotonic(), message.payload))
        self._client.connect(*stack.mqtt)
        self._client.loop_start()

    def next_beat(self, after_s: float, timeout_s: float) -> float:
        """Waits for a beat later than ``after_s``; when it came."""
        return wait_until(
            lambda: next((at for at, _ in reversed(self.beats) if at > after_s), 0.0),
            timeout_s=timeout_s,
            what="a beat",
        )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_hung_service_and_worker_are_replaced(start_stack: StartStack, home: Home) -> None:
    """SIGSTOP to the service: beats go on, and it answers again. SIGSTOP to the worker: beats come again. Both with
    new processes, by themselves, within seconds.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    room = stack.cli("rooms", "create", "--tenant", "lincoln", "--bpm", "240", "--start")["room"]
    ear = Ear(stack, "lincoln", room)
    try:
        ear.next_beat(0.0, 10)
        service = stack.pid_of("service")
        stopped_s = time.monotonic()
        os.kill(service, signal.SIGSTOP)
        stack.wait_restarted("service", service, SERVICE_BACK_WITHIN_S)
        assert httpx.get(f"{stack.url}/healthz", trust_env=False, timeout=10).status_code == 200
        print(f"the service answers {time.monotonic() - stopped_s:.1f} s after it was stopped")
        gaps = [b[0] - a[0] for a, b in zip(ear.beats, ear.beats[1:], strict=False)]
        assert max(gaps) < 3, "beats go on without the service"

        worker = stack.pid_of("tempo")
        stopped_s = time.monotonic()
        os.kill(worker, signal.SIGSTOP)
        stack.wait_restarted("tempo", worker, WORKER_BACK_WITHIN_S)
        # What was on its way when it was stopped is older than its restart.
        beat_s = ear.next_beat(stopped_s + 2, WORKER_BACK_WITHIN_S)
        print(f"beats again {beat_s - stopped_s:.1f} s after the worker was stopped")
        assert beat_s - stopped_s < WORKER_BACK_WITHIN_S
        assert stack.shown().count("no sign of life") == 2
    finally:
        ear.close()


async def test_a_broker_that_hangs_is_noticed(start_stack: StartStack, home: Home) -> None:
    """A broker that goes round is left alone; stopped by SIGSTOP it is reported, once its silence has lasted."""
    stack = start_stack(home)
    hung = asyncio.Event()
    pid = stack.pid_of("broker")
    pulses = pulse.watch(home, lambda: pid, hung.set, number=998, keepalive_s=2, hung_after_s=4.0)
    watching = asyncio.create_task(pulses)
    # The service's, the worker's, the supervisor's, ours.
    all_of_them = f"connections {3 + LANES}\n"
    await wait_until_async(lambda: all_of_them in home.gate_status.read_text(), what="the watcher's connection")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(hung.wait()), 3)
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.wait_for(hung.wait(), 20)
    finally:
        os.kill(pid, signal.SIGCONT)
        watching.cancel()
    assert "broker does not answer" not in stack.shown(), "the supervisor itself waits longer"


def test_no_hang_up_before_the_broker_hears(start_stack: StartStack, home: Home) -> None:
    """SIGHUP after SIGHUP while the broker starts anew: none ends it, and it is the first new one that stays."""
    stack = start_stack(home)
    for _ in range(3):
        old = stack.kill("broker")

        def renewed(old: int = old) -> int:
            stack.process.send_signal(signal.SIGHUP)
            pid = stack.pid_of("broker")
            return pid if pid != old else 0

        wait_until(renewed, timeout_s=30, what="a new broker", interval_s=0.002)
        stack.process.send_signal(signal.SIGHUP)
    assert stack.shown().count("broker was ended by SIGKILL") == 3
    assert "SIGHUP" not in stack.shown()
    ready = f"{stack.info.http.url}/readyz"
    wait_until(lambda: httpx.get(ready).status_code == 200, timeout_s=20, what="the service is back at the broker")
    assert stack.cli("doctor")["ok"]


def test_a_service_that_cannot_start_ends_it(home: Home) -> None:
    """A damaged database keeps the service from starting: after some tries `up` ends with one line that says why."""
    home.create()
    home.database.write_bytes(b"this is no database " * 500)
    ran = _up(home)
    assert ran.returncode == 1, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("bandroom: service ended with code 1 at its start, 5 times:")
    assert str(home.log_of("service")) in last
    assert "restore a backup" in last
    assert not home.run_json.exists()


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_disk_that_cannot_be_written(tmp_path: Path, state: str) -> None:
    """A full and a read-only disk: `up` says which folder, what is wrong and what to do, and leaves nothing running."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = "size=16k" if state == "full" else "size=1m,ro"
    command = [sys.executable, "-P", "-m", "bandroom.cli", "up", "--home", str(disk / "data")]
    script = 'mount -t tmpfs -o "$1" none "$2" || exit 77; shift 2; exec "$@"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", options, str(disk), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode == 77 or "unshare" in ran.stderr:
        pytest.skip("mounting needs more rights than this user has")
    assert ran.returncode == 1, ran.stderr
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert str(disk / "data") in ran.stderr
    assert {"full": "make room", "read-only": "mounted read-only"}[state] in ran.stderr


def test_systemd_is_told(start_stack: StartStack, home: Home, tmp_path: Path) -> None:
    """`up` says READY=1 once everything is ready, WATCHDOG=1 ever again, and STOPPING=1 when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        stack = start_stack(home, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        told = [systemd.recv(200).decode() for _ in range(4)]
        assert sum(words.startswith("READY=1\n") for words in told) == 1
        assert told.count("WATCHDOG=1") == 3
        assert stack.stop() == 0
        systemd.setblocking(False)
        rest: list[str] = []
        while True:
            try:
                rest.append(systemd.recv(200).decode())
            except BlockingIOError:
                break
        assert rest[-1] == "STOPPING=1"


def _up(home: Home) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "bandroom.cli", "up", "--home", str(home.root)]
    ports = ("--mqtt-port", "0", "--http-port", "0")
    return subprocess.run([*command, *ports], capture_output=True, text=True, timeout=90, check=False)
