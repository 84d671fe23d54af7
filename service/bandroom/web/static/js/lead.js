// Leading a room: the controls beside the beat, the people, the code, the screens.

import { button, onceSure, span } from "./dom.js";
import { Instruments } from "./instruments.js";
import { Session } from "./session.js";
import { share } from "./share.js";
import { isTyping } from "./pads.js";
import { setText, show } from "./view.js";

const LOOK_MS = 250;
const $ = (id) => document.getElementById(id);

/** Events: `done` {why, detail}: the room is left. */
export class Lead extends EventTarget {
  /** `ask(method, path, body)`: the API, null for trouble that has been told; `keep(token)`: a renewed one. */
  constructor(page, { ask, keep }) {
    super();
    this.page = page;
    this.ask = ask;
    this.keep = keep;
    this.instruments = new Instruments({ ask, command: (...words) => this.command(...words) });
    this.room = null;
    this.#bind();
  }

  #holder = null;
  #timer = null;
  #taps = Promise.resolve();
  #untaken = null;
  #asked = "";

  enter(room, holder, token) {
    this.room = room;
    this.#holder = holder;
    const { tenant, sub } = holder;
    const session = new Session({
      token, username: `${tenant}/${sub}`, tenant, room: room.room, sub, code: room.code, role: "teacher",
    }, { storage: { setItem: (_name, facts) => this.keep(JSON.parse(facts).token) } });
    $("room-view").classList.add("teaching");
    show("teacher-bar");
    show("screen-row");
    show("screen-link", false);
    setText("screen-said", "");
    setText("t-said", "");
    $("t-bpm").value = $("t-ramp-bpm").value = String(room.bpm);
    $("t-meter").value = room.meter;
    this.page.enter(session, { decorate: (member, item) => this.#decorate(member, item) });
    this.#share();
    this.instruments.open(tenant, room.room);
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    void this.page.enableSound();
  }

  #path(rest = "") {
    return `/api/tenants/${this.#holder.tenant}/rooms/${this.room.room}${rest}`;
  }

  /** Give a command; what took effect, or null for trouble that has been told. */
  async command(cmd, more = {}) {
    const reply = await this.ask("POST", this.#path("/commands"), { cmd, ...more });
    if (!reply || !this.room) return null;
    const late = reply.t ? reply.t - this.page.clock.serverNow() : 0;
    this.#untaken = late > 300_000 ? reply.t : null;
    show("t-cancel", this.#untaken !== null);
    setText("t-said", this.#untaken ? `Takes effect in ${(late / 1e6).toFixed(1)} s.` : "Done.");
    return reply;
  }

  /** What changes by itself: which of start and stop makes sense, what is still to come, the closing. */
  #look() {
    const { clock, map, info } = this.page;
    if (this.#untaken !== null && clock.serverNow() >= this.#untaken) {
      this.#untaken = null;
      show("t-cancel", false);
      setText("t-said", "Done.");
    }
    const runs = Boolean(map && clock.synced && map.runningAt(clock.serverNow()));
    // A button that vanishes while it has the focus would leave the keyboard nowhere.
    const focused = document.activeElement?.classList.contains("go") && document.activeElement;
    show("t-start", !runs);
    show("t-continue", !runs);
    show("t-stop", runs);
    if (focused?.hidden) $(runs ? "t-stop" : "t-continue").focus();
    show("keep-open", Boolean(info?.closing_t));
  }

  async #share() {
    this.page.setCode(this.room.code);
    await share({ ...this.room, tenant: this.#holder.tenant });
  }

  /** The room as the service has it: a new code after `new_code` or `kick`, whoever gave the command. */
  async #reload() {
    const room = await this.ask("GET", this.#path());
    if (!room || !this.room) return;
    const isAnother = room.code !== this.room.code;
    this.room = room;
    if (isAnother) this.#share();
  }

  // -- people

  #decorate(sub, item) {
    if (sub === this.#holder.sub) return;
    const acts = span("acts");
    const named = (node, what) => {
      node.setAttribute("aria-label", `${what}: ${item.querySelector(".name").textContent}`);
      return node;
    };
    if (sub.startsWith("v-")) {
      acts.append(named(button("End", () => this.command("kick", { who: sub, keep_code: true })), "End this screen"));
      item.append(acts);
      return;
    }
    const mute = button("Mute", () => {
      const muted = mute.getAttribute("aria-pressed") === "true";
      this.command(muted ? "unmute" : "mute", { who: sub });
    });
    mute.dataset.mutes = sub;
    acts.append(mute);
    if (sub.startsWith("s-")) {
      acts.append(
        button("New name", () => this.command("reset_name", { who: sub })),
        button("Put out…", () => this.#askToPutOut(sub, item.querySelector(".name").textContent)),
      );
    } else {
      acts.append(button("Take out", async () => {
        if (await this.command("assign_device", { device: sub, away: true })) this.instruments.refresh();
      }));
    }
    item.append(acts);
    this.#mark(mute);
  }

  #askToPutOut(sub, name) {
    this.#asked = sub;
    setText("out-title", `Put ${name} out?`);
    setText("out-text", "The connection ends at once, and does not come back by itself.");
    $("out-dialog").showModal();
  }

  async #putOut(keepCode) {
    $("out-dialog").close();
    await this.command("kick", { who: this.#asked, keep_code: keepCode });
  }

  #mark(mute) {
    const muted = this.page.info?.muted.includes(mute.dataset.mutes) ?? false;
    mute.setAttribute("aria-pressed", String(muted));
    mute.textContent = muted ? "Unmute" : "Mute";
  }

  #onInfo(info) {
    if (!this.room) return;
    $("t-mute").setAttribute("aria-pressed", String(info.all_muted));
    setText("t-mute", info.all_muted ? "Unmute all" : "Mute all");
    $("t-lock").setAttribute("aria-pressed", String(info.state === "locked"));
    setText("t-lock", info.state === "locked" ? "Unlock" : "Lock");
    for (const mute of document.querySelectorAll("[data-mutes]")) this.#mark(mute);
    // What pupils type is told to nobody in the room, only that something about it is new.
    this.#reload();
  }

  // -- screens

  /** A link for the projector: the room, the code and who is in, and nothing that can be changed. */
  async #screenLink() {
    const made = await this.ask("POST", this.#path("/screen"), {});
    return made?.url ?? null;
  }

  async #openScreen() {
    // Opened within the click, or the browser would take it for an advertisement; the address follows.
    const screen = window.open("about:blank");
    const url = await this.#screenLink();
    if (url && screen) screen.location.replace(url);
    else screen?.close();
    if (url && !screen) this.#showLink(url, "This browser opens no windows by itself: copy the link.");
  }

  async #copyScreen() {
    const url = await this.#screenLink();
    if (!url) return;
    try {
      await navigator.clipboard.writeText(url);
      this.#showLink(url, "Copied. Whoever has the link sees the room for 12 hours, and can change nothing.");
    } catch {
      this.#showLink(url, "Whoever has the link sees the room for 12 hours, and can change nothing.");
    }
  }

  #showLink(url, said) {
    setText("screen-link", url);
    show("screen-link");
    setText("screen-said", said);
  }

  // -- the bar

  /** Taps are sent one after another, each with its own time: on the way none can overtake another. */
  #tap(event) {
    const { clock } = this.page;
    const t = clock.synced ? Math.round(clock.serverAt(event.timeStamp * 1000)) : undefined;
    this.#taps = this.#taps.then(async () => {
      const reply = await this.command("tap", t === undefined ? {} : { t });
      if (reply && !reply.t) setText("t-said", "Tap on: from the third tap the tempo follows.");
    });
  }

  #bind() {
    const submit = (id, action) => $(id).addEventListener("submit", (event) => {
      event.preventDefault();
      action();
    });
    const press = (id, action) => $(id).addEventListener("click", action);
    const bpm = () => Number($("t-bpm").value);
    submit("t-tempo-form", () => this.command("set_tempo", { bpm: bpm(), at: "bar" }));
    submit("t-meter-form", () => this.command("set_meter", { meter: $("t-meter").value.trim() }));
    submit("t-ramp-form", () => this.command("set_tempo", {
      bpm: Number($("t-ramp-bpm").value), at: "bar", ramp: "beats", over: Math.round(Number($("t-ramp-over").value)),
    }));
    press("t-start", () => this.command("start", { count_in: Number($("t-count-in").value) }));
    press("t-stop", () => this.command("stop"));
    press("t-continue", () => this.command("continue"));
    press("t-cancel", async () => {
      if (await this.command("cancel")) setText("t-said", "Taken back.");
    });
    press("t-mute", () => this.command(this.page.info?.all_muted ? "unmute" : "mute"));
    press("t-lock", () => this.command(this.page.info?.state === "locked" ? "unlock" : "lock"));
    const step = (by) => () => {
      $("t-bpm").value = String(Math.min(400, Math.max(20, Math.round(bpm() + by))));
      this.command("set_tempo", { bpm: bpm(), at: "bar" });
    };
    press("t-slower", step(-5));
    press("t-faster", step(5));
    // When it is pressed counts, not when it is let go.
    $("t-tap").addEventListener("pointerdown", (event) => this.#tap(event));
    press("t-tap", (event) => { if (event.detail === 0) this.#tap(event); });
    addEventListener("keydown", (event) => {
      const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.repeat);
      if (this.room && event.code === "KeyT" && plain && !isTyping(event.target)) this.#tap(event);
    });
    press("t-code", () => this.command("new_code"));
    onceSure($("t-close"), "Really close it?", async () => {
      if (await this.command("close")) this.page.leave("asked");
    });
    press("keep-open", () => this.command("rename", { name: this.page.info?.name ?? this.room.name }));
    press("out-new", () => this.#putOut(false));
    press("out-keep", () => this.#putOut(true));
    press("out-cancel", () => $("out-dialog").close());
    press("t-screen", () => this.#openScreen());
    press("t-screen-copy", () => this.#copyScreen());
    this.page.addEventListener("info", (event) => this.#onInfo(event.detail.info));
    this.page.addEventListener("left", (event) => this.#onLeft(event.detail));
  }

  #onLeft({ why, detail = "" }) {
    if (!this.room) return;
    clearInterval(this.#timer);
    this.instruments.close();
    this.room = null;
    $("out-dialog").close();
    $("room-view").classList.remove("teaching");
    show("teacher-bar", false);
    show("share-panel", false);
    show("screen-row", false);
    this.dispatchEvent(new CustomEvent("done", { detail: { why, detail } }));
  }
}
