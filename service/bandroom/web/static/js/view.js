// What is seen of the room. Names and texts from others go into the page as text, never as markup.

import { noteName } from "./pads.js";
import { agoText } from "./times.js";

const $ = (id) => document.getElementById(id);

/** WCAG 2.3.1: nothing may flash more than three times a second. */
const PULSE_BPM = 170;
const SHOWN_MS = 350;
const DROPS_SHOWN_MS = 10_000;
/** A word of the protocol's list; "other" says nothing. */
const INSTRUMENT = /^(?!other$)[a-z]{1,10}$/;
const AWAY = { lost: "connection lost", disconnected: "has left" };
const KINDS = { student: "pupil", teacher: "teacher", device: "instrument", viewer: "screen" };

export function setText(id, text) {
  const node = $(id);
  if (node.textContent !== text) node.textContent = text;
}

export function show(id, visible = true) {
  $(id).hidden = !visible;
}

/** The notice at the top: {title, text}, and a button that does `action`. */
export function notice(message, label = "", action = null) {
  show("notice", Boolean(message));
  if (!message) return;
  setText("notice-title", message.title);
  setText("notice-text", message.text);
  const button = $("notice-action");
  button.hidden = !action;
  button.textContent = label;
  button.onclick = action;
}

/** In words and with a sign: `on`, `trying` or `off`. */
export function linkState(state, text) {
  const node = $("link-state");
  node.hidden = false;
  node.dataset.state = state;
  if (node.textContent !== text) node.textContent = text;
}

/** The beat in the picture, drawn from the clock at each frame. */
export class BeatView {
  constructor({ clock, accentOf, beatsPerBarOf, isCalm }) {
    Object.assign(this, { clock, accentOf, beatsPerBarOf, isCalm });
    this.map = null;
  }

  #shape = "";
  #dots = [];
  #lit = -1;

  start() {
    const frame = () => {
      this.draw();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  draw() {
    const panel = $("room-view");
    if (!this.map || !this.clock.synced) {
      setText("transport", this.map ? "Setting the clock…" : "Waiting for the beat");
      return;
    }
    const now = this.clock.serverNow();
    const running = this.map.runningAt(now);
    const beat = running ? this.map.beatAtOrBefore(now) : null;
    const ahead = beat ?? this.map.nextBeat(now);
    const bpm = this.map.bpmAt(now);
    setText("bpm", formatBpm(bpm));
    const meter = this.map.meterAt(this.map.positionAt(now)).meter;
    setText("meter", `${meter.num}/${meter.den}`);
    this.#build(ahead, meter);
    panel.classList.toggle("calm", this.isCalm());
    panel.classList.toggle("pulsing", !this.isCalm() && bpm <= PULSE_BPM);
    this.#light(beat ? beat.pos - 1 : -1);
    setText("transport", transportText(running, beat, ahead, now));
    const countIn = beat !== null && beat.n < 0;
    setText("count-label", countIn ? "Count-in" : "Bar");
    setText("bar", beat ? (countIn ? "" : String(beat.bar)) : "–");
    setText("pos", beat ? String(beat.pos) : "–");
  }

  #build(beat, meter) {
    const count = beat ? this.beatsPerBarOf(beat, this.map) : meter.beatsPerBar;
    const shape = `${count}/${meter.num}/${meter.den}/${meter.grp ?? ""}`;
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.#lit = -1;
    const dots = $("dots");
    dots.classList.toggle("many", count > 8);
    this.#dots = Array.from({ length: count }, (_, i) => {
      const dot = document.createElement("span");
      dot.className = "dot";
      dot.textContent = String(i + 1);
      if (i === 0) dot.classList.add("first");
      else if (this.accentOf({ pos: i + 1 }, meter) > 0) dot.classList.add("group");
      return dot;
    });
    dots.replaceChildren(...this.#dots);
  }

  #light(index) {
    if (index === this.#lit) return;
    this.#dots[this.#lit]?.classList.remove("on");
    this.#dots[index]?.classList.add("on");
    this.#lit = index;
  }
}

export function formatBpm(bpm) {
  return String(Math.round(bpm * 10) / 10);
}

function transportText(running, beat, ahead, now) {
  if (!running) return ahead && ahead.t - now < 5_000_000 ? "Get ready…" : "Stopped: waiting for the teacher";
  if (beat && beat.n < 0) return "Count-in";
  return "Playing";
}

const msText = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** How far off the worst of these members' clocks may be; empty where none has told. */
export function clockText(members) {
  const told = members.map((member) => member.err).filter((err) => Number.isFinite(err));
  if (!told.length) return "";
  return `clocks within ${msText(Math.max(...told))}`;
}

/**
 * A member's line below the name, as `role` reads it: what it is and plays; for the teacher also since when it is here, and
 * how far off its clock may be. On a screen, where thirty have to fit, what it plays and no more.
 */
export function whatText(member, role = "student") {
  const plays = INSTRUMENT.test(member.instrument ?? "") ? [member.instrument] : [];
  if (role === "viewer") return plays.join("");
  const parts = [AWAY[member.state] ?? KINDS[member.kind] ?? "", ...plays];
  if (role !== "teacher" || member.kind === "viewer") return parts.join(" · ");
  if (Number.isSafeInteger(member.since)) parts.push(`since ${agoText(member.since / 1000)}`);
  if (member.state === "ready" && Number.isFinite(member.err)) parts.push(`clock ±${msText(member.err)}`);
  return parts.join(" · ");
}

/** Who is in, and who plays. */
export class Roster {
  /** `role`: whose page it is; `decorate(sub, item)` may add to a member's line. */
  constructor({ me, role = "student", decorate = () => undefined }) {
    this.me = me;
    this.role = role;
    this.decorate = decorate;
    this.announce = false;
    $("roster").replaceChildren();
    this.#count();
  }

  #members = new Map();

  /** A member as the service says it; null = gone. */
  set(sub, member) {
    // Screens are nobody to play with; only the teacher has to know of them.
    if (member?.kind === "viewer" && this.role !== "teacher") return;
    const known = this.#members.get(sub);
    if (!member) {
      known?.item.remove();
      this.#members.delete(sub);
      if (known && this.announce) setText("roster-news", `${known.member.name} has left.`);
    } else {
      const entry = known ?? this.#create(sub);
      entry.member = member;
      entry.name.textContent = sub === this.me ? `${member.name} (you)` : member.name;
      entry.item.classList.toggle("away", member.state !== "ready");
      entry.what.textContent = whatText(member, this.role);
      if (!known) this.decorate(sub, entry.item);
      if (!known && this.announce && sub !== this.me) setText("roster-news", `${member.name} is here.`);
    }
    this.#count();
  }

  /** Show that a member plays: the note's name beside theirs for a third of a second after its end. */
  plays(sub, notes, channel, on) {
    const entry = this.#members.get(sub);
    if (!entry) return;
    if (on) {
      entry.plays.textContent = `♪ ${notes.map((note) => noteName(note, channel)).join(" ")}`;
      entry.item.classList.add("playing");
    }
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => entry.item.classList.remove("playing"), SHOWN_MS);
  }

  /** The broker dropped `count` of a member's messages: counted up while it goes on. */
  dropped(sub, count) {
    const entry = this.#members.get(sub);
    if (!entry) return;
    entry.lost += count;
    entry.drops.textContent = `too fast: ${entry.lost} dropped`;
    clearTimeout(entry.lostTimer);
    entry.lostTimer = setTimeout(() => {
      entry.lost = 0;
      entry.drops.textContent = "";
    }, DROPS_SHOWN_MS);
  }

  #create(sub) {
    const item = document.createElement("li");
    item.className = "member";
    item.dataset.sub = sub;
    const [name, what, plays, drops] = ["name", "what", "plays", "drops"].map((className) => {
      const part = document.createElement("span");
      part.className = className;
      return part;
    });
    // Notes come too fast to be read out.
    plays.setAttribute("aria-hidden", "true");
    item.append(name, what, plays, drops);
    $("roster").append(item);
    const entry = { item, name, what, plays, drops, member: null, timer: null, lost: 0, lostTimer: null };
    this.#members.set(sub, entry);
    return entry;
  }

  #count() {
    const members = [...this.#members.values()].map((entry) => entry.member);
    const here = members.filter((member) => member?.state === "ready" && member.kind !== "viewer");
    const count = here.length === 1 ? "1 is here" : `${here.length} are here`;
    const clocks = this.role === "teacher" ? clockText(here) : "";
    setText("roster-count", clocks ? `${count} · ${clocks}` : count);
  }
}
