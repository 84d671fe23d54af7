"""What the service tells about itself: figures for everything that an operator asks after, and logs without secrets."""

from __future__ import annotations

import json

import pytest
from bandroom.testing import wait_until, wait_until_async
from bandroom.wire.messages import Note

from .conftest import School


async def test_figures_of_rooms_beats_drops_joins_limits_and_the_store(school: School) -> None:
    """Each is there, and counts: a join, a wrong code, a command refused, rubbish on a topic, notes over the limit."""
    room = school.room(bpm=240, start=True)
    assert school.post("/settings", {"limits": {"client_msgs": {"rate": 1, "burst": 5}}}).status_code == 200

    def figure(name: str) -> float:
        lines = school.http.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    counted = {
        'bandroom_joins_total{outcome="ok"}': 1,
        'bandroom_commands_total{cmd="lock",outcome="ok"}': 1,
        'bandroom_commands_total{cmd="mute",outcome="not_found"}': 1,
        "bandroom_gate_over_limit_total": 1,
        "bandroom_beats_total": 1,
        "bandroom_published_total": 1,
        "bandroom_command_seconds_count": 2,
    }
    before = {name: figure(name) for name in counted}
    assert school.call("/api/join", body={"tenant": school.tenant, "code": "NOWHERE-0000"}).status_code == 404
    school.do(room, "lock")
    school.do(room, "unlock")
    school.post(f"/rooms/{room.room}/commands", {"cmd": "mute", "who": "nobody"})
    async with school.ear(school.join(room)) as ann:
        for i in range(20):
            await ann.connection.publish(room.note(ann.sub), Note(t=None, on=i, off=None))
        await wait_until_async(
            lambda: all(figure(name) >= before[name] + least for name, least in counted.items()),
            timeout_s=20,
            what="all that happened in the figures",
        )
    text = school.http.get("/metrics").text
    for name in (
        f'bandroom_rooms{{state="open",tenant="{school.tenant}"}} 1.0',
        "bandroom_beat_lateness_seconds_bucket",
        "bandroom_beats_dropped_late_total",
        "bandroom_beats_unsent_total",
        "bandroom_beats_write_seconds_total",
        "bandroom_mqtt_undecodable_total",
        "bandroom_mqtt_overflowed_total",
        "bandroom_unpublished_total",
        "bandroom_worker_running",
        "bandroom_gate_behind",
        "bandroom_gate_refused_connects_total",
        "bandroom_gate_denied_publishes_total",
        "bandroom_store_bytes",
        "bandroom_present",
    ):
        assert name in text, name
    assert "bandroom_gate_masters" not in text


@pytest.mark.rule("CRED-2")
def test_no_log_holds_a_secret_or_a_name(school: School) -> None:
    """Tokens, keys of links, device passwords, the owner's token and nicknames are in none; tenant and room are."""
    room = school.room()
    joined = school.join(room, nickname="Zebulon Quux")
    link = school.stack.cli("teachers", "add", "t-smith", "--tenant", school.tenant)["sign_in_url"].partition("&k=")[2]
    assert school.call("/api/sign-in", body={"tenant": school.tenant, "key": link}).status_code == 200
    drum = school.post("/devices", {"sub": "d-drum"}).json()
    screen = school.post(f"/rooms/{room.room}/screen", {}).json()
    join_url = school.http.get(f"/api/tenants/{school.tenant}/rooms/{room.room}").json()["join_url"]
    school.call("/api/renew", joined["token"])
    school.do(room, "mute", who="Zebulon Quux")
    secrets = {
        "a pupil's token": joined["token"],
        "a screen's token": screen["token"],
        "a sign-in key": link,
        "a join key": join_url.partition("&k=")[2],
        "a device's password": drum["password"],
        "the owner's token": school.stack.owner_token,
        "a nickname": "Zebulon",
    }
    logs = school.stack.home.root / "logs"

    def said() -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(logs.iterdir()))

    wait_until(lambda: f'"{school.tenant}"' in said() and '"cmd": "mute"' in said(), what="the command in the log")
    for what, secret in secrets.items():
        assert len(secret) > 6
        assert secret not in said(), what
    lines = [json.loads(line) for line in (logs / "service.log").read_text().splitlines() if line.startswith("{")]
    (muted,) = [line for line in lines if line.get("tenant") == school.tenant and line.get("cmd") == "mute"]
    assert (muted["room"], muted["actor"], muted["ok"]) == (room.room, "owner", True)
