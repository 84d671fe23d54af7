"""HTTPS and MQTT over TLS with a certificate that is given: both doors, renewal while it runs, what stays closed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bandroom.mqtt import Connection, Credential, Tcp, WebSocket, connect
from bandroom.mqtt.endpoint import Endpoint
from bandroom.paths import Home
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.ports import lan_address
from bandroom.testing import wait_until, wait_until_async
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Room
from bandroom_devices.device import Device
from bandroom_devices.errors import Unreachable

from .certificates import NAME, Authority, Files, replace

StartStack = Callable[..., Any]
ANY_PORTS = ("--https-port", "0", "--mqtts-port", "0")
BEAT_WITHIN_S = 15.0
TREE = Path(__file__).parents[3]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def words(files: Files) -> tuple[str, ...]:
    """The options of `up` for this pair."""
    return (*ANY_PORTS, "--tls-cert", str(files.certificate), "--tls-key", str(files.key))


def shown_by(host: str, port: int, authority: Authority) -> str:
    """SHA-256 of the certificate that a listener shows, its names and its authority checked."""
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        authority.trusted().wrap_socket(plain, server_hostname=NAME) as secure,
    ):
        return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()


def beating_room(stack: Any) -> dict[str, Any]:
    stack.cli("tenants", "create", "lincoln")
    return stack.cli("rooms", "create", "--tenant", "lincoln", "--code", "MUSIC-1234", "--bpm", "240", "--start")


def joined(url: str, authority: Authority) -> dict[str, Any]:
    """What joining over HTTPS gives."""
    body = {"tenant": "lincoln", "code": "MUSIC-1234"}
    answer = httpx.post(f"{url}/api/join", json=body, verify=authority.trusted(), trust_env=False)
    assert answer.status_code == 200, answer.text
    assert "Secure" in answer.headers["set-cookie"]
    return answer.json()


def endpoints(place: dict[str, Any], authority: Authority) -> list[Endpoint]:
    """Both doors to the broker, as the answer to a join names them."""
    assert place["tls"] is True
    assert place["ws_url"].startswith("wss://")
    return [Tcp(place["host"], place["port"], authority.trusted()), WebSocket(place["ws_url"], authority.trusted())]


def figures(stack: Any) -> str:
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    return httpx.get(f"{stack.url}/metrics", headers=headers, trust_env=False).text


class Ear:
    """Hears a room's beats over one connection, and counts how often it connected."""

    def __init__(self) -> None:
        self.beats = 0
        self.connection: Connection | None = None

    async def listen(self, connection: Connection, room: Room) -> None:
        await connection.subscribe(Filter.of(room.beat()))
        async for incoming in connection.messages:
            self.beats += isinstance(incoming.message, Beat)

    async def hears_more(self) -> None:
        mark = self.beats
        await wait_until_async(lambda: self.beats >= mark + 2, timeout_s=BEAT_WITHIN_S, what="two more beats")


async def test_join_and_beat_over_both(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """A pupil joins by https and hears beats by mqtts and by wss; the device kit and the command line do so as well."""
    stack = start_stack(home, *words(authority.sign("server", NAME)))
    url = stack.info.tls.url
    await wait_until_async(lambda: url in stack.shown(), what="the address in the terminal")
    await asyncio.to_thread(beating_room, stack)
    told = await asyncio.to_thread(joined, url, authority)
    for endpoint in endpoints(told["mqtt"], authority):
        who = Credential.fixed(told["username"], told["client_id"], told["token"])
        async with asyncio.timeout(BEAT_WITHIN_S), connect(endpoint, who, will=None) as connection:
            await connection.subscribe(Filter.of(Room(TenantId("lincoln"), RoomId("MUSIC-1234")).beat()))
            async for incoming in connection.messages:
                if isinstance(incoming.message, Beat):
                    break
    async with asyncio.timeout(BEAT_WITHIN_S):
        async with Device.join(url, "lincoln", "MUSIC-1234", tls=authority.trusted()) as device:
            async for heard in device.beat_messages():
                assert heard.beat.bpm == 240
                break
    with pytest.raises(Unreachable, match=r"does not trust.*--ca FILE"):
        async with Device.join(url, "lincoln", "MUSIC-1234"):
            pass
    more = ("--tenant", "lincoln", "--code", "MUSIC-1234", "--count", "1", "--seconds", "20", "--what", "beats")
    ran = await asyncio.to_thread(stack.run, "listen", "--url", url, "--ca", str(authority.file), *more)
    assert ran.code == 0, ran.err
    report = await asyncio.to_thread(stack.cli, "doctor")
    assert {"certificate", "beat over mqtts", "beat over wss"} <= {item["name"] for item in report["checks"]}


def test_a_board(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """A board on MicroPython plays over TLS where it knows the authority, and stays out where it knows another one."""
    micropython = shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")
    if micropython is None:
        pytest.skip("micropython is not installed, so the board's client was NOT run")
    stack = start_stack(home, *words(authority.sign("server", NAME)))
    room = beating_room(stack)["room"]
    credential = stack.cli("devices", "enroll", "--tenant", "lincoln", "d-board-1")
    stack.cli("rooms", "assign-device", room, "--tenant", "lincoln", "d-board-1")
    told = {
        "path": str(TREE / "devices" / "micropython"),
        "host": NAME,
        "port": stack.info.tls.mqtts_port,
        "username": credential["username"],
        "password": credential["password"],
        "beats": 2,
    }
    script = TREE / "tests" / "integration" / "devices" / "board.py"

    def run(*more: str, **orders: Any) -> subprocess.CompletedProcess[str]:
        order = json.dumps({**told, **orders}) + "\n"
        command = [micropython, "-X", "heapsize=256K", *more]
        return subprocess.run(command, input=order, capture_output=True, text=True, timeout=30, check=False)

    ran = run(str(script), ca=str(authority.as_der()))
    assert [json.loads(line)["kind"] for line in ran.stdout.splitlines()].count("beat") == 2, ran.stderr
    stranger = Authority(authority.file.parent / "stranger")
    ran = run("-c", ONE_CONNECTION.format(ca=stranger.as_der(), **told))
    assert "certificate" in ran.stdout.lower(), ran


ONE_CONNECTION = """
import asyncio, ssl, sys
sys.path.insert(0, {path!r})
from bandroom.mqtt import Mqtt
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.verify_mode = ssl.CERT_REQUIRED
with open("{ca}", "rb") as file:
    context.load_verify_locations(cadata=file.read())
try:
    asyncio.run(Mqtt(None).open({host!r}, {port}, "x", "x", "x", ("x", "x"), context))
except Exception as error:
    print(repr(error))
"""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # of old versions, which is the point
def test_old_versions_are_refused(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """TLS 1.1 is refused by both listeners, 1.2 is not; the key's copy is closed to other users."""
    stack = start_stack(home, *words(authority.sign("server", NAME)))
    tls = stack.info.tls
    for port in (tls.https_port, tls.mqtts_port):
        for newest, is_fine in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            context = authority.trusted()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
            with socket.create_connection((tls.host, port), timeout=10) as plain:
                if is_fine:
                    context.wrap_socket(plain, server_hostname=NAME).close()
                    continue
                with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version|EOF"):
                    context.wrap_socket(plain, server_hostname=NAME)
    for path in (home.tls, home.tls_pair, home.tls_status):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


async def test_renewal(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """New files: new connections get the new certificate, those that stand stay and hear on. Bad new files: the old
    ones are kept, and terminal, /readyz, /metrics and doctor say why; good ones again, and all is well.
    """
    files = authority.sign("server", NAME)
    stack = start_stack(home, *words(files))
    tls, before = stack.info.tls, stack.info
    await asyncio.to_thread(beating_room, stack)
    room = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))

    def all_show(fingerprint: str) -> bool:
        return {shown_by(tls.host, port, authority) for port in (tls.https_port, tls.mqtts_port)} == {fingerprint}

    def ready() -> dict[str, Any]:
        return httpx.get(f"{stack.url}/readyz", trust_env=False).json()

    async with AsyncExitStack() as held, asyncio.TaskGroup() as group:
        ears: list[tuple[Ear, Connection]] = []
        for way in (0, 1):
            told = await asyncio.to_thread(joined, tls.url, authority)
            who = Credential.fixed(told["username"], told["client_id"], told["token"])
            endpoint = endpoints(told["mqtt"], authority)[way]
            connection = await held.enter_async_context(connect(endpoint, who, will=None))
            ears.append((Ear(), connection))
        listening = [group.create_task(ear.listen(connection, room)) for ear, connection in ears]
        for ear, _ in ears:
            await ear.hears_more()
        assert all_show(files.fingerprint)

        files = authority.sign("server", NAME, ends=timedelta(days=60))
        await wait_until_async(lambda: all_show(files.fingerprint), timeout_s=20, what="the new certificate")

        # The certificate's renewal failed half-way: another key.
        other = authority.sign("other", NAME)
        good_key = files.key.read_bytes()
        replace(files.key, other.key.read_bytes())
        problem = await wait_until_async(
            lambda: (text := ready()["certificate"]) != "ok" and text, timeout_s=20, what="word of the bad certificate"
        )
        assert "does not belong to" in problem
        assert ready()["ready"] is True
        assert all_show(files.fingerprint)
        assert "kept: the key" in stack.shown()
        metrics = await asyncio.to_thread(figures, stack)
        assert "bandroom_certificate_refused 1.0" in metrics
        assert "bandroom_certificate_ends_seconds" in metrics
        ill = await asyncio.to_thread(stack.run, "doctor")
        assert ill.code == 1
        assert "does not belong to" in ill.out

        # A broker that starts anew meanwhile starts with the good pair.
        replace(files.key, good_key)
        await wait_until_async(lambda: ready()["certificate"] == "ok", timeout_s=20, what="the end of the alarm")
        assert [connection.counters.connects for _, connection in ears] == [1, 1]
        for ear, _ in ears:
            await ear.hears_more()
        for task in listening:
            task.cancel()
    assert stack.info == before, "no part was started anew"


def test_hang_up_takes_new_files_at_once(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """SIGHUP to `up` (systemctl reload) looks at the files; one for another host is not taken."""
    files = authority.sign("server", NAME)
    stack = start_stack(home, *words(files))
    authority.sign("server", "elsewhere.example.org")
    stack.process.send_signal(1)
    wait_until(lambda: f"not for {NAME}" in stack.shown(), what="the refusal")
    assert shown_by("127.0.0.1", stack.info.tls.https_port, authority) == files.fingerprint
    killed = stack.kill("broker")
    stack.wait_restarted("broker", killed)
    assert shown_by("127.0.0.1", stack.info.tls.mqtts_port, authority) == files.fingerprint


def test_in_the_clear_on_loopback_only(start_stack: StartStack, home: Home, authority: Authority) -> None:
    """With --lan and a certificate the local network sees the encrypted ports alone; links begin with https."""
    try:
        address = lan_address()
    except StartError:
        pytest.skip("this machine is in no network")
    stack = start_stack(home, "--lan", *words(authority.sign("server", address, "band.example.org")))
    tls, mqtt = stack.info.tls, stack.info.mqtt
    assert (tls.host, tls.name, mqtt.host) == (address, address, "127.0.0.1")
    public = {(address, tls.https_port), (address, tls.mqtts_port)}
    here = {("127.0.0.1", mqtt.port), ("127.0.0.1", int(stack.url.rpartition(":")[2]))}
    pids = stack.info.pids
    assert {at for pid in (pids.supervisor, pids.broker, pids.service, *pids.tempo) for at in _listens(pid)} == (
        public | here
    )
    for _, port in here:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=5)
    # Nor does an encrypted port speak in the clear.
    with socket.create_connection((address, tls.mqtts_port), timeout=10) as sock:
        sock.sendall(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02up")
        try:
            answer = sock.recv(100)
        except ConnectionResetError:
            answer = b""
        assert answer[:1] != b"\x20", "a CONNACK in the clear"
    stack.cli("tenants", "create", "lincoln")
    link = stack.cli("rooms", "create", "--tenant", "lincoln")["join_url"]
    assert link.startswith(f"https://{address}:{tls.https_port}/join#")


def _listens(pid: int) -> set[tuple[str, int]]:
    import psutil

    found = psutil.Process(pid).net_connections("inet")
    waiting = [it for it in found if it.status == psutil.CONN_LISTEN or it.type == socket.SOCK_DGRAM]
    return {(it.laddr.ip, it.laddr.port) for it in waiting}


@pytest.mark.parametrize(
    ("spoil", "names", "code"),
    [
        (lambda f: f.certificate.unlink(), "no certificate at", 1),
        (lambda f: os.chmod(f.key, 0o644), "0644", 1),
        (lambda f: f.key.write_text("nonsense"), "no private key", 1),
    ],
    ids=["missing", "open to others", "no key"],
)
def test_refuses_to_start(
    home: Home, authority: Authority, spoil: Callable[[Files], object], names: str, code: int
) -> None:
    """A pair that cannot be used: one line that says which file and why; nothing is left running."""
    files = authority.sign("server", NAME)
    spoil(files)
    ran = _up(home, *words(files))
    assert (ran.returncode, len(ran.stderr.splitlines())) == (code, 1), ran.stderr
    assert names in ran.stderr


def test_one_without_the_other(home: Home, authority: Authority) -> None:
    """A certificate without a key, and a public address without https beside a certificate, are wrong usage."""
    files = authority.sign("server", NAME)
    ran = _up(home, "--tls-cert", str(files.certificate))
    assert (ran.returncode, "tls_key" in ran.stderr) == (2, True), ran.stderr
    ran = _up(home, *words(files), "--public-url", f"http://{NAME}")
    assert (ran.returncode, "https" in ran.stderr) == (2, True), ran.stderr
    ran = _up(home, *words(files), "--public-url", "https://band.example.org")
    assert (ran.returncode, "not for band.example.org" in ran.stderr) == (1, True), ran.stderr


def _up(home: Home, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "bandroom.cli", "up", "--home", str(home.root)]
    ports = ("--mqtt-port", "0", "--http-port", "0")
    return subprocess.run([*command, *ports, *more], capture_output=True, text=True, timeout=60, check=False)
