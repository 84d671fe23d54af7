// The projector's page: code, beat and who is in. Its token can only look.

import { ApiError, call } from "./api.js";
import { claimsOf, tab } from "./dom.js";
import { Session } from "./session.js";
import { share } from "./share.js";
import { isId } from "./topics.js";
import { notice, show } from "./view.js";
import { words } from "./words.js";

const STORE = "bandroom.screen";
const REFRESH_MS = 10_000;

/** The session that a screen's token stands for, or null. `kept`: where a renewed token goes. */
export function screenSession(token, kept) {
  const { tenant, sub, room, role } = claimsOf(token) ?? {};
  if (role !== "viewer" || !isId("tenant", tenant) || !isId("subject", sub) || !isId("room", room)) return null;
  const facts = { token, username: `${tenant}/${sub}`, tenant, room, sub, code: room, role };
  return new Session(facts, { storage: { setItem: (_name, text) => kept(JSON.parse(text).token) } });
}

export class ScreenPage {
  constructor(page) {
    this.page = page;
  }

  #session = null;
  #timer = null;

  start() {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (location.hash) history.replaceState(null, "", location.pathname);
    // A window that was opened from the teacher's inherits what that tab keeps; this one is for all to see.
    tab.set("bandroom.teacher", null);
    const token = given ?? tab.get(STORE) ?? "";
    const keep = (fresh) => tab.set(STORE, fresh);
    this.#session = screenSession(token, keep);
    if (!this.#session) {
      notice(words("no_screen"));
      return;
    }
    keep(token);
    document.body.classList.add("projector");
    this.page.addEventListener("info", () => this.#refresh());
    this.page.addEventListener("left", (event) => this.#onLeft(event.detail.why));
    this.page.enter(this.#session);
    this.#refresh();
  }

  /** Ask how the room is joined now: the code may be another. */
  async #refresh() {
    clearTimeout(this.#timer);
    try {
      const room = await call("GET", "/api/screen", { token: this.#session.token });
      if (!this.page.client) return;
      this.page.setCode(room.code);
      await share(room);
    } catch (error) {
      // The connection says in words what is wrong; here it is only asked again.
      if (!(error instanceof ApiError)) throw error;
    }
    if (this.page.client) this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  #onLeft(why) {
    clearTimeout(this.#timer);
    document.body.classList.remove("projector");
    show("share-panel", false);
    tab.set(STORE, null);
    notice(words(why === "closed" ? "closed" : "no_screen"));
  }
}
