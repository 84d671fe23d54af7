"""kill -9 of each part: the others go on, the part comes back, and after the supervisor's death nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from bandroom.beats.spelling import serves
from bandroom.paths import Home
from bandroom.testing import wait_until

StartStack = Callable[..., Any]
PARTS = ("broker", "service", "tempo")


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _playing_room(stack: Any, tenant: str) -> str:
    """A room that beats; its id."""
    stack.cli("tenants", "create", tenant)
    return str(stack.cli("rooms", "create", "--tenant", tenant, "--bpm", "240", "--start")["room"])


class Listener:
    """A teacher's connection that hears a room's beats, and counts what happened to the connection."""

    def __init__(self, stack: Any, tenant: str, room: str, sub: str) -> None:
        minted = stack.cli("tokens", "mint", "--tenant", tenant, "--role", "teacher", "--sub", sub)
        self.beats: list[tuple[float, dict[str, Any]]] = []
        self.connects = 0
        self.disconnects = 0
        self.heard = threading.Event()
        self._topic = f"tenant/{tenant}/music_room/{room}/beat"
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=minted["client_id"])
        self._client.username_pw_set(minted["username"], minted["token"])
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message
        self._client.connect(*stack.mqtt, keepalive=30)
        self._client.loop_start()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        self.connects += 1
        client.subscribe(self._topic, qos=0)

    def _disconnected(self, *_: Any) -> None:
        self.disconnects += 1

    def _message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        import json

        self.beats.append((time.monotonic(), json.loads(message.payload)))
        self.heard.set()

    def next_beat(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """The next beat to arrive."""
        self.heard.clear()
        assert self.heard.wait(timeout_s), f"no beat within {timeout_s} s"
        return self.beats[-1][1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def _listening(stack: Any, tenant: str, room: str, sub: str = "t-ear") -> Iterator[Listener]:
    listener = Listener(stack, tenant, room, sub)
    try:
        yield listener
    finally:
        listener.close()


def _on_one_grid(beats: list[dict[str, Any]]) -> None:
    """Numbers rise, each once, and every beat lies where the first one and the tempo put it."""
    numbers = [beat["n"] for beat in beats]
    assert numbers == sorted(set(numbers))
    first = beats[0]
    step_us = 60e6 / first["bpm"]
    for beat in beats:
        assert abs(beat["t"] - (first["t"] + (beat["n"] - first["n"]) * step_us)) <= 2


def _hurt_worker(stack: Any, listener: Listener) -> None:
    """kill -9 of the first worker; no beat of the listener's room that is due later than 0.6 s after it is missing."""
    mark = len(listener.beats) - 1
    last = listener.beats[mark][1]
    old = stack.kill("tempo")
    killed_us = last["t"] + round((time.monotonic() - listener.beats[mark][0]) * 1e6)
    stack.wait_restarted("tempo", old)
    deadline = time.monotonic() + 10
    while listener.beats[-1][1]["t"] < killed_us + 1_500_000:
        assert time.monotonic() < deadline, "no more beats"
        listener.next_beat()
    step = round(60e6 / last["bpm"])
    heard = {beat["n"] for _, beat in listener.beats[mark:]}
    due = {n for n in range(last["n"], max(heard)) if last["t"] + (n - last["n"]) * step > killed_us + 600_000}
    assert due <= heard, f"missing: {sorted(due - heard)}"


def test_each_part_comes_back(start_stack: StartStack, home: Home) -> None:
    """After kill -9 of broker, service and worker in turn: new process, same ports, same grid, same numbers."""
    stack = start_stack(home)
    room = _playing_room(stack, "lincoln")
    before = stack.info
    with _listening(stack, "lincoln", room) as listener:
        listener.next_beat()
        for part in PARTS:
            old = stack.kill(part)
            stack.wait_restarted(part, old)
            assert _gone(old)
            now = stack.info
            assert (now.mqtt, now.http, now.pids.supervisor) == (before.mqtt, before.http, before.pids.supervisor)
            listener.next_beat()
        assert [item["room"] for item in stack.cli("rooms", "list", "--tenant", "lincoln")] == [room]
        _on_one_grid([beat for _, beat in listener.beats])
        assert listener.disconnects == 1, "the broker's death, and no other, is felt by a client"


def test_worker_is_back_at_once(start_stack: StartStack, home: Home) -> None:
    """No beat due later than 0.6 s after a worker's kill is missing (the contract's promise), five times over."""
    stack = start_stack(home)
    room = _playing_room(stack, "lincoln")
    with _listening(stack, "lincoln", room) as listener:
        for _ in range(5):
            listener.next_beat()
            listener.next_beat()
            _hurt_worker(stack, listener)
        _on_one_grid([beat for _, beat in listener.beats])


@pytest.mark.parametrize("target", ["broker", "supervisor"])
def test_hang_up_is_not_noticed(start_stack: StartStack, home: Home, target: str) -> None:
    """SIGHUP to the broker, or to the supervisor which passes it on: no client is disconnected, beats go on."""
    stack = start_stack(home)
    room = _playing_room(stack, "lincoln")
    before = stack.info
    with _listening(stack, "lincoln", room) as listener:
        for _ in range(3):
            listener.next_beat()
            os.kill(stack.pid_of(target), signal.SIGHUP)
            listener.next_beat()
            listener.next_beat()
        assert (listener.connects, listener.disconnects) == (1, 0)
        numbers = [beat["n"] for _, beat in listener.beats]
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no beat is missing"
    assert stack.info == before


def test_supervisor_killed(start_stack: StartStack, home: Home) -> None:
    """kill -9 of the supervisor ends all parts, a stopped one too; a next `up` recovers, rooms and beat included."""
    stack = start_stack(home)
    room = _playing_room(stack, "lincoln")
    with _listening(stack, "lincoln", room) as listener:
        beat = listener.next_beat()
    pids = stack.info.pids
    os.kill(pids.tempo[0], signal.SIGSTOP)
    stack.process.kill()
    stack.process.wait()
    for pid in (pids.broker, pids.service, *pids.tempo):
        wait_until(lambda pid=pid: _gone(pid), what=f"the end of {pid}")
    assert home.run_json.exists(), "a killed supervisor cannot clean up"
    again = start_stack(home)
    with _listening(again, "lincoln", room) as listener:
        later = listener.next_beat()
    assert later["n"] > beat["n"]
    _on_one_grid([beat, later])


def test_stale_files_are_no_obstacle(start_stack: StartStack, home: Home) -> None:
    """A run.json that names living strangers, and a socket file that nobody answers: `up` starts, and kills nobody."""
    start_stack(home).stop()
    me = os.getpid()
    home.run_json.write_text(
        '{"mqtt":{"host":"127.0.0.1","port":1},"http":{"url":"http://127.0.0.1:1"},'
        f'"pids":{{"supervisor":{me},"broker":{me},"service":{me},"tempo":[{me}]}}}}'
    )
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.broker_socket))
    stack = start_stack(home)
    assert stack.info.pids.supervisor == stack.process.pid
    assert stack.stop() == 0


def test_several_workers(start_stack: StartStack, home: Home) -> None:
    """With three workers each has its own process and log. One is killed: its rooms beat again within 0.6 s, and those
    of another one miss nothing. Two are killed at once: both come back."""
    stack = start_stack(home, "--tempo-workers", "3")
    before = stack.info.pids.tempo
    assert len(set(before)) == 3
    stack.cli("tenants", "create", "lincoln")
    codes = [f"MUSIC-{number:04d}" for number in range(100)]
    ours, other = (next(code for code in codes if serves(("lincoln", code), index, 3)) for index in (0, 1))
    for code in (ours, other):
        stack.cli("rooms", "create", "--tenant", "lincoln", "--code", code, "--bpm", "240", "--start")
    with _listening(stack, "lincoln", ours) as listener, _listening(stack, "lincoln", other, "t-other") as witness:
        witness.next_beat()
        listener.next_beat()
        _hurt_worker(stack, listener)
        witness.next_beat()
        _on_one_grid([beat for _, beat in listener.beats])
        numbers = [beat["n"] for _, beat in witness.beats]
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no beat of another worker is missing"
    before = stack.info.pids.tempo
    assert len(set(before)) == 3
    for pid in before[:2]:
        os.kill(pid, signal.SIGKILL)

    def renewed() -> bool:
        now = stack.info.pids.tempo
        return not set(now) & set(before[:2]) and now[2] == before[2] and not any(_gone(pid) for pid in now)

    wait_until(renewed, what="two new workers")
