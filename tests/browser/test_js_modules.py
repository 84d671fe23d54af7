"""The pages' modules that need no page: each law run in Node, with time and chance as arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import pytest
from bandroom.music import edits
from bandroom.music.lateness import late_us
from bandroom.music.meter import Meter
from bandroom.music.ping_plan import PingPlan
from bandroom.music.tempo_map import TempoMap
from bandroom.wire.instruments import INSTRUMENTS
from bandroom.wire.tempo import to_message

JS = Path(__file__).parents[2] / "service" / "bandroom" / "web" / "static" / "js"


class Runs(Protocol):
    def __call__(self, script: str, *args: str) -> Any: ...


def test_slewed_clock_never_runs_back_and_turns_at_most_half_a_percent(js: Runs) -> None:
    """Between jumps server time rises, at between 99.5 and 100.5 % of local time, whatever the target does."""
    result = js(
        """
        const { SlewedOffset } = await load("slew.js");
        let seed = 7;
        const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
        const offset = new SlewedOffset();
        offset.steer(0, 5e9);
        let rates = [], last = null, worst = 0;
        for (let t = 0; t < 60e6; t += 10e3) {
          if (t % 500e3 === 0) offset.steer(t, 5e9 + (random() - 0.5) * 40e3);
          const server = t + offset.at(t);
          if (last !== null) rates.push((server - last) / 10e3);
          last = server;
          worst = Math.max(worst, Math.abs(offset.localOf(server) - t));
        }
        return { least: Math.min(...rates), most: Math.max(...rates), worst };
        """
    )
    assert 0.9949 <= result["least"] <= result["most"] <= 1.0051
    assert result["worst"] < 1.0, "local time of a server time, in µs off"


def test_slewed_clock_jumps_only_past_30_ms(js: Runs) -> None:
    """The first offset is taken at once and silently; later a gap over 30 ms is a jump that is reported."""
    assert js(
        """
        const { SlewedOffset } = await load("slew.js");
        const offset = new SlewedOffset();
        const told = [offset.steer(0, 1e9), offset.steer(1e6, 1e9 + 29e3), offset.steer(1e6, 1e9 + 200e3)];
        return [told, offset.at(1e6)];
        """
    ) == [[False, False, True], 1e9 + 200e3]


def test_what_is_still_to_be_slewed_is_told(js: Runs) -> None:
    """Half a second after a step of 10 ms, 7.5 ms of it are left, and after two seconds nothing."""
    assert js(
        """
        const { SlewedOffset } = await load("slew.js");
        const offset = new SlewedOffset();
        offset.steer(0, 1e9);
        offset.steer(0, 1e9 - 10e3);
        return [0, 500e3, 2e6].map((t) => Math.round(offset.remaining(t)));
        """
    ) == [10_000, 7_500, 0]


@pytest.mark.rule("CLK-4")
def test_clock_takes_only_its_own_replies(js: Runs) -> None:
    """Replies with another's eight characters, an unknown sequence, no time or another length are ignored; one's
    own counts once."""
    result = js(
        """
        const { RoomClock } = await load("clock.js");
        const sent = [];
        let now = 1e6;
        const added = [];
        const filter = () => ({ add: (...x) => added.push(x), synced: true, offsetAt: () => 5e9, boundAt: () => 100 });
        const clock = new RoomClock({ filter, send: (text) => sent.push(text), now: () => now, random: () => 0.5 });
        clock.start();
        await new Promise((done) => setTimeout(done, 5));
        now = 1_004_000;
        const [ping] = sent;
        const answer = ping.slice(0, 12) + "5000001002000000".slice(0, 16);
        for (const bad of ["", "x", ping, "aaaaaaaa" + answer.slice(8), ping.slice(0, 9) + "ff " + answer.slice(12),
                           answer + "0", ping.slice(0, 12) + "not a number 16."]) clock.reply(bad, now);
        const before = added.length;
        clock.reply(answer, now);
        clock.reply(answer, now);
        clock.stop();
        return { length: ping.length, zeros: ping.slice(12), before, added, server: clock.serverNow() };
        """
    )
    assert result["length"] == 28
    assert result["zeros"] == "0" * 16
    assert result["before"] == 0
    assert result["added"] == [[1e6, 5000001002000000, 5000001002000000, 1_004_000]]
    assert result["server"] == 5e9 + 1_004_000


@pytest.mark.parametrize("bound_us", [800, 5_000])
def test_pings_are_sent_as_the_plan_has_them(js: Runs, bound_us: int) -> None:
    """Over two minutes, on a good link and on one with jitter: burst for burst when `PingPlan` has them."""
    asked = js(
        """
        const { RoomClock } = await load("clock.js");
        let now = 0, order = 0;
        const timers = new Map(), sent = [];
        globalThis.setTimeout = (action, ms) => { timers.set(++order, [now + ms * 1000, action]); return order; };
        globalThis.clearTimeout = (timer) => timers.delete(timer);
        const filter = () => ({ add: () => {}, synced: true, offsetAt: () => 5e9, boundAt: () => BOUND });
        const clock = new RoomClock({ filter, send: () => sent.push(now), now: () => now });
        clock.start();
        clock.replies = 1;
        while (now < 120e6) {
          const [timer, [at, action]] = [...timers].reduce((a, b) => (b[1][0] < a[1][0] ? b : a));
          timers.delete(timer);
          now = at;
          action();
        }
        return sent;
        """.replace("BOUND", str(bound_us))
    )
    plan, planned = PingPlan(), list[int]()
    plan.start(0)
    while (at_us := plan.next_us or 0) < 120_000_000:
        if plan.due(at_us, bound_us):
            planned.append(at_us)
    assert [at for at in asked if at < 120_000_000] == planned


def test_after_a_sleep_only_an_answer_to_what_was_asked_since_counts(js: Runs) -> None:
    """A reply that was on its way when the connection died must not keep it for alive."""
    ends = js(
        """
        const { RoomClock } = await load("clock.js");
        return ["none", "old", "new"].map((answered) => {
          let now = 1e6, order = 0, silent = null;
          const timers = new Map(), sent = [];
          globalThis.setTimeout = (action, ms) => { timers.set(++order, [now + ms * 1000, action]); return order; };
          globalThis.clearTimeout = (timer) => timers.delete(timer);
          const run = (until) => {
            for (;;) {
              const next = [...timers].reduce((a, b) => (b[1][0] < a[1][0] ? b : a));
              if (next[1][0] > until) break;
              timers.delete(next[0]);
              [now] = next[1];
              next[1][1]();
            }
            now = until;
          };
          const filter = () => ({ add: () => {}, synced: true, offsetAt: () => 5e9, boundAt: () => 100 });
          const clock = new RoomClock({ filter, send: (text) => sent.push(text), now: () => now, random: () => 0.5 });
          clock.addEventListener("silent", () => { silent ??= now - 1.4e6; });
          clock.start();
          run(1.4e6);
          const old = sent.at(-1);
          clock.probe();
          run(1.41e6);
          const ping = { old, new: sent.at(-1) }[answered];
          if (ping) clock.reply(ping.slice(0, 12) + "5000001002000000", now);
          run(6e6);
          clock.stop();
          return silent;
        });
        """
    )
    assert ends == [3e6, 3e6, None]


METRONOME = """
    const { Metronome } = await load("metronome.js");
    let local = 0;
    const clock = Object.assign(new EventTarget(), {
      synced: true, serverNow: () => local, localAt: (t) => t, serverAt: (t) => t });
    const clicks = [], taken = [];
    const sound = {
      running: true, clickVolume: 1, context: { get currentTime() { return local / 1e6; } },
      measure() {}, audioTime: (ms) => ms / 1000,
      click(when) { clicks.push(Math.round(when * 1e6)); return () => taken.push(Math.round(when * 1e6)); } };
    const steady = (us, from = 0) => ({
      beat: (n) => ({ n, pos: ((n % 4) + 4) % 4 + 1, t: from + n * us }),
      nextBeat(after) { return this.beat(Math.max(0, Math.floor((after - from) / us) + 1)); } });
    let hidden = false;
    const metronome = new Metronome({ clock, sound, isHidden: () => hidden });
    const run = (until) => { for (; local < until; local += 25_000) metronome.look(); };
"""


def test_each_click_is_put_down_once_at_its_time(js: Runs) -> None:
    """Over a minute every beat gets one click, at the map's time, put down ahead of it."""
    clicks = js(METRONOME + "metronome.setMap(steady(500_000, 100_000)); run(60e6); return clicks;")
    assert clicks == [100_000 + n * 500_000 for n in range(len(clicks))]
    assert len(clicks) == 121  # the last one is put down ahead


def test_a_new_map_takes_back_what_it_does_not_confirm(js: Runs) -> None:
    """When the tempo changes, clicks that are ahead and no longer right are taken back, and none sounds twice."""
    clicks, taken = js(
        METRONOME
        + """
        hidden = true;
        metronome.setMap(steady(500_000)); run(1_000_000);
        const changed = { beat: (n) => ({ n, pos: 1, t: n <= 3 ? n * 500_000 : 1_500_000 + (n - 3) * 400_000 }),
          nextBeat(after) { let n = 0; while (this.beat(n).t <= after) n += 1; return this.beat(n); } };
        metronome.setMap(changed); run(3_000_000);
        return [clicks.filter((t) => t < 3_000_000), taken];
        """
    )
    heard = sorted(set(clicks) - set(taken)) if len(set(clicks)) == len(clicks) else clicks
    assert heard == [500_000, 1_000_000, 1_500_000, 1_900_000, 2_300_000, 2_700_000]
    assert 2_000_000 in taken


def test_a_page_that_stood_still_replays_nothing(js: Runs) -> None:
    """After three seconds without a timer the missed clicks are left out instead of sounding in a heap, and it comes in
    again at a bar; a stall within what was put down ahead, or between beats, silences nothing."""
    stood = "metronome.setMap(steady(500_000)); run(1e6); local = 4_100_000; run(6.5e6); return clicks;"
    clicks = js(METRONOME + stood)
    assert [t for t in clicks if 1_200_000 < t < 4_095_000] == []
    assert [t for t in clicks if t > 4_095_000] == [6_000_000, 6_500_000]
    slow = "metronome.setMap(steady(3_000_000)); run(3.1e6); local = 5_700_000; run(6.1e6); return clicks;"
    assert js(METRONOME + slow) == [3_000_000, 6_000_000]
    hidden = "hidden = true; metronome.setMap(steady(500_000)); run(1e6); local = 2_900_000; run(3e6); return clicks;"
    assert js(METRONOME + hidden) == [n * 500_000 for n in range(1, 11)]


def test_after_a_jump_the_click_comes_in_at_the_next_bar(js: Runs) -> None:
    """When the clock had to jump while playing: silence until beat one."""
    clicks = js(
        METRONOME
        + """
        metronome.setMap(steady(500_000)); run(2_600_000); const before = clicks.length;
        clock.dispatchEvent(new Event("jump")); run(5e6); return clicks.slice(before);
        """
    )
    assert clicks == [4_000_000, 4_500_000, 5_000_000]


def test_waits_double_to_five_seconds_with_jitter(js: Runs) -> None:
    """The first wait is 50 to 150 ms, later ones double up to 5 s, half as much more or less by chance."""
    low, high = js(
        """
        const { backoffMs } = await load("room_client.js");
        const all = (r) => [1, 2, 3, 6, 7, 20, 2000].map((n) => backoffMs(n, () => r));
        return [all(0), all(0.9999999)];
        """
    )
    assert low == [50, 100, 200, 1600, 2500, 2500, 2500]
    assert [round(ms) for ms in high] == [150, 300, 600, 4800, 7500, 7500, 7500]


@pytest.mark.rule("PRES-4")
def test_the_error_of_the_clock_is_told_when_it_doubled_or_halved(js: Runs) -> None:
    """Behind `ready`, with each new connection too; not within 10 s of the last time, and not while offline."""
    said = js(
        """
        const { RoomClient } = await load("room_client.js");
        const { EventEmitter } = await import("node:events");
        const said = [];
        let mqtt = null, now = 0;
        const connect = () => {
          mqtt = Object.assign(new EventEmitter(), {
            connected: true,
            publish: (name, payload) => said.push([name, payload]),
            subscribe: (filters, done) => done(null, Object.keys(filters).map((topic) => ({ topic })), {
              granted: Object.keys(filters).map(() => 0) }),
            end() { this.connected = false; },
          });
          return mqtt;
        };
        const session = { tenant: "lincoln", room: "MUSIC-1234", sub: "s-a", username: "lincoln/s-a", token: "x",
                          role: "student", renewInMs: () => null };
        const client = new RoomClient(session, { connect, url: "", random: () => 0, now: () => now });
        client.tellError(700);
        client.start();
        mqtt.emit("connect");
        for (const [at, us] of [[500, Infinity], [600, 850.2], [5000, 3000], [10_600, 1700], [10_700, 1702.1],
                                [20_701, 852], [20_702, 850], [40_000, 1e9], [60_000, 0], [79_000, 1],
                                [80_100, 1]]) {
          now = at;
          client.tellError(us);
        }
        mqtt.emit("close");
        client.tellError(500);
        client.hurry();
        mqtt.emit("connect");
        client.stop();
        return said;
        """
    )
    assert {name for name, _ in said} == {"tenant/lincoln/presence/s-a"}
    assert [text for _, text in said] == [
        "ready 0", "ready 0 851", "ready 0 1703", "ready 0 850", "ready 0 9999999", "ready 0 1", "ready 0 1",
        "ready 1 1", "disconnected 1",
    ]  # fmt: skip


@pytest.mark.rule("PRES-6")
def test_what_is_played_is_told_at_once_and_with_each_connection(js: Runs) -> None:
    """Behind the error bound, if there is one; the same word is not said twice, and teachers and screens say none."""
    told = js(
        """
        const { RoomClient } = await load("room_client.js");
        const { EventEmitter } = await import("node:events");
        const tell = (role) => {
          const said = [];
          let mqtt = null;
          const connect = () => {
            mqtt = Object.assign(new EventEmitter(), {
              connected: true,
              publish: (name, payload) => said.push(payload),
              subscribe: (filters, done) => done(null, Object.keys(filters).map((topic) => ({ topic })), {
                granted: Object.keys(filters).map(() => 0) }),
              end() { this.connected = false; },
            });
            return mqtt;
          };
          const session = { tenant: "lincoln", room: "MUSIC-1234", sub: "s-a", username: "lincoln/s-a", token: "x",
                            role, renewInMs: () => null };
          const client = new RoomClient(session, { connect, url: "", random: () => 0, now: () => 0 });
          client.tellInstrument("drums");
          client.start();
          mqtt.emit("connect");
          client.tellInstrument("drums");
          client.tellInstrument("bells");
          client.tellError(850);
          mqtt.emit("close");
          client.tellInstrument("keyboard");
          client.hurry();
          mqtt.emit("connect");
          client.stop();
          return said;
        };
        return [tell("student"), tell("teacher"), tell("viewer")];
        """
    )
    assert told[0] == ["ready 0 drums", "ready 0 bells", "ready 0 850 bells", "ready 1 850 keyboard", "disconnected 1"]
    assert told[1] == told[2] == ["ready 0", "ready 0 850", "ready 1 850", "disconnected 1"]


def test_tabs_of_one_browser_have_digits_of_their_own(js: Runs) -> None:
    """Five tabs: ten client ids, whoever connects anew, so that no tab takes another's connection from it."""
    digits = js(
        """
        const kept = {};
        globalThis.localStorage = {
          getItem: (name) => kept[name] ?? null,
          setItem: (name, text) => { kept[name] = text; },
        };
        const { RoomClient } = await load("room_client.js");
        const { EventEmitter } = await import("node:events");
        const session = { tenant: "lincoln", room: "MUSIC-1234", sub: "s-a", username: "lincoln/s-a", token: "x",
                          role: "student", renewInMs: () => null };
        const tabs = [];
        for (let i = 0; i < 5; i += 1) tabs.push((await load(`settings.js?${i}`)).settings);
        return tabs.map((settings) => {
          const ids = [];
          let mqtt = null;
          const connect = (_url, { clientId }) => {
            ids.push(clientId.at(-1));
            mqtt = Object.assign(new EventEmitter(), { connected: false, end() {} });
            return mqtt;
          };
          const tab = settings.takeTab();
          const client = new RoomClient(session, { connect, url: "", tab, random: () => 0, now: () => 0 });
          client.start();
          for (let i = 0; i < 3; i += 1) {
            mqtt.emit("close");
            client.hurry();
          }
          client.stop();
          return ids;
        });
        """
    )
    assert all(ids == [ids[0], ids[1], ids[0], ids[1]] for ids in digits)
    assert sorted(digit for ids in digits for digit in set(ids)) == list("0123456789")


def test_the_pads_have_words_of_the_protocols_list(js: Runs) -> None:
    """What a page says that it plays is a word that the roster knows."""
    words = js("const { KITS } = await load('pads.js'); return Object.values(KITS).map((kit) => kit.instrument);")
    assert set(words) | {"keyboard"} <= set(INSTRUMENTS)
    assert len(words) == 2


def test_a_teacher_reads_the_worst_clock(js: Runs) -> None:
    """Of those who told; nothing where nobody did."""
    assert js(
        """
        globalThis.document = { getElementById: () => null };
        const { clockText } = await load("view.js");
        return [[], [{}], [{ err: 0.42 }, {}, { err: 3.25 }], [{ err: 120.4 }, { err: "x" }]].map(clockText);
        """
    ) == ["", "", "clocks within 3.3 ms", "clocks within 120 ms"]


def test_filters_are_granted_one_by_one(js: Runs) -> None:
    """No filter of a pupil has more than one '+', none has '#', and own topics are asked for by name."""
    filters = js(
        """
        const { filtersFor } = await load("room_client.js");
        return filtersFor("student", { tenant: "lincoln", room: "MUSIC-1234", sub: "s-a" }).map((f) => f.name);
        """
    )
    base = "tenant/lincoln/music_room/MUSIC-1234"
    leaves = ["clock/s-a/r", "tempo", "room", "beat", "member/+", "note/+", "midi/+", "feedback/s-a", "limit/s-a"]
    assert filters == [f"{base}/{leaf}" for leaf in leaves]


def test_typed_codes_are_forgiven_and_nonsense_is_not(js: Runs) -> None:
    """Case, blanks, dashes of any kind and a missing dash are forgiven; what cannot be a code is null."""
    assert js(
        """
        const { typedCode } = await load("session.js");
        return ["music1234", " Music - 1234 ", "MUSIC–1234", "music", "1234", "m-1234", "музыка1234",
                "a".repeat(99), ""].map(typedCode);
        """
    ) == ["MUSIC-1234", "MUSIC-1234", "MUSIC-1234", None, None, None, None, None, None]


def test_the_token_travels_in_a_header_and_rests_in_the_tab(js: Runs) -> None:
    """Joining and renewing put the token into no address; it is kept in session storage under one name."""
    result = js(
        """
        const { Session } = await load("session.js");
        const { call } = await load("api.js");
        const asked = [];
        const token = (n) => `h.${btoa(JSON.stringify({ iat: 1000, exp: 1000 + n }))}.s`;
        const fetcher = async (path, options) => {
          asked.push([path, options.headers.Authorization ?? null, options.referrerPolicy]);
          const n = asked.length * 1000;
          return new Response(JSON.stringify({ token: token(n), username: "lincoln/s-a", tenant: "lincoln",
            room: "MUSIC-1234", sub: "s-a", name: "Quiet Otter" }), { status: 200 });
        };
        const kept = new Map();
        const storage = { setItem: (k, v) => kept.set(k, v), getItem: (k) => kept.get(k) ?? null };
        const api = (method, path, options) => call(method, path, { ...options, fetcher });
        let now = 0;
        const session = await Session.join({ tenant: "lincoln", code: "MUSIC-1234" }, { api, storage, now: () => now });
        const first = session.renewInMs();
        now = 100_000;
        const later = session.renewInMs();
        await session.renew();
        const again = Session.restore({ storage, api });
        return { asked, first, later, same: again.token === session.token, kept: [...kept.keys()] };
        """
    )
    assert [path for path, *_ in result["asked"]] == ["/api/join", "/api/renew"]
    assert result["asked"][0][1] is None
    assert result["asked"][1][1].startswith("Bearer h.")
    assert all(policy == "no-referrer" for *_, policy in result["asked"])
    assert (result["first"], result["later"]) == (900_000, 800_000)
    assert result["same"]
    assert result["kept"] == ["bandroom.session"]


def test_strange_notes_are_none(js: Runs) -> None:
    """A note message with wrong types or values is dropped; lists and single numbers are read alike."""
    good, bad = js(
        """
        const { readNote } = await load("notes.js");
        return [
          [{ on: 60 }, { on: [60, 64], v: 1, ch: 15 }, { off: 0 }].map(readNote),
          [null, 1, "x", [], {}, { on: -1 }, { on: 128 }, { on: 1.5 }, { on: [] }, { on: Array(17).fill(1) },
           { on: "60" }, { on: 60, v: 0 }, { on: 60, v: 128 }, { on: 60, ch: 16 }, { on: 1e300 }, { on: [[60]] },
           { on: 60, v: null }].map(readNote),
        ];
        """
    )
    assert [note["notes"] for note in good] == [[60], [60, 64], [0]]
    assert bad == [None] * len(bad)


def test_midi_carries_channel_messages_only(js: Runs) -> None:
    """Notes, controllers, bends and programs pass; system messages, cut and surplus bytes do not. A note-on of
    velocity 0 ends the note."""
    good, bad, notes = js(
        """
        const { isChannelMessage, noteOf } = await load("midi.js");
        const all = (list) => list.map((bytes) => isChannelMessage(Uint8Array.from(bytes)));
        return [
          all([[0x90, 60, 1], [0x8f, 0, 0], [0xb0, 1, 127], [0xc0, 5], [0xd0, 5], [0xe0, 0, 64]]),
          all([[], [0x90], [0x90, 60], [0x90, 60, 1, 0x90], [0xf8], [0xf0, 1, 0xf7], [60, 1, 1], [0xc0, 5, 5],
               [0x90, 200, 1]]),
          [[0x91, 60, 100], [0x91, 60, 0], [0x81, 60, 7], [0xb1, 60, 7]]
            .map((bytes) => noteOf(Uint8Array.from(bytes))?.on ?? null),
        ];
        """
    )
    assert all(good)
    assert not any(bad)
    assert notes == [True, False, False, None]


@pytest.mark.rule("FB-1")
def test_a_player_is_told_as_the_devices_are(js: Runs) -> None:
    """How late a note was, by any map: the pages and the library reckon the same."""
    still = TempoMap.initial(1, 1_800_000_000_000_000, 97.3, Meter.parse("6/8"))
    playing = edits.start(still, 2, still.seg[0].t, "now", count_in=1).map
    playing = edits.set_tempo(playing, 3, still.seg[0].t, 180, 4, ramp="beats", over=8).map
    times = [still.seg[0].t - 2_000_000 + 73_117 * i for i in range(200)]
    told = js(
        """
        const { mapFrom } = await load("music.js");
        const { lateUs } = await load("lateness.js");
        const map = mapFrom(JSON.parse(args[0]));
        return JSON.parse(args[1]).map((t) => lateUs(map, t));
        """,
        to_message(playing).encode().decode(),
        json.dumps(times),
    )
    wanted = [late_us(playing, t) for t in times]
    assert None in wanted
    assert max(late for late in wanted if late is not None) > 100_000
    for ours, theirs in zip(wanted, told, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or abs(ours - theirs) <= 2
