"""Joining over HTTP, against a server that answers whatever the test says."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from bandroom_devices.errors import JoinRefused, Unreachable
from bandroom_devices.joining import JoinDesk

Asked = dict[str, Any]


def token(lifetime_s: int = 3600) -> str:
    """Looks like a token: the kit reads two of its claims and verifies nothing."""
    claims = base64.urlsafe_b64encode(json.dumps({"iat": 1000, "exp": 1000 + lifetime_s}).encode()).rstrip(b"=")
    return f"head.{claims.decode()}.signature"


GOOD: dict[str, Any] = {
    "token": token(),
    "username": "lincoln/s-7f3k2",
    "client_id": "lincoln_s-7f3k2",
    "expires_at": 4600,
    "tenant": "lincoln",
    "room": "MUSIC-1234",
    "sub": "s-7f3k2",
    "name": "Brisk Otter",
    "mqtt": {"host": "192.168.1.20", "port": 1883, "ws_url": "ws://192.168.1.20:8080/mqtt"},
}


@pytest.fixture
def service() -> Iterator[Callable[..., tuple[str, list[Asked]]]]:
    """``service(status, body)`` answers every request so; gives the address and what was asked."""
    servers: list[ThreadingHTTPServer] = []

    def serve(status: int, body: bytes, **headers: str) -> tuple[str, list[Asked]]:
        asked: list[Asked] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                asked.append(
                    {"path": self.path, "headers": dict(self.headers), "body": json.loads(self.rfile.read(length))}
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_a_join_gives_a_seat_and_the_cookie_gives_it_again(service: Callable[..., Any]) -> None:
    """Subject, room, broker and the token's lifetime by its own claims; the next join offers the same cookie."""
    url, asked = service(200, json.dumps(GOOD).encode(), Set_Cookie="bandroom=secret22; Path=/api; HttpOnly")
    desk = JoinDesk.of(url + "/", "lincoln", "music 1234", nickname="Drum")
    seat = await desk.join()
    assert (seat.subject, seat.room, seat.name) == ("s-7f3k2", "MUSIC-1234", "Brisk Otter")
    assert (seat.mqtt_host, seat.mqtt_port, seat.lifetime_s) == ("192.168.1.20", 1883, 3600)
    assert asked[0]["path"] == "/api/join"
    assert asked[0]["body"] == {"tenant": "lincoln", "code": "MUSIC-1234", "nickname": "Drum"}
    await desk.join(seat)
    assert asked[1]["headers"]["Cookie"] == "bandroom=secret22"
    assert seat.token not in repr(seat)


async def test_renewing_keeps_the_seat_and_takes_the_new_token(service: Callable[..., Any]) -> None:
    """Same subject, other token; the old one is shown as the bearer's."""
    url, asked = service(200, json.dumps({**GOOD, "token": token(7200)}).encode())
    desk = JoinDesk.of(url, "lincoln", "MUSIC-1234")
    seat = await desk.join()
    renewed = await desk.renew(seat)
    assert (renewed.subject, renewed.lifetime_s) == (seat.subject, 7200)
    assert asked[1]["headers"]["Authorization"] == f"Bearer {seat.token}"


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (404, b'{"err":"not_found","text":"no open room has this code"}', JoinRefused, "no open room"),
        (429, b'{"err":"limit","text":"too many wrong codes"}', JoinRefused, "too many"),
        (404, b"<html>a proxy's own page</html>", JoinRefused, "404"),
        (503, b"", Unreachable, "503"),
        (200, b"<html>hello</html>", Unreachable, "bandroom service"),
        (200, b"[" * 50_000, Unreachable, "bandroom service"),
        (200, b"[]", Unreachable, "bandroom service"),
        (200, b"{}", Unreachable, "token"),
        (200, json.dumps({**GOOD, "token": "no token"}).encode(), Unreachable, "token"),
        (200, json.dumps({**GOOD, "sub": "S-UPPER"}).encode(), Unreachable, "S-UPPER"),
        (200, json.dumps({**GOOD, "mqtt": {"host": "x", "port": "many"}}).encode(), Unreachable, "many"),
    ],
)
async def test_whatever_answers_an_error_says_what_to_do(
    service: Callable[..., Any], status: int, body: bytes, error: type[Exception], says: str
) -> None:
    """Refusals in the service's own words; anything that is no service is told to be none. Never another exception."""
    url, _ = service(status, body)
    with pytest.raises(error, match=says):
        await JoinDesk.of(url, "lincoln", "MUSIC-1234").join()


def test_a_join_link_says_where_and_with_what_key() -> None:
    """Tenant, code and key come from behind the #, and the address from before."""
    desk = JoinDesk.from_link("https://band.example.org:8443/join#t=lincoln&c=MUSIC-1234&k=abc123")
    assert (desk.url, desk.tenant, desk.code, desk.key) == (
        "https://band.example.org:8443",
        "lincoln",
        "MUSIC-1234",
        "abc123",
    )


@pytest.mark.parametrize(
    "link", ["", "join", "http://x/join", "http://x/join#t=lincoln", "ftp://x/join#t=a&c=MUSIC-1234", "#t=a&c=B-1"]
)
def test_what_is_no_join_link_is_refused(link: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"link|address|code"):
        JoinDesk.from_link(link)
