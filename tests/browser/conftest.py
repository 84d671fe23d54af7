"""What the browser tests share: Node for modules, Chromium for pages."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import httpx
import paho.mqtt.client as paho
import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Page, async_playwright

JS = Path(__file__).parents[2] / "service" / "bandroom" / "web" / "static" / "js"


@pytest.fixture(scope="session")
def js(node: str) -> Callable[..., Any]:
    """``js(body, *args)``: run a function's body in Node; ``load("x.js")`` gives a module of the pages."""

    def run(body: str, *args: str) -> Any:
        script = (
            f"const load = (name) => import({json.dumps(JS.as_uri())} + '/' + name);\n"
            "const args = process.argv.slice(1);\n"
            "const outcome = (f) => { try { return f(); } catch (error) { return error.constructor.name; } };\n"
            f"const body = async () => {{ {body} }};\n"
            "console.log(JSON.stringify(await body() ?? null));\n"
            "process.exit(0);\n"
        )
        done = subprocess.run(
            [node, "--input-type=module", "-e", script, *args], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


# Found where Debian puts it; what is switched off is what calls home.
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The page's metronome looks so often, and puts beats down 160 ms ahead: being held up for less does no harm (ms).
LOOK_MS = 25
STALL_MS = 160 - LOOK_MS  # as seen by another timer of the page
TAP = Path(__file__).with_name("tap.js").read_text()
# Every node that is connected to the speaker is connected to the tap as well.
TAP_INIT = """
window.onsets = [];
window.relations = [];
const Real = window.AudioContext;
const connect = AudioNode.prototype.connect;
window.AudioContext = class extends Real {
  constructor(...args) {
    super(...args);
    const context = this;
    const source = URL.createObjectURL(new Blob([window.tapSource], { type: "text/javascript" }));
    context.audioWorklet.addModule(source).then(() => {
      const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
      tap.port.onmessage = (event) => window.onsets.push({ at: event.data, seen: window.relations.length });
      for (const node of context.toSpeaker ?? []) connect.call(node, tap);
    });
    setInterval(() => {
      const stamp = context.getOutputTimestamp();
      if (stamp.contextTime > 1) window.relations.push(stamp.contextTime - stamp.performanceTime / 1000);
    }, 20);
  }
};
AudioNode.prototype.connect = function (target, ...rest) {
  if (target === this.context.destination) (this.context.toSpeaker ??= []).push(this);
  return connect.call(this, target, ...rest);
};
"""


@dataclass
class Browser:
    """Chromium for one test. ``errors`` collects what pages threw or were refused by their policy."""

    chromium: Any
    errors: list[str] = field(default_factory=list)

    JOINED: ClassVar[str] = "#room-view:not([hidden]) .dot.on"
    KEEP_STATES: ClassVar[str] = """() => { window.states = []; const node = document.getElementById('link-state');
      new MutationObserver(() => {
        if (window.states.at(-1) !== node.textContent) window.states.push(node.textContent);
      }).observe(node, { childList: true, characterData: true, subtree: true }); }"""
    SWAP_TOKEN: ClassVar[str] = """token => { const kept = JSON.parse(sessionStorage.getItem('bandroom.session'));
      sessionStorage.setItem('bandroom.session', JSON.stringify({ ...kept, token })); }"""
    TOKEN: ClassVar[str] = "JSON.parse(sessionStorage.getItem('bandroom.session')).token"

    @staticmethod
    async def enter(page: Page, url: str, nickname: str = "") -> None:
        """Follow a join link and press the one button."""
        await page.goto(url)
        if nickname:
            await page.fill("#nickname", nickname)
        await page.click("#join-button")
        await page.wait_for_selector(Browser.JOINED)

    @staticmethod
    async def until(page: Page, expression: str, timeout_s: float = 15.0) -> None:
        """Wait until ``expression`` is true in the page. (The page's policy forbids Playwright's way, which evals.)"""
        deadline = time.monotonic() + timeout_s
        while not await page.evaluate(f"() => Boolean({expression})"):
            assert time.monotonic() < deadline, f"{expression} did not come true within {timeout_s} s"
            await asyncio.sleep(0.03)

    @staticmethod
    async def sub(page: Page) -> str:
        """Who the page is in its room."""
        return str(await page.evaluate("JSON.parse(sessionStorage.getItem('bandroom.session')).sub"))

    async def page(self, *, tap: bool = False, **options: Any) -> Page:
        """A page in a context of its own: another browser, as far as cookies and storage go."""
        # The tap's own source is let past the page's policy; every other page of the tests is held to it.
        context = await self.chromium.new_context(bypass_csp=tap, **options)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        await page.add_init_script(
            "window.beats = []; document.addEventListener('bandroom:beat', (e) => window.beats.push(e.detail));"
            "window.stalls = []; let looked = performance.now();"
            f"setInterval(() => {{ const now = performance.now(); if (now - looked > {STALL_MS}) {{"
            f" window.stalls.push([looked, now]); }} looked = now; }}, {LOOK_MS});"
        )
        if tap:
            await page.add_init_script(f"window.tapSource = {json.dumps(TAP)};{TAP_INIT}")
        return page

    @staticmethod
    async def beats(page: Page) -> tuple[list[tuple[int, int]], list[int]]:
        """Number and server time (µs) of each beat that the page put down, and the numbers of those that it left out,
        but for beats that fell into a time in which the machine, busy with other tests, let the page do nothing: those
        it has to leave out.
        """
        seen = [(entry["beat"], entry["due"]) for entry in await page.evaluate("window.beats")]
        stalls = await page.evaluate("window.stalls")
        left_out: list[int] = []
        for (one, due), (two, next_due) in pairwise(seen):
            assert one["n"] < two["n"], "a beat twice, or out of order"
            for n in range(one["n"] + 1, two["n"]):
                at = due + (next_due - due) * (n - one["n"]) / (two["n"] - one["n"])
                if not any(since - LOOK_MS <= at <= until + LOOK_MS for since, until in stalls):
                    left_out.append(n)
        return [(beat["n"], beat["t"]) for beat, _ in seen], left_out

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Uncaught" in message.text:
            self.errors.append(message.text)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[Any]:
    """A headless Chromium for a file's tests."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no browser at {CHROMIUM}")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Any) -> AsyncIterator[Browser]:
    """Browsers for one test; a page that throws or breaks its policy fails it."""
    ours = Browser(chromium)
    yield ours
    for context in chromium.contexts:
        await context.close()
    assert ours.errors == []


@dataclass(frozen=True)
class Room:
    """A room made for a test, and what its teacher may do there."""

    stack: Any
    tenant: str
    room: str
    code: str
    join_url: str

    def command(self, cmd: str, **more: Any) -> dict[str, Any]:
        """One of the teacher's commands, which must succeed."""
        with owner(self.stack) as http:
            reply = http.post(f"/api/tenants/{self.tenant}/rooms/{self.room}/commands", json={"cmd": cmd, **more})
            assert reply.status_code == 200, reply.text
            return dict(reply.json())

    def join(self, nickname: str = "") -> dict[str, Any]:
        """Join as another pupil: what the service answers."""
        with httpx.Client(base_url=self.stack.url, timeout=10) as http:
            body = {"tenant": self.tenant, "code": self.code, "nickname": nickname or None}
            reply = http.post("/api/join", json=body)
            assert reply.status_code == 200, reply.text
            return dict(reply.json())

    def mint(self, sub: str, ttl_s: int) -> dict[str, Any]:
        """A token for a subject of the tenant, in this room where the role needs one."""
        with owner(self.stack) as http:
            room = None if sub.startswith("t-") else self.room
            reply = http.post(f"/api/tenants/{self.tenant}/tokens", json={"sub": sub, "room": room, "ttl_s": ttl_s})
            assert reply.status_code == 201, reply.text
            return dict(reply.json())


def owner(stack: Any) -> httpx.Client:
    """HTTP as the machine's owner."""
    headers = {"Authorization": f"Bearer {stack.owner_token}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=10)


def make_room(stack: Any, tenant: str | None = None, **asked: Any) -> Room:
    """A running room; in a tenant of its own where none is given."""
    with owner(stack) as http:
        if tenant is None:
            tenant = f"school-{secrets.token_hex(4)}"
            made = http.post("/api/tenants", json={"tenant": tenant})
            assert made.status_code == 201, made.text
        body = {"code": "MUSIC-1234", "start": True, **asked}
        reply = http.post(f"/api/tenants/{tenant}/rooms", json=body)
        assert reply.status_code == 201, reply.text
        room = reply.json()
        return Room(stack, tenant, room["room"], room["code"], room["join_url"])


@pytest.fixture
def room_of() -> Callable[..., Room]:
    """``room_of(stack, tenant=None, **body)``: a running room MUSIC-1234."""
    return make_room


class Player:
    """A pupil with an MQTT client of their own, over TCP: hears the room and plays."""

    def __init__(self, room: Room, nickname: str = "") -> None:
        self.joined = room.join(nickname)
        self.sub: str = self.joined["sub"]
        self.base = f"tenant/{room.tenant}/music_room/{room.room}"
        self.heard: list[tuple[str, Any]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, self.joined["client_id"])
        self._client.username_pw_set(self.joined["username"], self.joined["token"])
        self._presence = f"tenant/{room.tenant}/presence/{self.sub}"
        self._client.will_set(self._presence, "lost 0", 1, retain=True)
        self._client.on_message = self._on_message
        self._ready = threading.Event()
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_connect = lambda *_: self._client.subscribe(
            [(f"{self.base}/{leaf}", 0) for leaf in ("beat", "note/+", "tempo", "member/+")]
        )

    def __enter__(self) -> Player:
        self._client.connect(self.joined["mqtt"]["host"], self.joined["mqtt"]["port"])
        self._client.loop_start()
        assert self._ready.wait(10), "the player could not subscribe"
        self._client.publish(self._presence, "ready 0", 1, retain=True)
        return self

    def __exit__(self, *_: object) -> None:
        # Who was put out has nobody to say it to.
        if self._client.is_connected():
            self._client.publish(self._presence, "disconnected 0", 1, retain=True).wait_for_publish(5)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        payload = json.loads(message.payload) if message.payload else None
        self.heard.append((message.topic.removeprefix(f"{self.base}/"), payload))

    def of(self, leaf: str) -> list[Any]:
        """What was heard on a leaf."""
        return [payload for topic, payload in list(self.heard) if topic == leaf]

    def play(self, **note: Any) -> None:
        """Publish a note."""
        self._client.publish(f"{self.base}/note/{self.sub}", json.dumps(note))


@pytest.fixture
def player() -> type[Player]:
    """``with player(room, nickname) as p``: a pupil on MQTT beside the browser."""
    return Player
