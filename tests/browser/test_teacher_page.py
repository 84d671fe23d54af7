"""The teacher's page: from the sign-in link to the projector, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from bandroom.testing import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")
BPM = "document.getElementById('bpm').textContent"


def sign_in_link(room: Any, sub: str = "t-ada") -> str:
    """What `bandroom teachers add` prints."""
    added = room.stack.cli("teachers", "add", sub, "--tenant", room.tenant)
    return str(added["sign_in_url"])


async def go_in(page: Any, room: Any, link: str) -> None:
    """Follow the sign-in link and enter the room."""
    await page.goto(link)
    await page.click(f"#rooms li:has-text('{room.code}') button")
    await page.wait_for_selector("#share-qr:not([hidden])")


async def test_from_the_sign_in_link_to_a_command(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """The link opens the teacher's rooms and leaves the address at once; one click makes a room with code and QR;
    start, tempo, ramp, meter, mute, lock, new code and close work beside the beat."""
    room = room_of(stack, code="OTHER-0001")
    link = sign_in_link(room)
    page = await browser.page()
    await page.goto(link)
    await page.wait_for_selector("#rooms .code")
    assert page.url == f"{stack.url}/teacher"
    assert await page.inner_text("#rooms .code") == "OTHER-0001"
    await page.click("#new-room button")
    await page.wait_for_selector("#share-qr:not([hidden])")
    code = await page.inner_text("#share-code")
    await page.click("#t-start")
    await page.wait_for_selector(browser.JOINED)
    await page.wait_for_selector("#t-start", state="hidden")
    mine = type(room)(stack, room.tenant, code, code, "")
    with player(mine, "Grace") as other:
        line = page.locator(f".member[data-sub='{other.sub}']")
        await line.wait_for()
        await page.fill("#t-bpm", "240")
        await page.press("#t-bpm", "Enter")
        await browser.until(page, f"{BPM} === '240'")
        await line.locator("button", has_text="Mute").click()
        await line.locator("button", has_text="Unmute").wait_for()
        await line.locator("button", has_text="New name").click()
        await page.wait_for_selector(f".member[data-sub='{other.sub}'] .name:not(:has-text('Grace'))")
        await page.click("#t-mute")
        await browser.until(page, "document.getElementById('t-mute').textContent === 'Unmute all'")
        await page.click("#t-lock")
        await browser.until(page, "document.getElementById('t-lock').textContent === 'Unlock'")
        await page.click("#teacher-bar summary")
        await page.fill("#t-meter", "3/4")
        await page.press("#t-meter", "Enter")
        await browser.until(page, "document.querySelectorAll('.dot').length === 3")
        await page.fill("#t-ramp-bpm", "300")
        await page.fill("#t-ramp-over", "2")
        await page.press("#t-ramp-over", "Enter")
        await browser.until(page, f"{BPM} === '300'")
        await page.click("#t-stop")
        await page.wait_for_selector("#t-continue:not([hidden])")
        await page.click("#t-code")
        await browser.until(page, f"document.getElementById('share-code').textContent !== {code!r}")
        await page.click("#t-close")
        assert await page.inner_text("#t-close") == "Really close it?"
        await page.click("#t-close")
        await page.wait_for_selector("#rooms li:has-text('closed')")


async def test_the_code_on_the_wall_is_the_one_that_opens(browser: Any, stack: Any, room_of: Any) -> None:
    """Replaced by another teacher, or on the command line: code and QR on this page are the new ones at once."""
    room = room_of(stack)
    page = await browser.page()
    await go_in(page, room, sign_in_link(room))
    assert await page.inner_text("#share-code") == room.code
    code = stack.cli("rooms", "new-code", room.code, "--tenant", room.tenant)["code"]
    await browser.until(page, f"document.getElementById('share-code').textContent === {code!r}")


async def test_taking_a_sign_in_back_ends_it_in_words(browser: Any, stack: Any, room_of: Any) -> None:
    """A teacher who is revoked in the middle of a room is out of it within seconds and told so; neither a reload nor
    the old link opens anything any more, and the page says what to do."""
    room = room_of(stack)
    link = sign_in_link(room)
    page = await browser.page()
    await go_in(page, room, link)
    stack.cli("teachers", "revoke", "t-ada", "--tenant", room.tenant)
    await page.wait_for_selector("#notice:has-text('taken back')", timeout=20_000)
    assert await page.is_visible("#sign-in")
    assert await page.is_hidden("#room-view")
    assert await page.evaluate("JSON.stringify(sessionStorage)") == "{}"
    await page.goto(link)
    await page.wait_for_selector("#notice:has-text('does not work any more')")
    assert "new one" in await page.inner_text("#notice-text")


async def test_who_is_put_out_may_come_back_or_not(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Putting out asks first and says what the code has to do with it: kept, the pupil joins again; replaced, not."""
    room = room_of(stack)
    page = await browser.page()
    await go_in(page, room, sign_in_link(room))

    async def put_out(sub: str, how: str) -> None:
        await page.locator(f".member[data-sub='{sub}'] button", has_text="Put out").click()
        await page.wait_for_selector("#out-dialog[open]")
        await page.click(how)
        await page.wait_for_selector(f".member[data-sub='{sub}']", state="detached")

    with player(room, "Grace") as grace:
        await page.locator(f".member[data-sub='{grace.sub}']").wait_for()
        await page.locator(f".member[data-sub='{grace.sub}'] button", has_text="Put out").click()
        assert "Grace" in await page.inner_text("#out-title")
        await page.keyboard.press("Escape")
        assert await page.locator(f".member[data-sub='{grace.sub}']").count() == 1
        await put_out(grace.sub, "#out-keep")
    assert await page.inner_text("#share-code") == room.code
    with player(room, "Grace") as grace:
        await page.locator(f".member[data-sub='{grace.sub}']").wait_for()
        await put_out(grace.sub, "#out-new")
    await browser.until(page, f"document.getElementById('share-code').textContent !== {room.code!r}")
    async with httpx.AsyncClient(base_url=stack.url) as http:
        tried = await http.post("/api/join", json={"tenant": room.tenant, "code": room.code})
    assert tried.status_code == 404


async def test_taps_set_the_tempo(browser: Any, stack: Any, room_of: Any) -> None:
    """Tapping the key or the button in time sets the tempo to it: when it was pressed counts, not when it came in."""
    room = room_of(stack, bpm=60)
    page = await browser.page()
    await go_in(page, room, sign_in_link(room))
    await page.wait_for_selector(browser.JOINED)
    await page.evaluate(
        """() => new Promise((done) => { let n = 0; const button = document.getElementById('t-tap');
             const timer = setInterval(() => {
               button.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
               if (++n === 6) { clearInterval(timer); done(); }
             }, 400); })"""
    )
    await browser.until(page, f"Math.abs(Number({BPM}) - 150) < 12")


async def test_instruments_are_brought_in_and_taken_out(browser: Any, stack: Any, room_of: Any) -> None:
    """The school's instruments are listed with where they are; a press brings one into the room, another takes it out;
    revoked ones are not shown."""
    room = room_of(stack)
    for sub, name in (("d-drum-1", "Big drum"), ("d-keys-1", "Keys"), ("d-gone-1", "Gone")):
        stack.cli("devices", "enroll", sub, "--tenant", room.tenant, "--name", name)
    stack.cli("devices", "revoke", "d-gone-1", "--tenant", room.tenant)
    page = await browser.page()
    await go_in(page, room, sign_in_link(room))
    drum = page.locator("#devices li[data-sub='d-drum-1']")
    await drum.locator("button", has_text="Bring in").click()
    await page.wait_for_selector("#devices li.here[data-sub='d-drum-1']:has-text('in this room')")
    assert [d["room"] for d in stack.cli("devices", "list", "--tenant", room.tenant) if d["sub"] == "d-drum-1"] == [
        room.room
    ]
    assert await page.locator("#devices li").count() == 2
    await drum.locator("button", has_text="Take out").click()
    await page.wait_for_selector("#devices li:not(.here)[data-sub='d-drum-1']:has-text('in no room')")


async def test_the_worst_clock_and_too_many_notes_are_told(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Beside each pupil stands what they play, since when they are here and how far off their clock may be, above all
    the worst clock; who plays faster than the room allows is marked with how much was dropped."""
    room = room_of(stack)
    page, pupil = await browser.page(), await browser.page()
    await go_in(page, room, sign_in_link(room))
    await browser.enter(pupil, room.join_url, "Ada")
    line = page.locator(f".member[data-sub='{await browser.sub(pupil)}']")
    await line.locator(".what", has_text="±").wait_for()
    assert re.match(r"pupil · drums · since \d\d:\d\d( [AP]M)? · clock ±", await line.locator(".what").inner_text())
    assert "clocks within" in await page.inner_text("#roster-count")
    with player(room, "Fast") as fast:
        await page.locator(f".member[data-sub='{fast.sub}']").wait_for()

        def flood() -> str:
            for note in range(400):
                fast.play(on=note % 128, ch=9)
            return "sent"

        await wait_until_async(flood, what="the flood")
        await page.locator(f".member[data-sub='{fast.sub}'] .drops", has_text="dropped").wait_for()


@pytest.mark.parametrize("how", ["link", "window"])
async def test_the_projector_shows_code_beat_and_people_and_can_do_nothing(
    browser: Any, stack: Any, room_of: Any, player: Any, how: str
) -> None:
    """A link made by the teacher opens a page with code, QR, beat and names; a new code is shown there by itself; its
    token is not in the address, commands nothing, and ending the screen ends the page in words."""
    room = room_of(stack)
    page = await browser.page()
    await go_in(page, room, sign_in_link(room))
    if how == "window":
        async with page.context.expect_page() as opened:
            await page.click("#t-screen")
        screen = await opened.value
    else:
        await page.click("#t-screen-copy")
        await page.wait_for_selector("#screen-link:not([hidden])")
        screen = await browser.page()
        await screen.goto(await page.inner_text("#screen-link"))
    await screen.wait_for_selector(browser.JOINED)
    await screen.wait_for_selector("#share-qr:not([hidden])")
    assert screen.url == f"{stack.url}/screen"
    assert await screen.inner_text("#share-code") == room.code
    assert await screen.is_hidden("#teacher-bar")
    assert "bandroom.teacher" not in await screen.evaluate("JSON.stringify(sessionStorage)")
    token = await screen.evaluate("sessionStorage.getItem('bandroom.screen')")
    async with httpx.AsyncClient(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}) as http:
        asked = await http.post(f"/api/tenants/{room.tenant}/rooms/{room.room}/commands", json={"cmd": "stop"})
    assert asked.status_code == 403
    with player(room, "Grace") as grace:
        await screen.locator(f".member[data-sub='{grace.sub}']").wait_for()
        assert await screen.inner_text("#roster-count") == "1 is here"
    if how == "link":
        await page.click("#teacher-bar summary")
        await page.click("#t-code")
        await browser.until(screen, f"document.getElementById('share-code').textContent !== {room.code!r}")
    await page.locator(".member", has_text="screen").locator("button", has_text="End").click()
    await screen.wait_for_selector("#notice:has-text('shows no room')", timeout=20_000)


async def test_a_sign_in_that_ran_out_is_told(browser: Any, stack: Any, room_of: Any) -> None:
    """A page that could not renew its token in time, as one that slept overnight, says that the sign-in has run out and
    what to do, and holds nothing back in the tab."""
    room = room_of(stack)
    page = await browser.page()
    await page.route("**/api/renew", lambda route: route.abort())
    token = room.mint("t-ada", 3)["token"]
    await go_in(page, room, f"{stack.url}/teacher#token={token}")
    await page.wait_for_selector("#notice:not([hidden])", timeout=20_000)
    await page.unroute("**/api/renew")
    await page.wait_for_selector("#notice:has-text('has run out')", timeout=30_000)
    assert "sign-in link again" in await page.inner_text("#notice-text")
    assert await page.evaluate("JSON.stringify(sessionStorage)") == "{}"
