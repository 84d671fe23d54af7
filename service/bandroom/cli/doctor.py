"""`bandroom doctor`: is this machine ready, is everything running, does a beat arrive? Each with what to do if not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import httpx
import typer

from bandroom.cli import doctor_machine as machine
from bandroom.cli.doctor_machine import Finding, Ill, check
from bandroom.cli.errors import ExitCode
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, print_json
from bandroom.mqtt import Credential, Endpoint, Tcp, WebSocket, connect
from bandroom.runstate import NotRunning, RunInfo
from bandroom.supervisor import broker
from bandroom.wire.ids import DOCTOR_TENANT, RoomId, TenantId
from bandroom.wire.messages import Beat
from bandroom.wire.topics import Filter, Room

app = typer.Typer(add_completion=False)

BEAT_WITHIN_S = 5.0
_HTTP_WITHIN_S = 5.0
# MQTT 3.1.1 CONNECT: clean session, keepalive 10 s, client id "doctor", no user name.
_ANONYMOUS = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x0a\x00\x06doctor"
_CONNACK = 0x20
_PEM_END = "-----END CERTIFICATE-----"


# -- what runs


def anonymous_is_refused(info: RunInfo) -> str:
    """The broker's port answers, and lets nobody in without a credential."""
    where = f"{info.mqtt.host}:{info.mqtt.port}"
    try:
        with socket.create_connection((info.mqtt.host, info.mqtt.port), timeout=3) as sock:
            sock.sendall(_ANONYMOUS)
            answer = sock.recv(4)
    except OSError as error:
        raise Ill(f"no broker answers at {where}: {error}", "see logs/broker.log in the data folder") from error
    if len(answer) < 4 or answer[0] != _CONNACK:
        raise Ill(f"what answers at {where} is no MQTT broker", "choose another port: bandroom up --mqtt-port 0")
    if answer[3] == 0:
        raise Ill(f"the broker at {where} lets strangers in: it runs without the gate", "end it; `bandroom up`")
    return f"{where} answers, and refuses strangers"


def gate_is_well(home: Home) -> str:
    status = broker.read_status(home)
    if not status:
        raise Ill("the gate does not report", "see logs/broker.log in the data folder")
    error = status.get("error", "-")
    if error != "-":
        raise Ill(f"the gate says: {error}", "start `bandroom up` again: the service writes the gate log anew")
    return f"{status.get('connections', '?')} connections, log read up to {status.get('log', '? ?').split()[-1]}"


def web_answers(info: RunInfo) -> str:
    try:
        # trust_env: a proxy that the environment names has no way to this machine's loopback.
        answer = httpx.get(f"{info.http.url}/readyz", timeout=_HTTP_WITHIN_S, trust_env=False)
    except httpx.HTTPError as error:
        raise Ill(f"nothing answers at {info.http.url}: {error}", "see logs/service.log in the data folder") from error
    if answer.status_code != 200:
        raise Ill(f"the service is not ready: {answer.text[:200]}", "see logs/service.log in the data folder")
    return f"{info.http.url} is ready"


# -- a beat, from the worker through the broker to a member of a room


class _TestRoom:
    """A room that beats, in a tenant of the doctor's own; closed afterwards."""

    def __init__(self, home: Home, info: RunInfo) -> None:
        try:
            token = home.owner_token.read_text().strip()
        except OSError as error:
            advice = "start `bandroom up` again, as the user whose data folder it is"
            raise Ill(f"{home.owner_token} cannot be read: {error.strerror}", advice) from error
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
        try:
            if self._room:
                self._post(f"/api/tenants/{DOCTOR_TENANT}/rooms/{self._room['room']}/commands", {"cmd": "close"})
        finally:
            self._http.close()

    def _post(self, path: str, body: dict[str, Any], fine: tuple[int, ...] = ()) -> dict[str, Any]:
        try:
            answer = self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise Ill(f"{path}: {error}", "see logs/service.log in the data folder") from error
        if answer.is_error and answer.status_code not in fine:
            raise Ill(f"{path}: {answer.status_code} {answer.text[:200]}", "see logs/service.log in the data folder")
        return answer.json()


async def _first_beat(endpoint: Endpoint, joined: dict[str, Any]) -> float:
    """Seconds from connecting to the first beat heard."""
    credential = Credential.fixed(joined["username"], joined["client_id"], joined["token"])
    room = Room(TenantId(joined["tenant"]), RoomId(joined["room"]))
    began = time.monotonic()
    async with (
        asyncio.timeout(BEAT_WITHIN_S),
        connect(endpoint, credential, will=None, give_up_after_s=BEAT_WITHIN_S) as connection,
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
        raise Ill(f"no beat over {endpoint} within {BEAT_WITHIN_S:.0f} s", advice) from None
    except OSError as error:
        raise Ill(f"no beat over {endpoint}: {error}", advice) from error
    return f"heard {seconds * 1000:.0f} ms after connecting to {endpoint}"


def _tls_context(home: Home) -> ssl.SSLContext:
    """Trusts exactly the certificate in use: whether pupils' devices trust its authority is seen on them."""
    context = ssl.create_default_context(cadata=_certificates(home.tls_pair.read_text()))
    # The certificate itself is the anchor, not the authority that signed it; and it is reached by an address.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _certificates(pem: str) -> str:
    return "".join(part + _PEM_END for part in pem.split(_PEM_END)[:-1])


def _doors(home: Home, info: RunInfo) -> Iterator[tuple[str, Endpoint, str]]:
    """Every way to the broker: its name, where it is, what to do when no beat comes that way."""
    yield "beat over TCP", Tcp(info.mqtt.host, info.mqtt.port), "see logs/tempo-0.log in the data folder"
    url = info.http.url.replace("http", "ws", 1) + "/mqtt"
    yield "beat over web", WebSocket(url), "see logs/service.log; a proxy must pass WebSockets on /mqtt"
    if info.tls is not None:
        context = _tls_context(home)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(info.tls.host, info.tls.host)  # noqa: S104 (compared)
        yield "beat over mqtts", Tcp(host, info.tls.mqtts_port, context), "see logs/broker.log in the data folder"
        place = f"[{host}]" if ":" in host else host
        wss = WebSocket(f"wss://{place}:{info.tls.https_port}/mqtt", context)
        yield "beat over wss", wss, "see logs/service.log in the data folder"


def _beats(home: Home, info: RunInfo) -> Iterator[Finding]:
    try:
        with _TestRoom(home, info) as joined:
            for name, endpoint, advice in _doors(home, info):
                yield check(name, lambda e=endpoint, a=advice: _beat(e, joined, a))
    except Ill as ill:
        yield Finding("test room", False, ill.text, ill.advice)


def _before_a_start(home: Home) -> Iterator[Finding]:
    yield check("ports", lambda: machine.free_ports(home))
    certificate = check("certificate", lambda: machine.certificate_files(home) or "")
    if certificate.text:
        yield certificate


def diagnose(home: Home) -> Iterator[Finding]:
    """All findings, in an order in which the first failure explains those after it."""
    yield check("broker", machine.broker_program)
    yield check("gate", lambda: machine.gate_library(home))
    yield check("data folder", lambda: machine.folder(home))
    yield check("disk", lambda: machine.disk(home))
    try:
        info = RunInfo.read(home)
    except NotRunning as error:
        yield from _before_a_start(home)
        yield Finding("running", False, str(error), "bandroom up")
        return
    yield Finding("running", True, f"supervisor is process {info.pids.supervisor}")
    yield check("clock", lambda: machine.clock(home))
    yield check("MQTT port", lambda: anonymous_is_refused(info))
    yield check("gate's report", lambda: gate_is_well(home))
    if info.tls is not None:
        yield check("certificate", lambda: machine.certificate_in_use(home))
    web = check("web port", lambda: web_answers(info))
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
