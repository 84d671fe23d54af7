"""The join page and the room in a real browser, against everything really running."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest
from bandroom.clock import ServerClock
from bandroom.testing import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_link_leads_to_a_beat_that_is_seen_and_heard(
    browser: Any, stack: Any, room_of: Any, player: Any
) -> None:
    """One tap after the link the beat is seen, and what leaves the speaker falls on the server's grid: each click
    within 10 ms, half of them within 3 ms, as an independent client of the same room has the grid."""
    room = room_of(stack, bpm=140)
    page = await browser.page(tap=True)
    with player(room) as other:
        await browser.enter(page, room.join_url, "Ada")
        await browser.until(page, "window.onsets.length >= 12 && window.relations.length > 40")
        assert await page.inner_text("#bpm") == "140"
        measured = await page.evaluate(
            """() => ({ onsets: window.onsets, relations: window.relations, origin: performance.timeOrigin,
                        wall: Date.now(), now: performance.now() })"""
        )
        await wait_until_async(lambda: other.of("beat"), what="a beat for the other pupil")
        beat = other.of("beat")[0]
    # The browser's page time is the machine's wall clock, read from its own origin: no part of the page's filter.
    clock = ServerClock.from_file(stack.home.gate_clock)
    server_minus_wall = server_minus_wall_us(clock)
    relations = measured["relations"]
    period = 60e6 / 140
    errors_ms: list[float] = []
    for onset in measured["onsets"][2:]:
        # How audio time and page time were related just then: the audio of a busy machine halts now and then.
        relation = statistics.median(relations[max(0, onset["seen"] - 10) : onset["seen"] + 10])
        page_ms = (onset["at"] - relation) * 1000
        server_us = (measured["origin"] + page_ms) * 1000 + server_minus_wall
        phase = (server_us - beat["t"]) / period
        errors_ms.append((phase - round(phase)) * period / 1000)
    print(f"clicks off the grid, ms: {[round(error, 2) for error in errors_ms]}")
    size = sorted(abs(error) for error in errors_ms)
    assert size[len(size) // 2] < 3, errors_ms
    assert size[-1] < 10, errors_ms


def server_minus_wall_us(clock: ServerClock) -> float:
    """What separates server time from this machine's wall clock now, µs."""
    readings: list[float] = []
    for _ in range(21):
        before = time.time_ns()
        server = clock.now_us()
        after = time.time_ns()
        readings.append(server - (before + after) / 2000)
    return statistics.median(readings)


async def test_a_typed_code_is_enough(browser: Any, stack: Any, room_of: Any) -> None:
    """School and code, typed as people type them, lead into the room; the roster shows who I am."""
    room = room_of(stack)
    page = await browser.page()
    await page.goto(stack.url)
    await page.fill("#tenant", f" {room.tenant.upper()} ")
    await page.fill("#code", "music 1234")
    await page.press("#code", "Enter")
    await page.wait_for_selector(browser.JOINED)
    await page.wait_for_selector(".member:has-text('(you)')")
    assert await page.inner_text("#link-state") == "Connected"
    # Remembered for the next time, and no token with it.
    kept = await page.evaluate("JSON.stringify(localStorage)")
    assert room.tenant in kept
    assert "eyJ" not in kept


@pytest.mark.rule("PRES-4")
async def test_the_page_tells_how_far_off_its_clock_may_be(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Within seconds the roster has a bound for it, which every client can read."""
    room = room_of(stack)
    page = await browser.page()
    with player(room) as ear:
        await browser.enter(page, room.join_url, "Ada")
        mine = f"member/{await browser.sub(page)}"
        await wait_until_async(
            lambda: any(member and member.get("err", 0) > 0 for member in ear.of(mine)), what="the page to have told"
        )


async def test_pads_are_heard_by_another_client(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """A key and a pointer play notes with on and off, loudness and server time; each press ends exactly once."""
    room = room_of(stack)
    page = await browser.page()
    with player(room) as other:
        await browser.enter(page, room.join_url)
        await browser.until(page, "window.beats.length > 1")
        leaf = f"note/{await browser.sub(page)}"
        await page.keyboard.down("a")
        await page.keyboard.up("a")
        await page.keyboard.press("Shift+F")
        await page.locator(".pad").nth(1).click()
        await wait_until_async(lambda: len(other.of(leaf)) >= 6, what="three notes on and off")
        notes = other.of(leaf)
        assert [note.get("on", -note.get("off", 0)) for note in notes] == [36, -36, 39, -39, 38, -38]
        assert [note["v"] for note in notes if "on" in note] == [96, 127, 96]
        assert {note["ch"] for note in notes} == {9}
        now = ServerClock.from_file(stack.home.gate_clock).now_us()
        assert all(abs(note["t"] - now) < 10_000_000 for note in notes)


async def test_others_and_their_notes_are_shown(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Who is in is listed with names; when they play, what they play stands beside their name."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    with player(room, "Grace") as other:
        line = page.locator(f".member[data-sub='{other.sub}']")
        await line.wait_for()
        await page.evaluate(
            """sub => { window.shown = []; new MutationObserver(() => {
                 const line = document.querySelector(`.member[data-sub='${sub}']`);
                 if (line?.classList.contains('playing')) window.shown.push(line.querySelector('.plays').textContent);
               }).observe(document.getElementById('roster'), { subtree: true, attributes: true, childList: true }) }""",
            other.sub,
        )
        other.play(on=38, ch=9)
        await browser.until(page, "window.shown.some((text) => text.includes('Snare'))")
        assert await line.locator(".name").inner_text() == "Grace"


async def test_a_nickname_is_text(browser: Any, stack: Any, room_of: Any) -> None:
    """Markup in a nickname is shown letter by letter to everybody, and nothing of it runs."""
    room = room_of(stack)
    name = "<img src=x onerror=p()>"
    mean, victim = await browser.page(), await browser.page()
    await browser.enter(victim, room.join_url)
    await browser.enter(mean, room.join_url, name)
    line = victim.locator(".member .name", has_text="<img")
    await line.wait_for()
    assert await line.inner_text() == name
    assert await victim.locator(".member img").count() == 0


async def test_wrong_code_says_what_to_do(browser: Any, stack: Any, room_of: Any) -> None:
    """An unknown code, an impossible code and an impossible school are each told in words, with the field marked."""
    room = room_of(stack)
    page = await browser.page()
    await page.goto(stack.url)
    await page.fill("#tenant", room.tenant)
    await page.fill("#code", "MUSIC-9999")
    await page.click("#join-button")
    await page.wait_for_selector("#notice:not([hidden])")
    assert "did not open a room" in await page.inner_text("#notice")
    assert "ask your teacher" in (await page.inner_text("#notice")).lower()
    await page.fill("#code", "hello")
    await page.click("#join-button")
    assert "not a room code" in await page.inner_text("#notice")
    assert await page.get_attribute("#code", "aria-invalid") == "true"
    await page.fill("#tenant", "Ünknown school")
    await page.click("#join-button")
    assert "short name" in await page.inner_text("#notice")
    await browser.until(page, "document.activeElement.id === 'tenant'")


async def test_same_code_in_two_schools(browser: Any, stack: Any, room_of: Any) -> None:
    """MUSIC-1234 in two schools at once, at different tempos: each page has its own beat and its own people."""
    one, two = room_of(stack, bpm=90), room_of(stack, bpm=150)
    assert one.code == two.code
    pages = [await browser.page(), await browser.page()]
    await browser.enter(pages[0], one.join_url, "Ada")
    await browser.enter(pages[1], two.join_url, "Grace")
    for page, bpm, name in ((pages[0], 90, "Ada"), (pages[1], 150, "Grace")):
        await browser.until(page, "window.beats.length >= 5")
        assert await page.inner_text("#bpm") == str(bpm)
        beats, left_out = await browser.beats(page)
        assert left_out == []
        (first, began), *rest = beats
        assert all(abs(t - began - (n - first) * 60_000_000 / bpm) <= 2 for n, t in rest), beats
        await page.wait_for_selector(".member:has-text('(you)')")
        assert await page.locator(".member .name").all_inner_texts() == [f"{name} (you)"]


async def test_mute_and_close_are_told(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """A muted pupil is told, and their notes reach nobody; a closed room says that it is closed."""
    room = room_of(stack)
    page = await browser.page()
    with player(room) as other:
        await browser.enter(page, room.join_url)
        sub = await browser.sub(page)
        room.command("mute", who=sub)
        await page.wait_for_selector("#mute-state:not([hidden])")
        assert "muted you" in await page.inner_text("#mute-state")
        await page.keyboard.press("a")
        room.command("unmute", who=sub)
        await page.wait_for_selector("#mute-state", state="hidden")
        await page.keyboard.press("s")
        await wait_until_async(lambda: other.of(f"note/{sub}"), what="a note after the mute")
        assert [note.get("on") for note in other.of(f"note/{sub}") if "on" in note] == [38]
    room.command("close")
    await page.wait_for_selector("#notice:has-text('closed')")


async def test_tempo_changes_and_stops_are_followed(browser: Any, stack: Any, room_of: Any) -> None:
    """A new tempo is taken up at the bar line, a stop stops; the page says both."""
    room = room_of(stack, bpm=240)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    room.command("set_tempo", bpm=180)
    await browser.until(page, "document.getElementById('bpm').textContent === '180'")
    room.command("stop")
    await browser.until(page, "document.getElementById('transport').textContent.startsWith('Stopped')")
    assert await page.locator(".dot.on").count() == 0
    room.command("start")
    await page.wait_for_selector(browser.JOINED)


async def test_no_token_in_any_address(browser: Any, stack: Any, room_of: Any) -> None:
    """Neither token nor join key travels in an address or a referrer."""
    room = room_of(stack)
    page = await browser.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + request.headers.get("referer", "")))
    page.on("websocket", lambda socket: asked.append(socket.url))
    await browser.enter(page, room.join_url)
    key = room.join_url.split("k=")[1]
    token = await page.evaluate("JSON.parse(sessionStorage.getItem('bandroom.session')).token")
    assert any(url.endswith("/mqtt") for url in asked)
    sent = [url.split("#")[0] for url in asked]
    assert not any(key in url or token in url for url in sent)


@pytest.mark.parametrize("reduced", [True, False])
async def test_calm_picture(browser: Any, stack: Any, room_of: Any, reduced: bool) -> None:
    """Nothing pulses where the device asks for less motion, or at tempos of more than three flashes a second."""
    room = room_of(stack, bpm=120)
    page = await browser.page(reduced_motion="reduce" if reduced else "no-preference")
    await browser.enter(page, room.join_url)
    classes = await page.evaluate("document.getElementById('room-view').className")
    assert ("pulsing" in classes) is not reduced
    assert ("calm" in classes) is reduced
    room.command("set_tempo", bpm=200, at="now")
    await browser.until(page, "document.getElementById('bpm').textContent === '200'")
    assert "pulsing" not in await page.evaluate("document.getElementById('room-view').className")


KEYBOARD = """navigator.requestMIDIAccess = async () => {
  window.keyboard = { name: "Keys", state: "connected" };
  return { inputs: new Map([["1", window.keyboard]]) };
};"""


@pytest.mark.rule("MSG-5")
@pytest.mark.rule("PRES-6")
async def test_a_midi_keyboard_plays_into_the_room(browser: Any, stack: Any, room_of: Any) -> None:
    """What a keyboard plays reaches the others as raw channel messages, and is shown to them; its clock and other
    system messages stay where they are. The roster shows what is played: the pads' sound, then the keyboard."""
    room = room_of(stack)
    page, other = await browser.page(), await browser.page()
    await page.add_init_script(KEYBOARD)
    await browser.enter(other, room.join_url)
    await other.evaluate(
        "() => { window.notes = []; document.addEventListener('bandroom:note', (e) => window.notes.push(e.detail)); }"
    )
    await browser.enter(page, room.join_url, "Ada")
    line = other.locator(f".member[data-sub='{await browser.sub(page)}'] .what")
    await line.get_by_text("pupil · drums", exact=True).wait_for()
    await page.click(".settings summary")
    await page.select_option("#kit", "tones")
    await line.get_by_text("pupil · bells", exact=True).wait_for()
    await page.click("#midi-button")
    await browser.until(page, "document.getElementById('midi-state').textContent === 'Playing: Keys'")
    for message in ([0xF8], [0x92, 64, 80], [0xF0, 1, 0xF7], [0x92, 64, 0]):
        await page.evaluate("data => window.keyboard.onmidimessage({ data: Uint8Array.from(data) })", message)
    await browser.until(other, "window.notes.length === 2")
    notes = await other.evaluate("window.notes")
    assert [(note["on"], note["notes"], note["channel"]) for note in notes] == [(True, [64], 2), (False, [64], 2)]
    assert {note["sub"] for note in notes} == {await browser.sub(page)}
    await line.get_by_text("pupil · keyboard", exact=True).wait_for()
