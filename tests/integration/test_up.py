"""`bandroom up`: starts everything, says where it is, lets nobody else in, and ends in order."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bandroom.paths import Home
from bandroom.runstate import NotRunning, RunInfo, RunState
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.gate import find_gate
from bandroom.supervisor.ports import lan_address

StartStack = Callable[..., Any]


def _listeners(pid: int) -> Iterator[tuple[str, int]]:
    """Address (as the kernel writes it, hexadecimal) and port of each TCP or UDP socket that waits for strangers."""
    inodes: set[str] = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    for table, waiting in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and words[3] in waiting:
                address, _, port = words[1].partition(":")
                yield address, int(port, 16)


def _pids(info: RunInfo) -> list[int]:
    pids = info.pids
    return [pids.supervisor, pids.broker, pids.service, *pids.tempo]


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ready_means_ready(stack: Any) -> None:
    """Once run.json is there, web and broker answer, and all the processes it names live."""
    host, port = stack.mqtt
    with socket.create_connection((host, port), timeout=5):
        pass
    assert httpx.get(f"{stack.url}/healthz", timeout=10).status_code == 200
    assert not [pid for pid in _pids(stack.info) if _gone(pid)]


def test_says_where_and_how(stack: Any) -> None:
    """The terminal shows the web address, how to make a room, and how to stop."""
    shown = stack.shown()
    assert stack.url in shown
    assert "rooms create" in shown
    assert "Ctrl-C" in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_ends_everything(start_stack: StartStack, home: Home, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end all parts and remove run.json; the exit code is 0."""
    stack = start_stack(home)
    pids = _pids(stack.info)
    assert stack.stop(number) == 0
    assert all(_gone(pid) for pid in pids)
    assert not home.run_json.exists()
    assert "Stopped." in stack.shown()


def test_stop_ends_parts_in_order(start_stack: StartStack, home: Home) -> None:
    """Workers end first, then the service, then the broker, so that each can say good-bye to the next."""
    stack = start_stack(home, "--tempo-workers", "2")
    pids = stack.info.pids
    names = {pids.broker: "broker", pids.service: "service", **dict.fromkeys(pids.tempo, "worker")}
    waiting = select.poll()
    ends = {os.pidfd_open(pid): name for pid, name in names.items()}
    for handle in ends:
        waiting.register(handle, select.POLLIN)
    ended: list[str] = []
    stack.process.send_signal(signal.SIGINT)
    while len(ended) < len(ends):
        ready = waiting.poll(30_000)
        assert ready, f"only {ended} have ended"
        # What ended since the last look is taken in the right order: a wrong one still shows, one part a look.
        for handle, _ in sorted(ready, key=lambda it: ("worker", "service", "broker").index(ends[it[0]])):
            ended.append(ends[handle])
            waiting.unregister(handle)
            os.close(handle)
    assert ended == ["worker", "worker", "service", "broker"]


def test_second_start_is_refused(stack: Any) -> None:
    """A second `up` on the folder exits with 3, says who is there, and disturbs nothing."""
    before = stack.info
    ran = stack.run("up", "--mqtt-port", "0", "--http-port", "0")
    assert ran.code == 3
    assert str(before.pids.supervisor) in ran.err
    assert len(ran.err.splitlines()) == 1
    assert stack.info == before


def test_closed_to_other_users(stack: Any) -> None:
    """Folders are 0700, files 0600, the broker's socket closed as well: keys, database, logs, all of it."""
    root = stack.home.root
    for path in (root, *root.rglob("*")):
        mode = path.lstat().st_mode
        assert not stat.S_IMODE(mode) & 0o077, f"{path} is open to others: {oct(mode)}"


def test_loopback_only(stack: Any) -> None:
    """Nothing listens on a wildcard address, nor on any but loopback."""
    seen = {found for pid in _pids(stack.info) for found in _listeners(pid)}
    assert {port for _, port in seen} >= {stack.mqtt[1], int(stack.url.rpartition(":")[2])}
    assert {address for address, _ in seen} <= {"0100007F", "00000000000000000000000001000000"}


def _secrets(home: Home) -> list[str]:
    """Every secret in the data folder, as it would look if it leaked."""
    found = [home.owner_token.read_text().strip()]
    for path in home.keys.iterdir():
        text = path.read_text()
        found += [line for line in text.splitlines() if line and not line.startswith("-----")]
    return found


def test_no_secret_in_arguments_or_logs(stack: Any) -> None:
    """Neither command lines, environments of the parts, nor logs hold a key, a token or a password."""
    stack.run("tenants", "list")  # the owner's token has been used
    for path in ("/api/tenants", "/mqtt"):  # and a careless client has put one where it does not belong
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        more = {**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt"}
        address = f"{stack.url}{path}?token=eyJhbGciOiJSUzI1NiJ9"
        with httpx.stream("GET", address, headers=more if path == "/mqtt" else {}, timeout=10) as answer:
            assert answer.status_code in (101, 401, 403), answer
    secrets = _secrets(stack.home)
    assert len(secrets) > 3
    places = {str(path): path.read_text(errors="replace") for path in stack.home.logs.iterdir()}
    places["the terminal"] = stack.shown()
    for pid in _pids(stack.info):
        for name in ("cmdline", "environ"):
            places[f"{name} of {pid}"] = Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    leaks = [place for place, text in places.items() if any(secret in text for secret in secrets)]
    assert not leaks
    assert not [place for place, text in places.items() if "eyJ" in text], "a token, by its first letters"


def test_taken_port_that_was_asked_for(start_stack: StartStack, home: Home) -> None:
    """A port that was asked for and is taken: one line that names it, exit code 3, and nothing left running."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ran = subprocess.run(
            [*_command(), "up", "--home", str(home.root), "--mqtt-port", str(port), "--http-port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 3
    assert str(port) in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    with pytest.raises(NotRunning):
        RunInfo.read(home)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--mqtt-port", "70000"), "70000"),
        (("--mqtt-port", "-1"), "-1"),
        (("--http-port", "eleven"), "eleven"),
        (("--public-url", "ftp://x"), "ftp://x"),
        (("--public-url", "javascript:alert(1)"), "javascript:alert(1)"),
        (("--tempo-workers", "0"), "0"),
        (("--bogus",), "--bogus"),
    ],
)
def test_bad_options(home: Home, words: tuple[str, ...], names: str) -> None:
    """A bad option gives one line on stderr that names the value, exit code 2, and nothing is made on disk."""
    ran = subprocess.run(
        [*_command(), "up", "--home", str(home.root), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 2, ran.stderr
    assert names in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not home.root.exists()


def test_folder_with_spaces_and_a_long_name(start_stack: StartStack, tmp_path: Path) -> None:
    """A data folder may have spaces and signs in its path, and a path longer than a socket's may be."""
    home = Home(tmp_path / ("my school's “band” " + "x" * 120) / "data")
    stack = start_stack(home)
    assert stack.home.broker_socket.exists()
    assert stack.home.broker_socket.parent.stat().st_mode & 0o077 == 0
    assert stack.stop() == 0


def test_restart_keeps_keys(start_stack: StartStack, home: Home) -> None:
    """A second run uses the first one's keys, token and clock: nothing is redone."""
    kept = ("owner.token", "gate/keys", "gate/clock")
    start_stack(home).stop()
    before = [(home.root / name).read_bytes() for name in kept]
    start_stack(home).stop()
    assert [(home.root / name).read_bytes() for name in kept] == before


def test_broker_of_somebody_else(start_stack: StartStack, home: Home, free_port: Callable[[], int]) -> None:
    """With an external broker (compose) `up` configures it, waits for it, and leaves it running; start.sh runs it."""
    library = find_gate(home)
    port = free_port()
    script = Path(__file__).parents[2] / "broker" / "start.sh"
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    broker = subprocess.Popen([str(script), str(home.broker_conf)], env={**os.environ, "PATH": path})
    try:
        more = {"BANDROOM_EXTERNAL_BROKER": "true", "BANDROOM_GATE": str(library)}
        stack = start_stack(home, "--mqtt-port", str(port), "--public-url", "https://band.example.org", **more)
        assert stack.mqtt == ("127.0.0.1", port)
        assert stack.info.pids.broker == 0
        # Clients come from outside, where the broker has the name that links have.
        assert RunState.read(home).mqtt_public_host == "band.example.org"
        found = stack.run("doctor")
        assert found.code == 0, found.out
        assert stack.stop() == 0
        assert broker.poll() is None
    finally:
        broker.terminate()
        broker.wait(10)


def test_lan(start_stack: StartStack, home: Home) -> None:
    """With --lan web and MQTT listen on the local network's address and nowhere else, and join links begin with it."""
    try:
        address = lan_address()
    except StartError:
        pytest.skip("this machine is in no network")
    stack = start_stack(home, "--lan")
    seen = {found for pid in _pids(stack.info) for found in _listeners(pid)}
    assert {found for found, _ in seen} == {socket.inet_aton(address)[::-1].hex().upper()}
    assert stack.mqtt[0] == address
    stack.cli("tenants", "create", "lincoln")
    assert stack.cli("rooms", "create", "--tenant", "lincoln")["join_url"].startswith(f"http://{address}:")


def test_public_url(start_stack: StartStack, home: Home) -> None:
    """Behind a proxy links begin with the public URL, while nothing listens anywhere else than before."""
    stack = start_stack(home, "--public-url", "https://band.example.org/")
    stack.cli("tenants", "create", "lincoln")
    made = stack.cli("rooms", "create", "--tenant", "lincoln")
    assert made["join_url"].startswith("https://band.example.org/join#")
    assert stack.url.startswith("http://127.0.0.1:")


def test_doctor_finds_all_well(stack: Any) -> None:
    """On a running installation every check passes, a beat over TCP and over the web port included."""
    report = stack.cli("doctor")
    assert report["ok"]
    assert {"beat over TCP", "beat over web", "gate's report"} <= {item["name"] for item in report["checks"]}


def test_doctor_without_anything_running(home: Home) -> None:
    """Where nothing runs doctor checks the machine, says so, and exits with 3."""
    ran = subprocess.run(
        [*_command(), "doctor", "--home", str(home.root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 3
    assert "bandroom up" in ran.stdout


def _command() -> list[str]:
    return [sys.executable, "-P", "-m", "bandroom.cli"]
