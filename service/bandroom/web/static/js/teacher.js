// The teacher's side: rooms in a list, one click to make one, and the controls beside the beat.
// Commands go over HTTP with the teacher's token; the same ones exist over MQTT and on the command line.

import { ApiError, call, here } from "./api.js";
import { Session } from "./session.js";
import { isId } from "./topics.js";
import { notice, setText, show } from "./view.js";
import { words } from "./words.js";

const STORE = "bandroom.teacher";
const REFRESH_MS = 5_000;
const $ = (id) => document.getElementById(id);

/** Who a token speaks for: {tenant, sub}, or null. Only read here; the service is what checks it. */
export function holderOf(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { tenant, sub, role } = JSON.parse(atob(part));
    return role === "teacher" && isId("tenant", tenant) && isId("subject", sub) ? { tenant, sub } : null;
  } catch {
    return null;
  }
}

function button(label, action, className = "quiet small") {
  const node = document.createElement("button");
  node.type = "button";
  node.className = className;
  node.textContent = label;
  node.addEventListener("click", action);
  return node;
}

function span(className, text) {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = text;
  return node;
}

export class TeacherPage {
  constructor(page) {
    this.page = page;
    this.room = null;
  }

  #token = "";
  #holder = null;
  #timer = null;
  #qr = "";

  start() {
    this.#bind();
    const hash = new URLSearchParams(location.hash.slice(1));
    const given = hash.get("token");
    if (location.hash) history.replaceState(null, "", location.pathname);
    if (hash.get("k")) {
      this.#signIn(hash.get("t") ?? "", hash.get("k"));
      return;
    }
    let kept = null;
    try {
      kept = sessionStorage.getItem(STORE);
    } catch {
      // Storage may be forbidden: the token then has to be given again after a reload.
    }
    this.#take(given ?? kept ?? "");
  }

  /** A sign-in link's key becomes a token. */
  async #signIn(tenant, key) {
    const answer = await this.#ask("POST", "/api/sign-in", { tenant, key });
    this.#take(answer?.token ?? "");
  }

  #take(token) {
    this.#token = token.trim();
    this.#holder = holderOf(this.#token);
    show("teacher-view");
    show("token-form", !this.#holder);
    show("rooms-panel", Boolean(this.#holder));
    if (!this.#holder) {
      if (token) notice({ title: "That is no teacher's token", text: "Ask whoever runs this band room for a new one." });
      return;
    }
    notice(null);
    try {
      sessionStorage.setItem(STORE, this.#token);
    } catch {
      // As above.
    }
    setText("teacher-title", `Rooms of ${this.#holder.tenant}`);
    document.title = "Rooms · Bandroom";
    this.#list();
  }

  #path(rest = "") {
    return `/api/tenants/${this.#holder.tenant}/rooms${rest}`;
  }

  /** Call the API; trouble is told in the notice, and null comes back. */
  async #ask(method, path, body = undefined) {
    try {
      return await call(method, path, { body, token: this.page.client?.session.token ?? this.#token });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) this.#forget();
      notice(error.status === 0 ? words("unreachable") : { title: "That did not work", text: error.text });
      return null;
    }
  }

  #forget() {
    sessionStorage.removeItem(STORE);
    this.#take("");
  }

  // -- the list

  async #list() {
    clearTimeout(this.#timer);
    const rooms = await this.#ask("GET", this.#path());
    if (this.page.client || !this.#holder) return;
    if (rooms) this.#showList(rooms);
    this.#timer = setTimeout(() => this.#list(), REFRESH_MS);
  }

  #showList(rooms) {
    show("no-rooms", rooms.length === 0);
    const lines = rooms.map((room) => {
      const line = document.createElement("li");
      const playing = room.playing ? "playing" : "standing still";
      const state = room.state === "open" ? playing : room.state;
      const what = `${room.name === room.room ? "" : `${room.name} · `}${room.bpm} beats a minute · ${room.meter} · ${state}`;
      line.append(span("code", room.code), span("what", what));
      if (room.state === "closed") line.append(button("Open again", () => this.#reopen(room)));
      else line.append(button("Go in", () => this.#enter(room), "small"));
      return line;
    });
    // While a button of the list has the focus it is left alone: the next round will do.
    if (!$("rooms").contains(document.activeElement)) $("rooms").replaceChildren(...lines);
  }

  async #make() {
    const body = { bpm: Number($("new-bpm").value) || 120, meter: $("new-meter").value.trim() || "4/4" };
    const name = $("new-name").value.trim();
    if (name) body.name = name;
    const room = await this.#ask("POST", this.#path(), body);
    if (room) this.#enter(room);
  }

  async #reopen(room) {
    document.activeElement?.blur();
    if (await this.#ask("POST", this.#path(`/${room.room}/commands`), { cmd: "reopen" })) this.#list();
  }

  // -- in a room

  #enter(room) {
    clearTimeout(this.#timer);
    this.room = room;
    const { tenant, sub } = this.#holder;
    const session = new Session({
      token: this.#token, username: `${tenant}/${sub}`, tenant, room: room.room, sub, code: room.code, role: "teacher",
    }, { storage: { setItem: (_name, facts) => this.#renewed(JSON.parse(facts).token) } });
    this.page.enter(session, { decorate: (member, item) => this.#decorate(member, item) });
    show("teacher-bar");
    show("share-panel");
    $("t-bpm").value = String(room.bpm);
    $("t-meter").value = room.meter;
    this.#share();
    void this.page.enableSound();
  }

  #renewed(token) {
    this.#token = token;
    try {
      sessionStorage.setItem(STORE, token);
    } catch {
      // As above.
    }
  }

  async #share() {
    const { code, tenant, join_url: link } = this.room;
    setText("share-code", code);
    setText("share-tenant", tenant);
    setText("share-address", link.split("#")[0].replace(/^https?:\/\//, "").replace(/\/join$/, ""));
    this.page.setCode(code);
    const answer = await fetch(here("/qr"), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ link }),
    }).catch(() => null);
    URL.revokeObjectURL(this.#qr);
    if (!answer?.ok) return show("share-qr", false);
    this.#qr = URL.createObjectURL(await answer.blob());
    $("share-qr").src = this.#qr;
    show("share-qr");
  }

  async #command(cmd, more = {}) {
    const reply = await this.#ask("POST", this.#path(`/${this.room.room}/commands`), { cmd, ...more });
    if (!reply) return null;
    notice(null);
    const seconds = reply.t ? (reply.t - this.page.clock.serverNow()) / 1e6 : 0;
    setText("t-said", seconds > 0.3 ? `Takes effect in ${seconds.toFixed(1)} s.` : "Done.");
    return reply;
  }

  #decorate(sub, item) {
    if (sub === this.#holder.sub) return;
    const acts = span("acts", "");
    const mute = button("Mute", async () => {
      const muted = mute.getAttribute("aria-pressed") === "true";
      if (await this.#command(muted ? "unmute" : "mute", { who: sub })) mute.setAttribute("aria-pressed", String(!muted));
    });
    mute.setAttribute("aria-pressed", "false");
    mute.dataset.mutes = sub;
    acts.append(mute);
    if (sub.startsWith("s-")) {
      acts.append(
        button("New name", () => this.#command("reset_name", { who: sub })),
        button("Put out", async () => {
          const reply = await this.#command("kick", { who: sub });
          if (reply) this.#reload();
        }),
      );
    }
    item.append(acts);
  }

  /** The room as the service has it: a new code after `new_code` or `kick`. */
  async #reload() {
    const room = await this.#ask("GET", this.#path(`/${this.room.room}`));
    if (!room) return;
    this.room = room;
    this.#share();
  }

  #projector(on) {
    document.body.classList.toggle("projector", on);
    $("t-projector").setAttribute("aria-pressed", String(on));
  }

  #bind() {
    const submit = (id, action) => $(id).addEventListener("submit", (event) => {
      event.preventDefault();
      action();
    });
    submit("token-form", () => this.#take($("token").value));
    submit("new-room", () => this.#make());
    submit("t-tempo-form", () => this.#command("set_tempo", { bpm: Number($("t-bpm").value), at: "bar" }));
    submit("t-meter-form", () => this.#command("set_meter", { meter: $("t-meter").value.trim() }));
    const press = (id, action) => $(id).addEventListener("click", action);
    press("t-start", () => this.#command("start"));
    press("t-stop", () => this.#command("stop"));
    press("t-continue", () => this.#command("continue"));
    press("t-mute", () => this.#command(this.page.info?.all_muted ? "unmute" : "mute"));
    press("t-lock", () => this.#command(this.page.info?.state === "locked" ? "unlock" : "lock"));
    press("t-projector", () => this.#projector(!document.body.classList.contains("projector")));
    const step = (by) => () => {
      const bpm = Math.min(400, Math.max(20, Math.round(Number($("t-bpm").value) + by)));
      $("t-bpm").value = String(bpm);
      this.#command("set_tempo", { bpm, at: "bar" });
    };
    press("t-slower", step(-5));
    press("t-faster", step(5));
    press("t-code", async () => { if (await this.#command("new_code")) this.#reload(); });
    press("t-close", async () => {
      if (await this.#command("close")) this.page.leave("asked");
    });
    this.page.addEventListener("info", (event) => this.#onInfo(event.detail.info));
    this.page.addEventListener("left", (event) => this.#onLeft(event.detail.why));
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.#projector(false); });
  }

  #onInfo(info) {
    $("t-mute").setAttribute("aria-pressed", String(info.all_muted));
    setText("t-mute", info.all_muted ? "Unmute all" : "Mute all");
    $("t-lock").setAttribute("aria-pressed", String(info.state === "locked"));
    setText("t-lock", info.state === "locked" ? "Unlock" : "Lock");
    for (const mute of document.querySelectorAll("[data-mutes]")) {
      const muted = info.muted.includes(mute.dataset.mutes);
      mute.setAttribute("aria-pressed", String(muted));
      mute.textContent = muted ? "Unmute" : "Mute";
    }
  }

  #onLeft(why) {
    this.room = null;
    this.#projector(false);
    show("teacher-bar", false);
    show("share-panel", false);
    show("teacher-view");
    if (["ended", "put_out"].includes(why)) notice({ title: "Please sign in again", text: "Your token has run out." });
    if (this.#holder) this.#list();
  }
}
