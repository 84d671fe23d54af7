"""What docs/privacy.md promises of a running installation beyond what its store holds."""

from __future__ import annotations

import httpx
from bandroom.mqtt import Credential, Endpoint, Tcp, WebSocket, connect
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Presence
from bandroom.wire.topics import presence

from .conftest import School

ADDRESS = "127.0.0.77"  # this machine's as much as 127.0.0.1, and nobody else's here


async def _visit(school: School, endpoint: Endpoint, access: dict[str, str]) -> None:
    here = presence(school.tenant, Subject(access["username"].split("/")[1]))
    credential = Credential.fixed(access["username"], access["client_id"], access["token"])
    async with connect(endpoint, credential, will=(here, Presence("lost")), give_up_after_s=10) as connection:
        await connection.publish(here, Presence("ready"))


async def test_no_log_knows_a_pupil(school: School) -> None:
    """Joined, connected by TCP and by the web, muted, put out, of a wrong code: neither id, nickname nor address of a
    pupil stands in any log. That somebody was refused does.
    """
    room = school.room()
    host, port = school.stack.mqtt
    web = WebSocket(school.stack.url.replace("http", "ws", 1) + "/mqtt")
    ways: list[Endpoint] = [Tcp(host, port), web]
    pupils = [school.join(room, nickname=f"Zebulon {n}") for n in range(2)]
    transport = httpx.AsyncHTTPTransport(local_address=ADDRESS)
    async with httpx.AsyncClient(transport=transport, base_url=school.stack.url) as elsewhere:
        code = school.http.get(f"/api/tenants/{school.tenant}/rooms/{room.room}").json()["code"]
        body = {"tenant": school.tenant, "code": code, "nickname": "Zebulon 2"}
        pupils.append((await elsewhere.post("/api/join", json=body)).json())
        assert (await elsewhere.post("/api/join", json={**body, "code": "AAAA-0000"})).status_code == 404
    for pupil in pupils:
        for endpoint in ways:
            await _visit(school, endpoint, pupil)
    school.do(room, "mute", who="Zebulon 0")
    school.do(room, "kick", who="Zebulon 1")
    logs = {path.name: path.read_text(errors="replace") for path in school.stack.home.logs.iterdir()}
    assert school.tenant in logs["service.log"]
    for told in (*(pupil["username"].split("/")[1] for pupil in pupils), "Zebulon", ADDRESS):
        assert not [name for name, text in logs.items() if told in text], told
    assert "refused" in logs["broker.log"]
