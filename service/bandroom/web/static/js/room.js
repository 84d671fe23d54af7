// A room while one is in it: connection, clock, beat, pads and picture, put together.

import mqtt from "../vendor/mqtt.esm.js";
import { here } from "./api.js";
import { RoomClock } from "./clock.js";
import { bindControls } from "./controls.js";
import { Metronome } from "./metronome.js";
import { Mine } from "./mine.js";
import { noteOf } from "./midi.js";
import { accent, makeFilter, mapFrom } from "./music.js";
import { readNote } from "./notes.js";
import { Others } from "./others.js";
import { Pads } from "./pads.js";
import { RoomClient } from "./room_client.js";
import { settings } from "./settings.js";
import { Sound } from "./audio.js";
import { agoText, closingText } from "./times.js";
import { BeatView, linkState, notice, Roster, setText, show } from "./view.js";
import { words } from "./words.js";

/** ms without the room after which it is said since when. */
const LONG_MS = 10 * 60_000;
const RESUBSCRIBE_MS = 3_000;
const $ = (id) => document.getElementById(id);
const text = new TextDecoder();

/** Events: `left` {why}: the room is over for this page; `info` {info}: the room's state as the service says it. */
export class RoomPage extends EventTarget {
  constructor() {
    super();
    this.sound = new Sound();
    this.others = new Others(this.sound);
    this.mine = new Mine(this);
    this.pads = new Pads($("pads"), { sound: this.sound });
    this.pads.addEventListener("note", (event) => this.mine.play(event.detail));
    this.clock = new RoomClock({
      filter: makeFilter,
      send: (ping) => this.client?.publish("clock/q", ping) ?? false,
      isPlaying: () => this.sound.running && (this.map?.runningAt(this.clock.serverNow()) ?? false),
    });
    const accentOf = (beat, meter = this.#meterOf(beat)) => (meter ? accent(meter, beat.pos) : Number(beat.pos === 1) * 2);
    this.metronome = new Metronome({ clock: this.clock, sound: this.sound, accentOf });
    this.view = new BeatView({
      clock: this.clock,
      accentOf,
      beatsPerBarOf: (beat) => this.#meterOf(beat)?.beatsPerBar ?? 4,
      isCalm: () => settings.isCalm,
    });
    this.metronome.addEventListener("beat", (event) => {
      // For whoever measures: what was put down, when, and for when.
      document.dispatchEvent(new CustomEvent("bandroom:beat", { detail: event.detail }));
    });
    this.view.start();
    bindControls(this);
    this.#bindPage();
  }

  client = null;
  hasKeyboard = false;
  map = null;
  info = null;
  #rev = -1;
  #infoRev = -1;
  #roster = null;
  #session = null;
  #aliveAt = 0;

  /** Go in with a session; `decorate(sub, item)` may add to a member's line. */
  enter(session, { decorate } = {}) {
    this.#session = session;
    this.#rev = this.#infoRev = -1;
    this.#takeMap(null);
    this.info = null;
    this.#roster = new Roster({ me: session.sub, decorate, role: session.role });
    this.#aliveAt = Date.now();
    show("join-view", false);
    show("teacher-view", false);
    show("room-view");
    show("where");
    this.#titles();
    this.client = new RoomClient(session, {
      connect: (url, options) => mqtt.connect(url, options),
      url: here("/mqtt").replace(/^http/, "ws"),
      tab: settings.takeTab(),
    });
    this.client.addEventListener("state", (event) => this.#onState(event.detail));
    // Pings go out behind the subscription and need not wait for its answer.
    this.client.addEventListener("up", () => this.clock.start());
    this.client.addEventListener("online", (event) => this.#onOnline(event.detail.denied));
    this.client.addEventListener("message", (event) => this.#onMessage(event.detail));
    this.tellInstrument();
    this.client.start();
    this.metronome.start();
    $("room-title").focus();
  }

  /** Go out; the page shows the form again. */
  leave(why = "") {
    // A page that slept overnight learns of its loss in the morning.
    const isLong = Date.now() - this.#aliveAt > LONG_MS;
    const detail = isLong ? `This page has been without the room since ${agoText(this.#aliveAt)}.` : "";
    this.client?.stop();
    this.client = null;
    this.clock.stop();
    this.metronome.stop();
    this.#takeMap(null);
    this.pads.releaseAll();
    this.sound.endAll();
    show("room-view", false);
    show("where", false);
    show("link-state", false);
    show("closing", false);
    this.dispatchEvent(new CustomEvent("left", { detail: { why, detail } }));
  }

  /** Say what is played here: a keyboard where one is plugged in and let in, else what the pads sound like. */
  tellInstrument() {
    this.client?.tellInstrument(this.hasKeyboard ? "keyboard" : this.pads.instrument);
  }

  /** The room goes by another code from now on. */
  setCode(code) {
    this.#session.code = code;
    this.#titles();
  }

  #titles() {
    const { room, tenant } = this.#session;
    const code = this.#session.code || room;
    const name = this.info?.name ?? "";
    const where = name && name !== room ? `${name} · ${tenant}` : tenant;
    setText("where", `${code} · ${where}`);
    setText("room-title", `Room ${code}`);
    document.title = `${code} · Bandroom`;
  }

  // -- what comes in

  #onState({ state, why }) {
    if (state === "online") {
      linkState("on", "Connected");
      notice(null);
      this.#sayClosed();
    } else if (state === "connecting") {
      linkState("trying", "Connecting…");
    } else if (state === "reconnecting") {
      const plays = Boolean(this.map && this.clock.synced && this.map.runningAt(this.clock.serverNow()));
      linkState("trying", plays ? "Playing on, waiting for the network" : "Waiting for the network");
      this.clock.rest();
      const kind = plays ? "playing_on" : "waiting";
      notice(words(why === "refused" ? "refused" : kind));
    } else if (state === "blocked") {
      linkState("off", "Not connected");
      notice(words("blocked", here("/mqtt").replace(/^http/, "ws")), "Try again", () => this.client?.hurry());
    } else if (state === "ended") {
      this.leave(why);
    }
  }

  #onOnline(denied) {
    // Let in, yet shown nothing: the room was closed while the connection was away.
    if (denied.includes("tempo")) {
      notice(words("closed"), "Leave", () => this.leave("closed"));
      this.#takeMap(null);
    }
    this.metronome.start();
    // Retained members arrive now; only who comes later is news.
    setTimeout(() => { if (this.#roster) this.#roster.announce = true; }, 2_000);
  }

  #onMessage({ leaf, subject, payload, at }) {
    this.#aliveAt = Date.now();
    if (leaf === "clock/r") {
      this.clock.reply(text.decode(payload), at * 1000);
      return;
    }
    if (payload.length === 0) {
      if (leaf === "member") this.#memberGone(subject);
      return;
    }
    if (leaf === "midi") {
      const note = noteOf(payload);
      if (note) this.#onNote(subject, note);
      return;
    }
    let message;
    try {
      message = JSON.parse(text.decode(payload));
    } catch {
      this.client.dropped += 1;
      return;
    }
    if (leaf === "tempo") this.#onTempo(message);
    else if (leaf === "room") this.#onInfo(message);
    else if (leaf === "member") this.#onMember(subject, message);
    else if (leaf === "note") this.#onNote(subject, readNote(message));
    else if (leaf === "beat") this.#onBeat(message, at);
    else if (leaf === "limit") this.#onLimit(subject, message);
    else if (leaf === "feedback" && subject === this.#session.sub) this.mine.judge(message?.ms);
  }

  #onTempo(message) {
    if (!Number.isSafeInteger(message?.rev) || message.rev < this.#rev) return;
    try {
      this.#takeMap(mapFrom(message));
      this.#rev = message.rev;
    } catch (error) {
      this.client.dropped += 1;
      console.warn("tempo map not understood:", error);
    }
  }

  #takeMap(map) {
    this.map = map;
    this.view.map = map;
    this.metronome.setMap(map);
  }

  /** The beat itself is made here; one that comes in shows whether a newer map was missed. */
  #onBeat(message, at) {
    if (Number.isSafeInteger(message?.rev) && message.rev > this.#rev && !this.#asking) {
      this.#asking = setTimeout(() => {
        this.#asking = null;
        if (message.rev > this.#rev) this.client?.ask("tempo");
      }, RESUBSCRIBE_MS);
    }
    document.dispatchEvent(new CustomEvent("bandroom:heard", { detail: { beat: message, at } }));
  }

  #asking = null;

  #onInfo(message) {
    if (!Number.isSafeInteger(message?.rev) || message.rev < this.#infoRev || !Array.isArray(message.muted)) return;
    this.#infoRev = message.rev;
    if (this.info?.state === "closed" && message.state !== "closed") notice(null);
    this.info = message;
    this.#titles();
    const muted = message.muted.includes(this.#session.sub) || (message.all_muted && this.#session.role === "student");
    show("mute-state", muted);
    $("pads").classList.toggle("muted", muted);
    setText("mute-state", message.all_muted
      ? "Everybody is muted: the others don't hear your pads. You do."
      : "Your teacher has muted you: the others don't hear your pads. You do.");
    this.#sayClosed();
    this.#sayClosing();
    this.dispatchEvent(new CustomEvent("info", { detail: { info: message } }));
  }

  #sayClosed() {
    if (this.info?.state === "closed") {
      notice(words("closed"), "Leave", () => this.leave("closed"));
      this.#takeMap(null);
    }
  }

  /** A room in which nobody is will be closed: said while one looks at it, by the minute. */
  #sayClosing() {
    const at = this.info?.state === "closed" ? null : this.info?.closing_t;
    show("closing", Boolean(at) && this.clock.synced);
    if (at && this.clock.synced) setText("closing-text", closingText(at, this.clock.serverNow()));
  }

  #onMember(sub, message) {
    if (typeof message?.name !== "string") return;
    this.#roster.set(sub, message);
    if (message.state !== "ready") this.#gone(sub);
  }

  #memberGone(sub) {
    this.#roster.set(sub, null);
    this.#gone(sub);
  }

  #gone(sub) {
    this.others.end(sub);
    if (sub === this.#session.sub && this.client?.online) this.client.announce();
  }

  #onNote(sub, note) {
    if (!note) {
      this.client.dropped += 1;
      return;
    }
    this.#roster.plays(sub, note.notes, note.channel, note.on);
    document.dispatchEvent(new CustomEvent("bandroom:note", { detail: { sub, ...note } }));
    if (sub !== this.#session.sub && settings.get("hearOthers")) this.others.play(sub, note);
  }

  #onLimit(sub, message) {
    this.others.end(sub);
    if (Number.isSafeInteger(message?.dropped)) this.#roster.dropped(sub, message.dropped);
    if (sub === this.#session.sub) {
      notice(words("dropped"));
      setTimeout(() => { if (this.client?.online) notice(null); }, 6_000);
    }
  }

  #meterOf(beat) {
    return beat && this.map && beat.n !== undefined ? this.map.meterOf(beat.n)?.meter : null;
  }

  /** Within a click or tap: sound, if the browser has it. */
  async enableSound() {
    try {
      await this.sound.enable();
    } catch {
      notice(words("no_sound"));
    }
  }

  #bindPage() {
    this.clock.addEventListener("silent", () => this.client?.reset());
    this.clock.addEventListener("steered", () => {
      this.client?.tellError(this.clock.errorUs);
      this.#sayClosing();
    });
    const hurry = () => {
      if (document.hidden || !this.client) return;
      this.client.hurry();
      this.clock.probe();
    };
    document.addEventListener("visibilitychange", () => {
      // Before the timers slow down, clicks are put down further ahead.
      this.metronome.look();
      hurry();
    });
    addEventListener("online", hurry);
  }
}
