"""What the pages say, and to whom: run in Node, with time as an argument."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

NO_PAGE = "globalThis.document = { getElementById: () => null };"


def token(**claims: Any) -> str:
    """Something that looks like a token from outside."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def test_the_closing_is_told_in_minutes(js: Callable[..., Any]) -> None:
    """A room that is to be closed says at what time, and in how many minutes, at least one."""
    told = js(
        """
        const { closingText } = await load("times.js");
        const at = Date.UTC(2026, 10, 23, 10, 45) * 1000;
        return [300e6, 61e6, 60e6, 1e6, -5e6].map((left) => closingText(at, at - left));
        """
    )
    assert [text.rpartition(", ")[2] for text in told] == [
        "in 5 min.",
        "in 2 min.",
        "in 1 min.",
        "in 1 min.",
        "in 1 min.",
    ]
    assert ":45" in told[0]


def test_a_page_of_yesterday_says_the_day(js: Callable[..., Any]) -> None:
    """Since when a page has been without its room: the hour today, the day with it before that."""
    today, before = js(
        """
        const { agoText } = await load("times.js");
        const now = new Date(2026, 10, 23, 8, 30).getTime();
        return [agoText(now - 3_600_000, now), agoText(now - 16 * 3_600_000, now)];
        """
    )
    assert "30" in today
    assert "," not in today
    assert before.startswith("Sunday, ")


def test_the_list_says_what_becomes_of_a_room(js: Callable[..., Any]) -> None:
    """Tempo, meter and state; the name where it is not the code's own; and that an empty room is soon closed."""
    told = js(
        NO_PAGE
        + """
        globalThis.addEventListener = () => {};
        const { roomText } = await load("teacher.js").catch((error) => ({ roomText: () => String(error) }));
        const room = { room: "MUSIC-1234", name: "MUSIC-1234", bpm: 96, meter: "6/8", playing: true, state: "open",
                       closes_at: 10_000 };
        return [roomText(room, 1_000), roomText({ ...room, name: "Year 5", state: "locked" }, 9_500),
                roomText({ ...room, state: "closed", closes_at: null }, 9_500)];
        """
    )
    assert told == [
        "96 beats a minute · 6/8 · playing",
        "Year 5 · 96 beats a minute · 6/8 · locked · nobody is there: closes in 9 min",
        "96 beats a minute · 6/8 · closed",
    ]


def test_where_an_instrument_is(js: Callable[..., Any]) -> None:
    """In this room it can be taken out, from elsewhere it is brought in, and from where is said."""
    assert js(
        NO_PAGE
        + """
        const { placeOf } = await load("instruments.js");
        return ["MUSIC-1234", "CHOIR-0001", null].map((room) => placeOf({ room }, "MUSIC-1234"));
        """
    ) == [
        {"where": "in this room", "label": "Take out", "away": True},
        {"where": "in CHOIR-0001", "label": "Bring in from there", "away": False},
        {"where": "in no room", "label": "Bring in", "away": False},
    ]


def test_what_a_line_of_the_roster_says(js: Callable[..., Any]) -> None:
    """Pupils read what somebody is and plays; the teacher also since when, and how far off the clock may be; a screen
    what they play and no more. Who is away is lost or has left. What is no word of the list is not shown.
    """
    told = js(
        NO_PAGE
        + """
        const { whatText } = await load("view.js");
        const { agoText } = await load("times.js");
        const since = Date.now() * 1000;
        const member = { state: "ready", kind: "student", err: 2.46, instrument: "drums", since };
        const lines = [
          [member, "teacher"], [member, "student"], [member, "viewer"], [{ ...member, err: null }, "teacher"],
          [{ ...member, state: "lost" }, "teacher"], [{ ...member, state: "disconnected" }, "student"],
          [{ ...member, kind: "viewer", instrument: undefined }, "teacher"],
          [{ ...member, kind: "device", instrument: "other" }, "student"],
          [{ ...member, instrument: "<b>x" }, "student"], [{ ...member, instrument: undefined }, "viewer"],
        ];
        return lines.map(([m, role]) => whatText(m, role).replace(agoText(since / 1000), "NOW"));
        """
    )
    assert told == [
        "pupil · drums · since NOW · clock ±2.5 ms",
        "pupil · drums",
        "drums",
        "pupil · drums · since NOW",
        "connection lost · drums · since NOW",
        "has left · drums",
        "screen",
        "instrument",
        "pupil",
        "",
    ]


def test_a_screen_takes_a_screens_token_only(js: Callable[..., Any]) -> None:
    """A pupil's or teacher's token, or none, makes no screen; a renewed one is kept for the next reload."""
    viewer = token(tenant="lincoln", sub="v-music-1234", role="viewer", room="MUSIC-1234")
    others = [
        token(tenant="lincoln", sub="s-ada", role="student", room="MUSIC-1234"),
        token(tenant="lincoln", sub="t-ada", role="teacher"),
        token(tenant="lincoln", sub="v-a", role="viewer", room="music"),
        "rubbish",
        "",
    ]
    session, none, kept = js(
        NO_PAGE
        + """
        const { screenSession } = await load("screen.js");
        const [viewer, others] = JSON.parse(args[0]);
        const kept = [];
        const session = screenSession(viewer, (token) => kept.push(token));
        session.save();
        return [[session.tenant, session.room, session.sub, session.role], others.map((t) => screenSession(t)), kept];
        """,
        json.dumps([viewer, others]),
    )
    assert session == ["lincoln", "MUSIC-1234", "v-music-1234", "viewer"]
    assert none == [None] * 5
    assert kept == [viewer]


def test_without_the_network_the_clock_goes_on_with_its_drift(js: Callable[..., Any]) -> None:
    """While nothing comes back no ping is sent, and what is known of this device's drift is used all the same."""
    sent, offsets = js(
        """
        const { RoomClock } = await load("clock.js");
        let local = 0, sent = 0;
        const realSet = globalThis.setInterval;
        const steps = [];
        globalThis.setInterval = (action) => { steps.push(action); return 0; };
        globalThis.setTimeout = () => 0;
        const filter = () => ({ synced: true, add: () => true, offsetAt: (t) => 1e9 + t * 50e-6, boundAt: () => 100 });
        const clock = new RoomClock({ filter, now: () => local, send: () => { sent += 1; return true; } });
        clock.start();
        clock.replies = 1;
        steps[0]();
        clock.rest();
        const before = sent;
        const offsets = [];
        for (local = 0; local <= 60e6; local += 500e3) {
          steps[0]();
          if (local % 30e6 === 0) offsets.push(clock.serverAt(local) - local);
        }
        globalThis.setInterval = realSet;
        return [sent - before, offsets];
        """
    )
    assert sent == 0
    assert offsets == [1e9, 1e9 + 1500, 1e9 + 3000]


def test_joining_waits_for_no_answer_it_can_do_without(js: Callable[..., Any]) -> None:
    """Once let in, the page subscribes and asks for the time in one go, as the device kit does: the first ping does not
    wait until the subscriptions are granted."""
    order = js(
        """
        const { RoomClient } = await load("room_client.js");
        const { EventEmitter } = await import("node:events");
        const order = [];
        const mqtt = Object.assign(new EventEmitter(), {
          connected: true,
          publish: (name) => order.push(name.split("/").slice(4).join("/") || "presence"),
          subscribe: (filters, done) => {
            order.push("subscribe");
            queueMicrotask(() => done(null, [], { granted: [] }));
          },
          end() {},
        });
        const session = { tenant: "lincoln", room: "MUSIC-1234", sub: "s-a", username: "lincoln/s-a", token: "x",
                          role: "student", renewInMs: () => null };
        const client = new RoomClient(session, { connect: () => mqtt, url: "" });
        client.addEventListener("up", () => client.publish("clock/q", "ping"));
        client.addEventListener("online", () => order.push("online"));
        client.start();
        mqtt.emit("connect");
        await Promise.resolve();
        return order;
        """
    )
    assert order == ["subscribe", "clock/s-a/q", "presence", "online"]
