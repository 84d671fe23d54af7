"""What a script may rely on: `--json` of every command, the shapes of answers, and commands that do all or nothing."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import typer
from bandroom.cli.main import COMMANDS
from bandroom.paths import Home
from bandroom.runstate import RunInfo
from bandroom.testing import wait_until
from bandroom.wire.commands import AnyCommand
from bandroom.wire.ids import OWN_TENANTS
from pydantic import BaseModel

StartStack = Callable[..., Any]


@pytest.fixture
def tenant(stack: Any) -> str:
    """A tenant of the test's own in the shared stack."""
    name = f"acc-{uuid.uuid4().hex[:8]}"
    stack.cli("tenants", "create", name)
    return name


def _leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, sub in command.commands.items():
        yield from _leaves(sub, (*words, name))


def test_every_command_has_json() -> None:
    """`--json` is an option of every command but the live view, which is for eyes."""
    without: list[str] = []
    for name in COMMANDS:
        module = importlib.import_module(f"bandroom.cli.{name}")
        for words, command in _leaves(typer.main.get_command(module.app), (name,)):
            if not any("--json" in parameter.opts for parameter in command.params):
                without.append(" ".join(words))
    assert without == ["rooms watch"]


@pytest.mark.parametrize("model", get_args(AnyCommand), ids=lambda model: model.__name__)
def test_every_argument_of_a_command_is_an_option(model: type[BaseModel]) -> None:
    """What can be said to a room over MQTT can be said by `bandroom rooms …`, under the same names.

    But for ``exp`` and ``t``: a command that is typed is not delayed, and a tap is now.
    """
    rooms = typer.main.get_command(importlib.import_module("bandroom.cli.rooms").app)
    (word,) = get_args(model.model_fields["cmd"].annotation)
    command = getattr(rooms, "commands")[word.replace("_", "-")]  # noqa: B009  (typer's groups are untyped)
    known = {str(parameter.name).rstrip("_") for parameter in command.params}
    assert set(model.model_fields) - {"cmd", "exp", "t"} <= known


def test_up_in_json(start_stack: StartStack, home: Home) -> None:
    """`up --json` prints on stdout what run.json holds, in one line, and what is for people elsewhere."""
    stack = start_stack(home, "--json")
    # run.json is there a moment before the line is printed.
    wait_until(lambda: "}}\n" in stack.shown(), what="the line")
    lines = [line for line in stack.shown().splitlines() if line.startswith("{")]
    assert [RunInfo.model_validate_json(line) for line in lines] == [stack.info]
    assert set(json.loads(lines[0])) == {"mqtt", "http", "pids"}
    assert "Make a room" not in stack.shown()


def test_handles_for_scripts(stack: Any, tenant: str) -> None:
    """Tenant, room, device, token and join answer with the fields that scripts are promised."""
    room = stack.cli(
        "rooms", "create", "--tenant", tenant, "--code", "MUSIC-1234", "--bpm", "90", "--meter", "3/4", "--start"
    )
    assert {"tenant", "room", "code", "join_url"} <= set(room)
    assert (room["tenant"], room["room"], room["bpm"], room["meter"], room["playing"]) == (
        tenant,
        "MUSIC-1234",
        90,
        "3/4",
        True,
    )
    device = stack.cli("devices", "enroll", "--tenant", tenant, "d-drum-3")
    assert {"username", "password", "client_id"} <= set(device)
    assert (device["username"], device["client_id"]) == (f"{tenant}/d-drum-3/1", f"{tenant}_d-drum-3")
    words = ("--role", "student", "--sub", "s-kim", "--room", "MUSIC-1234", "--ttl", "60")
    token = stack.cli("tokens", "mint", "--tenant", tenant, *words)
    assert set(token) == {"token", "username", "client_id", "expires_at"}
    asked = {"tenant": tenant, "code": "MUSIC-1234", "nickname": "Ann"}
    joined = httpx.post(f"{stack.url}/api/join", json=asked, trust_env=False).json()
    assert {"token", "username", "client_id", "tenant", "room", "sub", "mqtt"} <= set(joined)
    assert (joined["mqtt"]["host"], joined["mqtt"]["port"]) == stack.mqtt


def test_a_new_room_shows_code_link_and_qr(stack: Any, tenant: str) -> None:
    """Without --json `rooms create` prints code, join link, and a QR code in blocks."""
    said = stack.run("rooms", "create", "--tenant", tenant, "--code", "CHOIR-0001").out
    assert "CHOIR-0001" in said
    assert f"{stack.url}/join#t={tenant}&c=CHOIR-0001&k=" in said
    assert sum("█" in line or "▀" in line for line in said.splitlines()) >= 15


def test_the_only_tenant_needs_no_naming_whatever_the_doctor_did(start_stack: StartStack, home: Home) -> None:
    """After `doctor` the one school is still the only one, to every command; no school can take the doctor's name.

    And with a proxy in the environment, as school machines have, all of it works as well: nothing here is beyond it.
    """
    stack = start_stack(home)
    stack.cli("tenants", "create", "lincoln")
    stack.cli("rooms", "create", "--code", "MUSIC-1234", "--bpm", "240", "--start")
    proxied = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    stack.environment.update(proxied, no_proxy="", NO_PROXY="")
    assert stack.cli("doctor")["ok"]
    assert [one["tenant"] for one in stack.cli("tenants", "list")] == ["lincoln"]
    assert [one["room"] for one in stack.cli("rooms", "list")] == ["MUSIC-1234"]
    for way in ("--room", "--code"):
        heard = stack.run("listen", way, "MUSIC-1234", "--what", "beats", "--count", "1", "--seconds", "20", "--json")
        assert heard.code == 0, heard.err
    for name in OWN_TENANTS:
        refused = stack.run("tenants", "create", name)
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_no_service_behind(tmp_path: Path, number: signal.Signals) -> None:
    """The service that a demo starts for itself ends with it, even when the demo is killed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BANDROOM_")}
    words = ("demo", "--home", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    demo = subprocess.Popen(
        [sys.executable, "-P", "-m", "bandroom.cli", *words],
        env={**clean, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        found = wait_until(lambda: list(tmp_path.glob("bandroom-demo-*/run.json")), timeout_s=60, what="the service")
        home = Home(found[0].parent)
        pids = RunInfo.read(home).pids
    finally:
        demo.send_signal(number)
        demo.wait(30)
    for pid in (pids.supervisor, pids.broker, pids.service, *pids.tempo):
        wait_until(lambda pid=pid: _is_dead(pid), timeout_s=30, what=f"the end of {pid}")


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_enrolling_into_a_wrong_room_changes_nothing(stack: Any, tenant: str) -> None:
    """A device whose room is mistyped keeps its credential; a new one is not made."""
    stack.cli("devices", "enroll", "--tenant", tenant, "d-old")
    for sub in ("d-old", "d-new"):
        ran = stack.run("devices", "enroll", "--tenant", tenant, sub, "--room", "NOWHERE-0000")
        assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert [(one["sub"], one["generation"]) for one in stack.cli("devices", "list", "--tenant", tenant)] == [
        ("d-old", 1)
    ]
    made = stack.cli("rooms", "create", "--tenant", tenant)
    enrolled = stack.cli("devices", "enroll", "--tenant", tenant, "d-new", "--room", made["room"])
    assert enrolled["room"] == made["room"]


@pytest.mark.parametrize(
    "body", [{"start": "yes"}, {"start": 1}, {"bpm": "120"}, {"bpm": True}, {"name": 7}, {"meter": ""}, {"code": 1234}]
)
def test_a_value_of_another_type_is_an_error(stack: Any, tenant: str, body: dict[str, Any]) -> None:
    """No value is bent until it fits: the answer is 422 and names the field, and no room is made."""
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    where = f"{stack.url}/api/tenants/{tenant}/rooms"
    answer = httpx.post(where, json=body, headers=headers, trust_env=False)
    assert answer.status_code == 422, answer.text
    assert next(iter(body)) in answer.json()["text"]
    assert httpx.get(where, headers=headers, trust_env=False).json() == []


def test_a_beat_out_of_range_is_named_as_the_user_named_it(stack: Any, tenant: str) -> None:
    """An `--at` that no beat can have: one line that says what may stand there, without the parser's inner names."""
    room = stack.cli("rooms", "create", "--tenant", tenant)["room"]
    ran = stack.run("rooms", "set-tempo", "--tenant", tenant, room, "100", "--at", str(10**30))
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "at: " in ran.err
    assert "literal[" not in ran.err


def test_a_closed_reader_ends_a_command_quietly(stack: Any, tenant: str) -> None:
    """`bandroom … | head -0`: no traceback."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nowhere:
        command = stack.process.args[: stack.process.args.index("up")]
        done = subprocess.run(
            [*command, "tenants", "list"],
            env=stack.environment,
            stdout=nowhere,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("up",), ("tenants", "list"), ("doctor",), ("listen", "--room", "MUSIC-1234")])
def test_a_data_folder_that_is_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A file in the place of the data folder: one line that names it, and no traceback."""
    (tmp_path / "file").touch()
    done = _bandroom(*words, BANDROOM_HOME=str(tmp_path / "file"))
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("token", ["", "é", "a\nb"])
def test_the_owners_token_goes_to_no_other_machine(home: Home, token: str) -> None:
    """BANDROOM_URL without a usable BANDROOM_TOKEN is refused before anything is sent."""
    home.create()
    home.owner_token.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        more = {"BANDROOM_HOME": str(home.root), "BANDROOM_URL": url, "BANDROOM_TOKEN": token}
        done = _bandroom("tenants", "list", **more)
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "BANDROOM_TOKEN" in done.stderr


def _bandroom(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BANDROOM_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "bandroom.cli", *words],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
