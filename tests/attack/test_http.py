"""Cases 64 to 69: the web door, against the whole of it really running."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from raw_mqtt import CONNACK, Client, Packet, connect_packet, text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

_numbers = itertools.count(1)
WAIT_S = 10


@dataclass
class School:
    """A tenant with an open, a locked and a closed room, in the running stack; each test comes from its own address."""

    stack: Any
    tenant: str
    address: str
    open: dict[str, Any]
    locked: dict[str, Any]
    closed: dict[str, Any]

    def http(self, **more: Any) -> httpx.Client:
        """A client of the attacker's address, known to the service as what a proxy on this machine says."""
        headers = {"X-Forwarded-For": self.address, **more.pop("headers", {})}
        return httpx.Client(base_url=self.stack.url, timeout=30, headers=headers, **more)

    def join(self, http: httpx.Client, code: str, **more: str) -> httpx.Response:
        """POST /api/join."""
        return http.post("/api/join", json={"tenant": self.tenant, "code": code, **more})

    def key(self, room: dict[str, Any]) -> str:
        """The key of the room's join link."""
        return room["join_url"].partition("&k=")[2]

    def tunnel(self, **more: Any) -> ClientConnection:
        """A WebSocket to /mqtt."""
        more = {"subprotocols": ["mqtt"], "origin": self.stack.url, **more}
        path = more.pop("path", "/mqtt")
        return connect(self.stack.url.replace("http", "ws") + path, open_timeout=WAIT_S, compression=None, **more)


class TunnelClient(Client):
    """An MQTT client in a browser's place."""

    def __init__(self, url: str) -> None:
        super().__init__(socket.socket(), patience=WAIT_S)  # a socket that is never connected: the tunnel stands for it
        self._door = ExitStack()
        self._tunnel = self._door.enter_context(
            connect(url.replace("http", "ws") + "/mqtt", subprotocols=[Subprotocol("mqtt")], origin=Origin(url))
        )

    def send(self, data: bytes) -> None:
        self._tunnel.send(data)

    def read(self, patience: float | None = None) -> Packet | None:
        while not (found := self._cut()):
            try:
                data = self._tunnel.recv(self.patience if patience is None else patience)
            except ConnectionClosed:
                return None
            assert isinstance(data, bytes)
            self.buffer += data
        return found

    def disconnect(self) -> None:
        super().disconnect()
        self._door.close()


class Victims:
    """A pupil of the open room, by TCP and through the tunnel, while its beat goes on."""

    BPM = 240

    def __init__(self, stack: Any, joined: dict[str, Any]) -> None:
        self.since = time.monotonic()
        self.clients = [
            Client.open(stack.mqtt, self._connect(joined, 0), patience=WAIT_S),
            TunnelClient(stack.url),
        ]
        self.clients[1].send(self._connect(joined, 1))
        answer = self.clients[1].until(CONNACK)
        assert answer.body[1] == 0
        self.heard: list[list[int]] = [[], []]
        self.room = f"tenant/{joined['tenant']}/music_room/{joined['room']}"
        for client in self.clients:
            assert client.subscribe(f"{self.room}/beat") == [0]

    @staticmethod
    def _connect(joined: dict[str, Any], digit: int) -> bytes:
        return connect_packet(f"{joined['client_id']}_{digit}", joined["username"], joined["token"])

    def assert_unharmed(self) -> None:
        """Both are connected and answered, and what came through the tunnel is what came by TCP: beat for beat."""
        for client, heard in zip(self.clients, self.heard, strict=True):
            heard += [json.loads(message.payload)["n"] for message in client.heard()]
        by_tcp, by_tunnel = self.heard
        both = min(len(by_tcp), len(by_tunnel))
        assert by_tcp[:both] == by_tunnel[:both], "beats lost on the way"
        assert by_tcp == sorted(set(by_tcp))
        assert abs(len(by_tcp) - len(by_tunnel)) <= 2

    def end(self) -> None:
        """Once more all of it, and that the beat went on all the while."""
        self.assert_unharmed()
        due = (time.monotonic() - self.since) * self.BPM / 60
        assert len(self.heard[0]) >= 0.8 * due - 8, f"{len(self.heard[0])} beats of {due:.0f}"
        for client in self.clients:
            client.disconnect()


@pytest.fixture(scope="module")
def rooms(stack: Any) -> Iterator[tuple[str, list[dict[str, Any]], Victims]]:
    """A tenant, its open, locked and closed room, and who plays in the open one."""
    tenant = f"web-{time.time_ns() % 10**9}"
    stack.cli("tenants", "create", tenant)
    made = [stack.cli("rooms", "create", "--tenant", tenant, "--code", f"MUSIC-000{n}") for n in range(3)]
    owner = {"Authorization": f"Bearer {stack.owner_token}"}
    for room, cmd in ((made[1], "lock"), (made[2], "close")):
        url = f"{stack.url}/api/tenants/{tenant}/rooms/{room['room']}/commands"
        assert httpx.post(url, json={"cmd": cmd}, headers=owner, timeout=30).status_code == 200
    url = f"{stack.url}/api/tenants/{tenant}/rooms/{made[0]['room']}/commands"
    for command in ({"cmd": "set_tempo", "bpm": Victims.BPM}, {"cmd": "start", "count_in": 0}):
        assert httpx.post(url, json=command, headers=owner, timeout=30).status_code == 200
    joined = httpx.post(f"{stack.url}/api/join", json={"tenant": tenant, "code": made[0]["code"]}, timeout=30)
    victims = Victims(stack, joined.json())
    yield tenant, made, victims
    victims.end()


@pytest.fixture
def school(stack: Any, rooms: tuple[str, list[dict[str, Any]], Victims]) -> Iterator[School]:
    """The school, and an attacker's address; afterwards the service still serves, the open room takes pupils, and who
    plays in it has noticed nothing.
    """
    number = next(_numbers)
    found = School(stack, rooms[0], f"198.51.100.{number}", *rooms[1])
    yield found
    with found.http(headers={"X-Forwarded-For": f"203.0.113.{number}"}) as other:
        assert other.get("/healthz").status_code == 200
        assert found.join(other, found.open["code"]).status_code == 200
    rooms[2].assert_unharmed()


@pytest.mark.rule("JOIN-1")
@pytest.mark.rule("JOIN-3")
def test_case_64_guessing_codes(school: School) -> None:
    """Guessing is stopped by address after a few dozen tries; the right link is not, nor anybody else."""
    with school.http() as http:
        answers = [school.join(http, f"GUESS-{n:04}").status_code for n in range(40)]
        assert set(answers[:10]) == {404}
        assert answers[-1] == 429
        assert school.join(http, school.open["code"]).status_code == 429
        by_link = school.join(http, school.open["code"], key=school.key(school.open))
        assert by_link.status_code == 200
        assert (by_link.json()["tenant"], by_link.json()["room"]) == (school.tenant, school.open["room"])
        for _ in range(20):  # wrong keys are guesses, too
            assert school.join(http, school.locked["code"], key="x" * 22).status_code in (404, 429)
    # That the code still works from elsewhere, the fixture checks.


@pytest.mark.rule("JOIN-2")
def test_case_65_unknown_locked_and_closed_look_alike(school: School) -> None:
    """One answer, word for word and header for header, in about the same time."""
    codes = {"unknown": "NONE-0000", "locked": school.locked["code"], "closed": school.closed["code"]}
    took: dict[str, list[float]] = {name: [] for name in codes}
    shown: set[tuple[int, bytes, tuple[str, ...]]] = set()
    for turn in range(6):
        for name, code in codes.items():
            with school.http(headers={"X-Forwarded-For": f"198.51.100.{100 + turn}"}) as http:
                http.get("/healthz")  # the connection is open before the time is taken
                began = time.perf_counter()
                answer = school.join(http, code)
                took[name].append(time.perf_counter() - began)
                shown.add((answer.status_code, answer.content, tuple(sorted(set(answer.headers) - {"date"}))))
    assert len(shown) == 1
    middle = [statistics.median(times) for times in took.values()]
    assert max(middle) - min(middle) < 0.1


def test_case_66_tokens_in_a_query(school: School) -> None:
    """A token in a URL, where logs and histories keep it, opens nothing."""
    owner = school.stack.owner_token
    with school.http() as http:
        for name in ("token", "access_token", "bearer", "authorization", "key", "jwt", "password"):
            for value in (owner, f"Bearer {owner}"):
                assert http.get("/api/tenants", params={name: value}).status_code == 401
        token = school.join(http, school.open["code"]).json()["token"]
        assert http.post("/api/renew", params={"token": token}).status_code in (401, 422, 400)
    with school.tunnel(path=f"/mqtt?token={token}&access_token={token}") as tunnel:
        tunnel.send(connect_packet("x", None, None))
        answer = tunnel.recv(WAIT_S)
        assert isinstance(answer, bytes)
        assert answer[3] != 0


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n",
        b"\x05\x01\x00",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\x00",
        "text",
    ],
    ids=repr,
)
def test_case_67_the_tunnel_leads_to_the_broker_alone(school: School, first: bytes | str) -> None:
    """Whatever speaks another protocol is hung up on, and gets no byte of an answer."""
    with school.tunnel() as tunnel:
        tunnel.send(first)
        with pytest.raises(ConnectionClosed):
            pytest.fail(f"answered {tunnel.recv(WAIT_S)!r}")


@pytest.mark.parametrize(
    "path",
    [
        "/mqtt?host=127.0.0.1&port=22",
        "/mqtt?url=tcp://127.0.0.1:22",
        "/mqtt/127.0.0.1/22",
        "/mqtt/..",
        "/mqtt/%2e%2e/api",
    ],
)
def test_case_67_nothing_in_the_url_leads_elsewhere(school: School, path: str) -> None:
    """Where the tunnel goes is not the client's to say: the broker answers, or nobody."""
    try:
        with school.tunnel(path=path, additional_headers={"X-Forwarded-Host": "127.0.0.1:22"}) as tunnel:
            tunnel.send(connect_packet("x", None, None))
            assert tunnel.recv(WAIT_S)[:1] == b"\x20"
    except (InvalidStatus, ConnectionClosed):
        return


@pytest.mark.rule("CRED-5")
@pytest.mark.parametrize("who", ["rooms", "tempo-0", "tempo-7"])
def test_case_48_service_token_through_the_tunnel(school: School, who: str) -> None:
    """A real token of the service, stolen from its keys, opens nothing through the web."""
    from bandroom.auth.service_credential import service_credential
    from bandroom.wire.ids import Role

    role, number = (Role.ROOMS, None) if who == "rooms" else (Role.TEMPO, int(who[6:]))
    credential = service_credential(school.stack.home, role, number)
    with school.tunnel() as tunnel:
        tunnel.send(connect_packet(credential.client_id, credential.username, credential.password()))
        answer = tunnel.recv(WAIT_S)
        assert isinstance(answer, bytes)
        assert answer[0] == 0x20
        assert answer[3] != 0


def teacher_of(stack: Any, tenant: str, sub: str) -> Client:
    """A teacher with MQTT 5."""
    minted = stack.cli("tokens", "mint", "--tenant", tenant, "--role", "teacher", "--sub", sub)
    hello = connect_packet(minted["client_id"], minted["username"], minted["token"], version=5)
    return Client.open(stack.mqtt, hello, version=5, patience=WAIT_S)


def test_case_50_the_service_is_no_deputy(school: School) -> None:
    """Who has every right of publishing answers where its answers belong, not where MQTT 5's response topic says."""
    other = f"{school.tenant}-b"
    school.stack.cli("tenants", "create", other)
    room = school.stack.cli("rooms", "create", "--tenant", other, "--code", "MUSIC-0000")["room"]
    theirs = f"tenant/{other}/music_room/{room}/control/t-vic/reply"
    ours = f"tenant/{school.tenant}/music_room/{school.open['room']}/control/t-evil"
    victim, evil = teacher_of(school.stack, other, "t-vic"), teacher_of(school.stack, school.tenant, "t-evil")
    assert victim.subscribe(theirs) == [0]
    assert evil.subscribe(f"{ours}/reply") == [0]
    command = json.dumps({"id": "deputy-1", "cmd": "set_tempo", "bpm": Victims.BPM}).encode()
    evil.publish(ours, command, 1, properties=b"\x08" + text(theirs) + b"\x09" + text("deputy-1"))
    assert json.loads(evil.wait_message().payload)["id"] == "deputy-1"
    assert victim.heard() == []
    own = json.dumps({"id": "mine-1", "cmd": "set_tempo", "bpm": 100}).encode()
    victim.publish(theirs.removesuffix("/reply"), own, 1)
    assert json.loads(victim.wait_message().payload)["id"] == "mine-1"  # so it would have heard the other
    for client in (victim, evil):
        client.disconnect()


def test_case_68_oversized_requests(school: School) -> None:
    """Megabytes in body, header, URL, cookie or depth: refused, with an error and no crash."""
    huge = "x" * 2_000_000
    with school.http() as http:
        bodies: list[bytes] = [
            b'{"tenant":"' + huge.encode() + b'"}',
            b"[" * 100_000,
            b'{"a":' * 50_000,
            b"\0" * 1_000_000,
            b'{"tenant":"a","code":1e999}',
        ]
        for body in bodies:
            try:
                answer = http.post("/api/join", content=body, headers={"Content-Type": "application/json"})
            except httpx.TransportError:
                continue  # hung up on
            assert 400 <= answer.status_code < 500
            assert len(answer.content) < 5_000
        for headers in ({"Authorization": f"Bearer {huge[:100_000]}"}, {"Cookie": f"a={huge[:100_000]}"}):
            try:
                assert 400 <= http.get("/api/tenants", headers=headers).status_code < 500
            except httpx.TransportError:
                continue
        try:
            assert 400 <= http.get("/api/tenants/" + huge[:60_000]).status_code < 500
        except httpx.TransportError:
            return


def test_case_68_slow_requests(school: School) -> None:
    """A hundred requests that come a byte at a time, or promise a body and send none, keep nobody else waiting."""
    url = httpx.URL(school.stack.url)
    slow = [socket.create_connection((url.host, url.port or 80), 5) for _ in range(100)]
    for n, sock in enumerate(slow):
        if n % 2:
            sock.sendall(
                b"POST /api/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
            )
        else:
            sock.sendall(b"GET /heal")
    began = time.perf_counter()
    with school.http() as http:
        assert school.join(http, school.open["code"]).status_code == 200
    assert time.perf_counter() - began < 5
    for sock in slow:
        sock.close()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:1",
        "null",
        "http://127.0.0.1.evil.example",
        "file://",
        "http://localhost",
        "x",
    ],
)
def test_case_69_cross_site_websocket(school: School, origin: str) -> None:
    """A page of another site cannot open the tunnel with a pupil's browser."""
    with pytest.raises(InvalidStatus) as refused:
        school.tunnel(origin=origin).close()
    assert refused.value.response.status_code == 403


def test_case_69_cross_site_requests(school: School) -> None:
    """No answer allows another site's page to read it, and a form of such a page is no request."""
    with school.http(headers={"Origin": "https://evil.example"}) as http:
        for answer in (http.get("/healthz"), http.options("/api/join"), school.join(http, school.open["code"])):
            assert "access-control-allow-origin" not in answer.headers
        form = http.post("/api/join", data={"tenant": school.tenant, "code": school.open["code"]})
        assert 400 <= form.status_code < 500
        text = http.post("/api/join", content=b"{}", headers={"Content-Type": "text/plain"})
        assert 400 <= text.status_code < 500


@pytest.mark.rule("CMD-2")
@pytest.mark.rule("CMD-3")
def test_a_command_that_waited_too_long_is_not_run(school: School) -> None:
    """`exp` in the past: `expired`, the code that every way in has, and nothing happens; without it, it runs."""
    owner = {"Authorization": f"Bearer {school.stack.owner_token}"}
    with school.http(headers=owner) as http:
        room = f"/api/tenants/{school.tenant}/rooms/{school.open['room']}"
        before = http.get(room).json()
        stale = http.post(f"{room}/commands", json={"cmd": "rename", "name": "Too late", "exp": 1})
        assert stale.status_code == 409 or 400 <= stale.status_code < 500
        assert stale.json()["err"] == "expired"
        assert http.get(room).json()["name"] == before["name"]
        assert http.post(f"{room}/commands", json={"cmd": "rename", "name": "In time"}).status_code == 200
        assert http.get(room).json()["name"] == "In time"


def test_basic_authentication_is_no_way_in(school: School) -> None:
    """Neither a user name and password nor an empty or foreign scheme opens the owner's door."""
    basic = base64.b64encode(f"owner:{school.stack.owner_token}".encode()).decode()
    with school.http() as http:
        for value in (
            f"Basic {basic}",
            "Bearer",
            "Bearer x",
            school.stack.owner_token,
            f"Token {school.stack.owner_token}",
        ):
            assert http.get("/api/tenants", headers={"Authorization": value}).status_code == 401
