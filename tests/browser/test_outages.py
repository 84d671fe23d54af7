"""The room page when things go wrong: killed parts, tokens that end, blocked networks, second tabs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from bandroom.testing import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("part", ["broker", "service"])
async def test_killed_and_back(browser: Any, start_stack: Any, home: Any, room_of: Any, player: Any, part: str) -> None:
    """When the broker, or the service with its tunnel, is killed, the page says so, the beat goes on at its place,
    and it reconnects by itself."""
    stack = start_stack(home)
    room = room_of(stack, bpm=120)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    await browser.until(page, "window.beats.length >= 2")
    await page.evaluate(browser.KEEP_STATES)
    old = stack.kill(part)
    await asyncio.to_thread(stack.wait_restarted, part, old)
    await browser.until(page, "window.states.at(-1) === 'Connected'", timeout_s=20)
    assert (await page.evaluate("window.states"))[0] == "Playing on, waiting for the network"
    beats = len(await page.evaluate("window.beats"))
    await browser.until(page, f"window.beats.length >= {beats + 3}")
    seen, left_out = await browser.beats(page)
    # Not one beat was left out while the connection was gone, and all lie on one grid.
    assert left_out == []
    assert all(abs(t - seen[0][1] - (n - seen[0][0]) * 500_000) <= 1 for n, t in seen)
    leaf = f"note/{await browser.sub(page)}"
    with player(room) as other:
        await page.keyboard.press("a")
        await wait_until_async(lambda: other.of(leaf), what="a note after the return")


async def test_reload_comes_back_and_asks_for_a_tap(browser: Any, stack: Any, room_of: Any) -> None:
    """A reload leads back into the room as the same person, without the form; sound waits for a tap and says so."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    sub = await browser.sub(page)
    await page.reload()
    await page.wait_for_selector(browser.JOINED)
    assert await browser.sub(page) == sub
    assert await page.inner_text("#sound-label") == "Tap to hear the beat"
    await page.click("#sound-button")
    await browser.until(page, "document.getElementById('sound-button').getAttribute('aria-pressed') === 'true'")


async def test_blocked_websockets_are_named(browser: Any, stack: Any, room_of: Any) -> None:
    """Where the network lets pages through and no WebSocket, the page says just that, and to whom to show it."""
    room = room_of(stack)
    page = await browser.page()
    await page.route_web_socket("**/mqtt", lambda socket: socket.close())
    await page.goto(room.join_url)
    await page.click("#join-button")
    await page.wait_for_selector("#notice:has-text('blocks live connections')")
    assert "/mqtt" in await page.inner_text("#notice-text")


async def test_token_is_renewed_before_it_ends(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Before its token ends the page takes a new one and changes over to a second connection: nobody notices, and
    notes go through after the first token's end."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    sub = await browser.sub(page)
    short = room.mint(sub, 8)
    await page.evaluate(browser.SWAP_TOKEN, short["token"])
    await page.reload()
    await page.wait_for_selector(browser.JOINED)
    await page.evaluate(browser.KEEP_STATES)
    await browser.until(page, f"{browser.TOKEN} !== {short['token']!r}")
    await browser.until(page, f"Date.now() > {short['expires_at'] * 1000 + 1500}")
    assert set(await page.evaluate("window.states")) <= {"Connected"}
    assert await page.inner_text("#link-state") == "Connected"
    with player(room) as other:
        await page.keyboard.press("a")
        await wait_until_async(lambda: other.of(f"note/{sub}"), what="a note after the first token's end")


async def test_a_dead_token_leads_back_in_as_the_same_person(browser: Any, stack: Any, room_of: Any) -> None:
    """A token that is refused for good is tried again, then the page joins anew by itself: same subject, same name."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url, "Ada")
    sub = await browser.sub(page)
    await page.evaluate(browser.SWAP_TOKEN, "bm90.YQ.dG9rZW4")
    await page.reload()
    await page.wait_for_selector(browser.JOINED, timeout=20_000)
    assert await browser.sub(page) == sub
    await page.wait_for_selector(".member:has-text('Ada (you)')")


async def test_put_out_is_told_and_final(browser: Any, stack: Any, room_of: Any) -> None:
    """Who is put out sees so in words, and the page does not come back by itself."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    await page.wait_for_selector(".member:has-text('(you)')")
    room.command("kick", who=await browser.sub(page))
    await page.wait_for_selector("#notice:has-text('put out')", timeout=20_000)
    assert await page.is_visible("#join-form")


@contextmanager
def presence_of(room: Any, sub: str) -> Iterator[list[str]]:
    """What is said of a person's connections, in order, as their teacher hears it."""
    minted = room.mint("t-ada", 60)
    heard: list[str] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, minted["client_id"])
    client.username_pw_set(minted["username"], minted["token"])
    client.on_connect = lambda *_: client.subscribe(f"tenant/{room.tenant}/presence/+", 1)
    client.on_message = lambda _c, _u, message: (
        heard.append(message.payload.decode()) if message.topic.endswith(f"/{sub}") else None
    )
    client.connect(*room.stack.mqtt)
    client.loop_start()
    try:
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()


async def test_two_tabs_of_one_browser_live_side_by_side(browser: Any, stack: Any, room_of: Any, player: Any) -> None:
    """Two tabs are one person with two connections: neither throws the other out, and when one is closed the person
    is still in."""
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    second = await page.context.new_page()
    await browser.enter(second, room.join_url)
    sub = await browser.sub(page)
    assert await browser.sub(second) == sub
    await page.evaluate(browser.KEEP_STATES)
    with player(room) as other, presence_of(room, sub) as said:
        for tab, key in ((page, "a"), (second, "s")):
            await tab.keyboard.press(key)
        await wait_until_async(lambda: len(other.of(f"note/{sub}")) == 4, what="notes from both tabs")
        await wait_until_async(lambda: said, what="the presence of the two tabs")
        await second.close()

        def lost_and_here() -> bool:
            """The roster need not say so: where the tab that stays spoke last, the other's end is nobody's loss."""
            ended = next((at for at, word in enumerate(said) if word.startswith("lost ")), None)
            if ended is None or not said[-1].startswith("ready "):
                return False
            return said[-1].split()[1] != said[ended].split()[1] and other.of(f"member/{sub}")[-1]["state"] == "ready"

        await wait_until_async(lost_and_here, what="one connection to be lost, and the person here by the other")
        assert await page.evaluate("window.states") == []


async def test_a_dead_connection_is_found_when_the_page_is_shown_again(
    browser: Any, start_stack: Any, home: Any, room_of: Any
) -> None:
    """A connection that is there by name only, as after a tablet's sleep, is given up within seconds of the page being
    shown, because no ping comes back; and the page is in again as soon as the other side answers."""
    stack = start_stack(home)
    room = room_of(stack)
    page = await browser.page()
    await browser.enter(page, room.join_url)
    await page.evaluate(browser.KEEP_STATES)
    broker = stack.pid_of("broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await browser.until(page, "window.states.at(-1)?.endsWith('waiting for the network')", timeout_s=10)
    finally:
        os.kill(broker, signal.SIGCONT)
    await browser.until(page, "window.states.at(-1) === 'Connected'", timeout_s=30)
