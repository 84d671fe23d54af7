"""Pages that everybody can use: axe-core's rules (WCAG 2.1 A and AA), small screens, the keyboard alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
RUN = """async () => {
  const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
  const { violations } = await axe.run(document, { runOnly: rules });
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((n) => n.target.join(" ")).join(", ")}`);
}"""
SIZES = {"phone": (390, 844), "laptop": (1280, 800), "projector": (1920, 1080)}
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def sized(browser: Any, size: str, **more: Any) -> Any:
    width, height = SIZES[size]
    return await browser.page(viewport={"width": width, "height": height}, **more)


async def breaks(page: Any) -> list[str]:
    """The rules that what is on the page now breaks."""
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(AXE)
    return list(await page.evaluate(RUN))


def teacher_url(room: Any) -> str:
    return str(room.stack.cli("teachers", "add", "t-ada", "--tenant", room.tenant)["sign_in_url"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pupils_pages_break_no_rule(browser: Any, stack: Any, room_of: Any, scheme: str) -> None:
    """The form, trouble with it, and the room with its settings open, in both schemes."""
    room = room_of(stack)
    page = await sized(browser, "phone", color_scheme=scheme)
    await page.goto(stack.url)
    await page.evaluate("() => { document.title = ''; }")
    assert [rule.partition(":")[0] for rule in await breaks(page)] == ["document-title"], "the rules are not looked at"
    await page.goto(stack.url)
    assert await breaks(page) == []
    await page.fill("#tenant", room.tenant)
    await page.fill("#code", "hello")
    await page.click("#join-button")
    await page.wait_for_selector("#notice:not([hidden])")
    assert await breaks(page) == []
    await page.fill("#code", room.code)
    await page.click("#join-button")
    await page.wait_for_selector(browser.JOINED)
    await page.wait_for_selector(".member:has-text('(you)')")
    await page.click(".settings summary")
    assert await breaks(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_teachers_pages_and_the_screen_break_no_rule(
    browser: Any, stack: Any, room_of: Any, player: Any, scheme: str
) -> None:
    """Signing in, the list, the room with everything open, the question before putting out, and the projector."""
    room = room_of(stack)
    stack.cli("devices", "enroll", "d-drum-1", "--tenant", room.tenant)
    page = await sized(browser, "laptop", color_scheme=scheme)
    await page.goto(f"{stack.url}/teacher")
    await page.wait_for_selector("#sign-in:not([hidden])")
    assert await breaks(page) == []
    await page.goto(teacher_url(room))
    await page.wait_for_selector("#rooms .code")
    assert await breaks(page) == []
    await page.click("#rooms li button")
    await page.wait_for_selector("#share-qr:not([hidden])")
    await page.click("#teacher-bar summary")
    with player(room, "Grace") as grace:
        line = page.locator(f".member[data-sub='{grace.sub}']")
        await line.wait_for()
        await page.wait_for_selector("#devices li")
        assert await breaks(page) == []
        await line.locator("button", has_text="Put out").click()
        assert await breaks(page) == []
        await page.click("#out-cancel")
        await page.click("#t-screen-copy")
        await page.wait_for_selector("#screen-link:not([hidden])")
        screen = await sized(browser, "projector", color_scheme=scheme)
        await screen.goto(await page.inner_text("#screen-link"))
        await screen.wait_for_selector(browser.JOINED)
        await screen.wait_for_selector("#share-qr:not([hidden])")
        assert await breaks(screen) == []


async def test_small_and_large_screens_show_what_matters(browser: Any, stack: Any, room_of: Any) -> None:
    """On a phone beat and pads fit without scrolling, and nothing is ever wider than the screen, down to 320 px; on a
    laptop a teacher's first look has beat, start, tempo and code; on a projector thirty names fit."""
    room = room_of(stack)
    phone = await sized(browser, "phone")
    await browser.enter(phone, room.join_url)
    pads = await phone.locator("#pads").bounding_box()
    assert pads["y"] + pads["height"] <= 844
    for width in (320, 390):
        await phone.set_viewport_size({"width": width, "height": 844})
        assert await phone.evaluate(WIDER) == 0
    teacher = await sized(browser, "laptop")
    await teacher.goto(teacher_url(room))
    await teacher.click("#rooms li button")
    await teacher.wait_for_selector("#share-qr:not([hidden])")
    await teacher.wait_for_selector("#t-stop:not([hidden])")
    for wanted in ("#beat-panel", "#t-stop", "#t-tempo-form", "#share-code", "#t-screen"):
        box = await teacher.locator(wanted).bounding_box()
        assert box["y"] + box["height"] <= 800, wanted
    await teacher.set_viewport_size({"width": 320, "height": 844})
    assert await teacher.evaluate(WIDER) == 0
    await teacher.click("#t-screen-copy")
    await teacher.wait_for_selector("#screen-link:not([hidden])")
    screen = await sized(browser, "projector")
    await screen.goto(await teacher.inner_text("#screen-link"))
    await screen.wait_for_selector("#share-qr:not([hidden])")
    # The longest names that are generated.
    await screen.evaluate(
        """() => { const list = document.getElementById('roster');
          for (let i = 0; i < 30; i++) { const item = document.createElement('li'); item.className = 'member';
            item.innerHTML = '<span class="name"></span><span class="plays">♪ Snare</span>';
            item.firstChild.textContent = `Mighty Hedgehog ${i}`; list.append(item); } }"""
    )
    assert await screen.evaluate("document.documentElement.scrollHeight") <= 1080


async def test_the_keyboard_alone_is_enough(browser: Any, stack: Any, room_of: Any) -> None:
    """From the code to a note without a pointer: one lands at the room's heading, the focus is seen, a key plays its
    pad, and news of who comes is a live region."""
    room = room_of(stack)
    page = await sized(browser, "laptop")
    await page.goto(stack.url)
    focused = "document.activeElement.id"
    await page.focus("#tenant")
    await page.keyboard.type(room.tenant)
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "code"
    await page.keyboard.type(room.code)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(browser.JOINED)
    assert await page.evaluate(focused) == "room-title"
    played = "document.querySelectorAll('.pad.down').length"
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "sound-button"
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "pad"
    await page.keyboard.down("s")
    assert await page.evaluate(played) == 1
    await page.keyboard.up("s")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for live in ("roster-news", "link-state", "transport", "mute-state"):
        assert await page.get_attribute(f"#{live}", "role") == "status"
    assert await page.get_attribute("#notice", "role") == "alert"
