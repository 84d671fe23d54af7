"""`bandroom doctor`: is this machine ready, is everything running, does a beat arrive? Each with what to do if not."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import typer

from bandroom.cli.errors import ExitCode
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, print_json
from bandroom.clock import ClockFileError, ServerClock
from bandroom.mqtt import Credential, Endpoint, Tcp, WebSocket, connect
from bandroom.runstate import NotRunning, RunInfo
from bandroom.supervisor import broker, gate
from bandroom.supervisor.errors import StartError
from bandroom.wire.ids import DOCTOR_TENANT, RoomId, TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Room

app = typer.Typer(add_completion=False)

_BEAT_WITHIN_S = 5.0
_HTTP_WITHIN_S = 5.0
# MQTT 3.1.1 CONNECT: clean session, keepalive 10 s, client id "doctor", no user name.
_ANONYMOUS = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x0a\x00\x06doctor"
_CONNACK = 0x20


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis; ``advice`` is empty where all is well."""

    name: str
    ok: bool
    text: str
    advice: str = ""


class _Ill(Exception):
    """A check failed: what is wrong, and what to do."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice


def _check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except _Ill as ill:
        return Finding(name, False, ill.text, ill.advice)


# -- the machine


def _broker_program() -> str:
    try:
        return gate.find_broker()
    except StartError as error:
        raise _Ill(str(error), "run `make setup`") from error


def _gate_library(home: Home) -> str:
    try:
        return str(gate.find_gate(home))
    except StartError as error:
        raise _Ill(str(error), "run `make setup`") from error


def _folder(home: Home) -> str:
    if not home.root.exists():
        return f"{home.root} is not there yet; `bandroom up` makes it"
    # The lock file is empty and may be read by whoever can enter the folder, which is nobody else.
    open_ones = [path for path in (home.root, *home.root.rglob("*")) if path.lstat().st_mode & 0o077]
    if open_ones:
        raise _Ill(f"{open_ones[0]} can be read by other users", f"chmod -R go= {home.root}")
    return f"{home.root}, closed to other users"


def _clock(home: Home) -> str:
    try:
        clock = ServerClock.from_file(home.gate_clock)
    except ClockFileError as error:
        raise _Ill(str(error), "start `bandroom up` again") from error
    apart_s = clock.now_us() / 1e6 - time.time()
    if abs(apart_s) > 1:
        # No fault: the wall clock was stepped since, and the beat was not. Said, because logs use wall time.
        return f"server time is {apart_s:+.1f} s from this machine's clock, which was set since the start"
    return f"server time is {apart_s * 1000:+.1f} ms from this machine's clock"


# -- what runs


def _anonymous_is_refused(info: RunInfo) -> str:
    """The broker's port answers, and lets nobody in without a credential."""
    where = f"{info.mqtt.host}:{info.mqtt.port}"
    try:
        with socket.create_connection((info.mqtt.host, info.mqtt.port), timeout=3) as sock:
            sock.sendall(_ANONYMOUS)
            answer = sock.recv(4)
    except OSError as error:
        raise _Ill(f"no broker answers at {where}: {error}", "see logs/broker.log in the data folder") from error
    if len(answer) < 4 or answer[0] != _CONNACK:
        raise _Ill(f"what answers at {where} is no MQTT broker", "choose another port: bandroom up --mqtt-port 0")
    if answer[3] == 0:
        raise _Ill(f"the broker at {where} lets strangers in: it runs without the gate", "end it; `bandroom up`")
    return f"{where} answers, and refuses strangers"


def _gate_is_well(home: Home) -> str:
    status = broker.read_status(home)
    if not status:
        raise _Ill("the gate does not report", "see logs/broker.log in the data folder")
    error = status.get("error", "-")
    if error != "-":
        raise _Ill(f"the gate says: {error}", "start `bandroom up` again: the service writes the gate log anew")
    return f"{status.get('connections', '?')} connections, log read up to {status.get('log', '? ?').split()[-1]}"


def _web_answers(info: RunInfo) -> str:
    try:
        # trust_env: a proxy that the environment names has no way to this machine's loopback.
        answer = httpx.get(f"{info.http.url}/readyz", timeout=_HTTP_WITHIN_S, trust_env=False)
    except httpx.HTTPError as error:
        raise _Ill(f"nothing answers at {info.http.url}: {error}", "see logs/service.log in the data folder") from error
    if answer.status_code != 200:
        raise _Ill(f"the service is not ready: {answer.text[:200]}", "see logs/service.log in the data folder")
    return f"{info.http.url} is ready"


# -- a beat, from the worker through the broker to a member of a room


class _TestRoom:
    """A room that beats, in a tenant of the doctor's own; closed afterwards."""

    def __init__(self, home: Home, info: RunInfo) -> None:
        token = home.owner_token.read_text().strip()
        self._http = httpx.Client(
            base_url=info.http.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_HTTP_WITHIN_S,
            trust_env=False,
        )
        self._room: dict[str, Any] = {}

    def __enter__(self) -> dict[str, Any]:
        """What joining gave: credentials of a pupil in the room."""
        self._post("/api/tenants", {"tenant": DOCTOR_TENANT}, fine=(409,))
        self._room = self._post(f"/api/tenants/{DOCTOR_TENANT}/rooms", {"bpm": 240, "start": True})
        return self._post("/api/join", {"tenant": DOCTOR_TENANT, "code": self._room["code"], "nickname": "Doctor"})

    def __exit__(self, *_: object) -> None:
        if self._room:
            path = f"/api/tenants/{DOCTOR_TENANT}/rooms/{self._room['room']}/commands"
            self._http.post(path, json={"cmd": "close"})
        self._http.close()

    def _post(self, path: str, body: dict[str, Any], fine: tuple[int, ...] = ()) -> dict[str, Any]:
        try:
            answer = self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise _Ill(f"{path}: {error}", "see logs/service.log in the data folder") from error
        if answer.is_error and answer.status_code not in fine:
            raise _Ill(f"{path}: {answer.status_code} {answer.text[:200]}", "see logs/service.log in the data folder")
        return answer.json()


async def _first_beat(endpoint: Endpoint, joined: dict[str, Any]) -> float:
    """Seconds from connecting to the first beat heard."""
    credential = Credential.fixed(joined["username"], joined["client_id"], joined["token"])
    room = Room(TenantId(joined["tenant"]), RoomId(joined["room"]))
    began = time.monotonic()
    async with (
        asyncio.timeout(_BEAT_WITHIN_S),
        connect(endpoint, credential, will=None, give_up_after_s=_BEAT_WITHIN_S) as connection,
    ):
        await connection.subscribe(Filter.of(room.beat()))
        async for incoming in connection.messages:
            if isinstance(incoming.message, Beat):
                break
    return time.monotonic() - began


def _beat(endpoint: Endpoint, joined: dict[str, Any], advice: str) -> str:
    try:
        seconds = asyncio.run(_first_beat(endpoint, joined))
    except TimeoutError:
        raise _Ill(f"no beat over {endpoint} within {_BEAT_WITHIN_S:.0f} s", advice) from None
    except OSError as error:
        raise _Ill(f"no beat over {endpoint}: {error}", advice) from error
    return f"heard {seconds * 1000:.0f} ms after connecting to {endpoint}"


def _beats(home: Home, info: RunInfo) -> Iterator[Finding]:
    url = info.http.url.replace("http", "ws", 1) + "/mqtt"
    try:
        with _TestRoom(home, info) as joined:
            for name, endpoint, advice in (
                ("beat over TCP", Tcp(info.mqtt.host, info.mqtt.port), "see logs/tempo-0.log in the data folder"),
                ("beat over web", WebSocket(url), "see logs/service.log; a proxy must pass WebSockets on /mqtt"),
            ):
                yield _check(name, lambda e=endpoint, a=advice: _beat(e, joined, a))
    except _Ill as ill:
        yield Finding("test room", False, ill.text, ill.advice)


def diagnose(home: Home) -> Iterator[Finding]:
    """All findings, in an order in which the first failure explains those after it."""
    yield _check("broker", _broker_program)
    yield _check("gate", lambda: _gate_library(home))
    yield _check("data folder", lambda: _folder(home))
    try:
        info = RunInfo.read(home)
    except NotRunning as error:
        yield Finding("running", False, str(error), "bandroom up")
        return
    yield Finding("running", True, f"supervisor is process {info.pids.supervisor}")
    yield _check("clock", lambda: _clock(home))
    yield _check("MQTT port", lambda: _anonymous_is_refused(info))
    yield _check("gate's report", lambda: _gate_is_well(home))
    web = _check("web port", lambda: _web_answers(info))
    yield web
    if web.ok:
        yield from _beats(home, info)


@app.command()
def doctor(home: HomeOption = DEFAULT, as_json: JsonOption = False) -> None:
    """Check this installation and say how to mend it."""
    found: list[Finding] = []
    for finding in diagnose(Home(home)):
        found.append(finding)
        if not as_json:
            typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<14} {finding.text}")
            if finding.advice:
                typer.echo(f"      {'':<14} -> {finding.advice}")
    bad = [finding for finding in found if not finding.ok]
    if as_json:
        print_json({"ok": not bad, "checks": [asdict(finding) for finding in found]})
    if bad:
        only = [finding.name for finding in bad] == ["running"]
        raise typer.Exit(ExitCode.NOT_RUNNING if only else ExitCode.FAILED)
