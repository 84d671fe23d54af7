// The teacher's side: signing in, and the rooms in a list, one click to make one. What is done in a room: lead.js.
// Commands go over HTTP with the teacher's token; the same ones exist over MQTT and on the command line.

import { ApiError, call } from "./api.js";
import { button, claimsOf, span, tab } from "./dom.js";
import { Lead } from "./lead.js";
import { isId } from "./topics.js";
import { notice, setText, show } from "./view.js";
import { words } from "./words.js";

const STORE = "bandroom.teacher";
const REFRESH_MS = 5_000;
/** From so many seconds on before an idle room is closed the list says so. */
const CLOSING_S = 900;
const $ = (id) => document.getElementById(id);

/** Who a token speaks for: {tenant, sub}, or null. Only read here; the service is what checks it. */
export function holderOf(token) {
  const { tenant, sub, role } = claimsOf(token) ?? {};
  return role === "teacher" && isId("tenant", tenant) && isId("subject", sub) ? { tenant, sub } : null;
}

/** What the list says of a room. `nowS`: Unix seconds. */
export function roomText(room, nowS) {
  const playing = room.playing ? "playing" : "standing still";
  const parts = [`${room.bpm} beats a minute`, room.meter, room.state === "open" ? playing : room.state];
  if (room.name !== room.room) parts.unshift(room.name);
  const left = room.closes_at - nowS;
  if (room.closes_at && left < CLOSING_S) parts.push(`nobody is there: closes in ${Math.max(1, Math.ceil(left / 60))} min`);
  return parts.join(" · ");
}

export class TeacherPage {
  constructor(page) {
    this.page = page;
    this.lead = new Lead(page, { ask: (...question) => this.#ask(...question), keep: (token) => this.#keep(token) });
    this.lead.addEventListener("done", (event) => this.#onDone(event.detail));
  }

  #token = "";
  #holder = null;
  #timer = null;

  start() {
    $("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take($("token").value);
    });
    $("new-room").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    this.#read();
    addEventListener("hashchange", () => { if (!this.page.client) this.#read(); });
  }

  /** A sign-in link, a token behind '#', or what this tab kept. */
  #read() {
    const hash = new URLSearchParams(location.hash.slice(1));
    if (location.hash) history.replaceState(null, "", location.pathname);
    if (hash.get("k")) this.#signIn(hash.get("t") ?? "", hash.get("k"));
    else this.#take(hash.get("token") ?? tab.get(STORE) ?? "");
  }

  /** A sign-in link's key becomes a token. */
  async #signIn(tenant, key) {
    try {
      const answer = await call("POST", "/api/sign-in", { body: { tenant, key } });
      this.#take(answer.token);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#take("");
      if (error.status === 0) notice(words("unreachable"), "Try again", () => this.#signIn(tenant, key));
      else if (error.status === 429) notice(words("limit"));
      else notice(error.status === 403 || error.status === 422 ? words("dead_link") : words("other", error.text));
    }
  }

  #keep(token) {
    this.#token = token;
    tab.set(STORE, token || null);
  }

  #take(token) {
    const typed = token.trim();
    this.#holder = holderOf(typed);
    this.#keep(this.#holder ? typed : "");
    show("teacher-view");
    show("sign-in", !this.#holder);
    show("rooms-panel", Boolean(this.#holder));
    notice(typed && !this.#holder ? words("no_token") : null);
    setText("teacher-title", this.#holder ? `Rooms of ${this.#holder.tenant}` : "For teachers");
    document.title = this.#holder ? "Rooms · Bandroom" : "For teachers · Bandroom";
    $("token").value = "";
    if (this.#holder) this.#list();
  }

  /** No longer signed in, for a reason that is told; whatever the tab kept is forgotten. */
  #signOut(why, detail = "") {
    clearTimeout(this.#timer);
    this.#take("");
    notice(words(why, detail));
    $("teacher-title").focus();
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
      if (error.status === 401 || error.status === 403) {
        const why = error.status === 401 ? "teacher_expired" : "teacher_revoked";
        if (this.page.client) this.page.leave(why);
        else if (this.#holder) this.#signOut(why);
      } else {
        notice(error.status === 0 ? words("unreachable") : words("other", error.text));
      }
      return null;
    }
  }

  // -- the list

  async #list() {
    clearTimeout(this.#timer);
    if (!this.#holder) return;
    const rooms = await this.#ask("GET", this.#path());
    if (this.page.client || !this.#holder) return;
    if (rooms) this.#showList(rooms);
    this.#timer = setTimeout(() => this.#list(), REFRESH_MS);
  }

  #showList(rooms) {
    show("no-rooms", rooms.length === 0);
    rooms.sort((a, b) => Number(a.state === "closed") - Number(b.state === "closed"));
    const lines = rooms.map((room) => {
      const line = document.createElement("li");
      line.append(span("code", room.code), span("what", roomText(room, Date.now() / 1000)));
      const isClosed = room.state === "closed";
      const go = button(isClosed ? "Open again" : "Go in", () => (isClosed ? this.#reopen(room) : this.#enter(room)),
        isClosed ? "quiet small" : "small");
      go.setAttribute("aria-label", `${go.textContent}: ${room.code}`);
      line.classList.toggle("closed", isClosed);
      line.append(go);
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

  #enter(room) {
    clearTimeout(this.#timer);
    this.lead.enter(room, this.#holder, this.#token);
  }

  #onDone({ why, detail }) {
    show("teacher-view");
    const gone = { put_out: "teacher_revoked", ended: "teacher_expired" }[why] ?? why;
    if (gone.startsWith("teacher_")) this.#signOut(gone, detail);
    else this.#list();
  }
}
