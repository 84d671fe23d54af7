"""What the pages are served with, and their colours."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

STATIC = Path(__file__).parents[2] / "service" / "bandroom" / "web" / "static"


@pytest.mark.parametrize("path", ["/", "/join", "/teacher", "/static/js/app.js", "/static/style.css"])
def test_nothing_but_our_own_scripts_may_run(stack: Any, path: str) -> None:
    """Every page and file comes with a policy that lets only our own files run, and the page be framed by nobody."""
    answer = httpx.get(stack.url + path)
    assert answer.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    host = stack.url.removeprefix("http://")
    assert policy["connect-src"] == f"'self' ws://{host} wss://{host}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "x'unsafe-inline'", "h:1:2", "é.example"])
def test_a_strange_host_gets_no_say_in_the_policy(stack: Any, host: str) -> None:
    """A Host header that is no host and port does not reach the policy."""
    answer = httpx.get(stack.url + "/", headers={"Host": host.encode()})
    if answer.status_code == 200:
        assert "connect-src 'self';" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static//etc/passwd", "/static/js"]
)
def test_static_files_stay_within_their_folder(stack: Any, path: str) -> None:
    """No spelling of a path reaches a file outside, nor a listing."""
    with httpx.Client() as http:
        answer = http.send(http.build_request("GET", stack.url + path))
    assert answer.status_code == 404


def test_the_document_has_no_inline_script_or_style() -> None:
    """The document would not work under its own policy otherwise."""
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\s(?:on[a-z]+|style)=", page) == []
    assert "http://" not in page
    assert "https://" not in page


def test_every_field_has_a_label() -> None:
    """Inputs are named for those who do not see them, and what a script fills in exists."""
    page = (STATIC / "index.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    inputs = re.findall(r'<(?:input|select)[^>]*\sid="([^"]+)"', page)
    labelled = set(re.findall(r'<label[^>]*\sfor="([^"]+)"', page))
    assert set(inputs) <= labelled
    used = set(re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', page))
    assert used <= set(ids)
    for script in (STATIC / "js").glob("*.js"):
        wanted = set(re.findall(r'(?:\$|setText|show)\("([a-z][a-z0-9-]*)"', script.read_text()))
        assert wanted <= set(ids), script.name


def test_qr_codes_are_made_of_links_only(stack: Any) -> None:
    """The teacher's QR code comes as a picture of exactly the link that was sent; anything else is refused."""
    made = httpx.post(stack.url + "/qr", json={"link": "http://band.example/join#t=lincoln&c=MUSIC-1234&k=abc"})
    assert made.status_code == 200
    assert made.headers["Content-Type"].startswith("image/svg+xml")
    assert made.text.count("<svg") == 1
    for bad in ("javascript:alert(1)", "", "http://" + "x" * 500, "http://a b", 7, None):
        assert httpx.post(stack.url + "/qr", json={"link": bad}).status_code == 422


# Text or sign on ground, in both schemes: WCAG 2.1 asks 4.5:1 for text and 3:1 for what shows a state.
PAIRS = [
    ("ink", "paper", 4.5), ("ink", "card", 4.5), ("ink-soft", "card", 4.5), ("ink-soft", "paper", 4.5),
    ("brand-ink", "brand", 4.5), ("accent", "paper", 4.5), ("accent-ink", "accent", 4.5), ("beat-ink", "beat", 4.5),
    ("warn-ink", "warn-bg", 4.5), ("warn-bg", "warn-line", 3.0), ("ink", "dot", 4.5), ("ink-soft", "dot", 4.5),
    ("pad-ink", "pad-1", 4.5), ("pad-ink", "pad-2", 4.5), ("pad-ink", "pad-3", 4.5), ("pad-ink", "pad-4", 4.5),
    ("focus", "card", 3.0), ("focus", "paper", 3.0),
]  # fmt: skip


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: int) -> None:
    """Each pair of colours that is used for text or state has the contrast that WCAG 2.1 AA asks for."""
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "style.css").read_text(), re.DOTALL)
    colours: dict[str, str] = {}
    for block in blocks[: scheme + 1]:
        colours |= dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block))
    for text, ground, least in PAIRS:
        high, low = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, (text, ground)


def test_every_module_is_named_for_loading_ahead() -> None:
    """The document names all modules of the join page, so that they load side by side and not one after another."""
    page = (STATIC / "index.html").read_text()
    named = set(re.findall(r'<link rel="modulepreload" href="static/([^"]+)">', page))
    needed: set[str] = set()
    todo = {"js/app.js"}
    while todo:
        module = todo.pop()
        needed.add(module)
        text = (STATIC / module).read_text() if module.startswith("js/") else ""
        for wanted in re.findall(r'^import [^;]*?"(\.[^"]+)"', text, re.MULTILINE):
            name = posixpath.normpath(posixpath.join(posixpath.dirname(module), wanted))
            if name not in needed:
                todo.add(name)
    assert named == needed


def test_files_travel_compressed(stack: Any) -> None:
    """The MQTT client, the largest file, travels at a third of its size, and not at all where it is known."""
    url = stack.url + "/static/vendor/mqtt.esm.js"
    plain = httpx.get(url, headers={"Accept-Encoding": "identity"})
    packed = httpx.get(url, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 3
    assert packed.content == plain.content
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
    again = httpx.get(url, headers={"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]})
    assert again.status_code == 304
