// Who I am in which room: joining, keeping it for this tab, renewing it in time.
//
// The token lives in memory and in sessionStorage, which ends with the tab. It is never put into an address.

import { ApiError, call } from "./api.js";
import { isId } from "./topics.js";

const STORE = "bandroom.session";

/** Seconds that a token lives, read from the token itself: this device's wall clock may be wrong by hours. */
export function lifetimeS(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(atob(part));
    const seconds = claims.exp - claims.iat;
    return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
  } catch {
    return null;
  }
}

/** The code a person meant: case, blanks and a missing "-" are forgiven. Null if it cannot be one. */
export function typedCode(text) {
  const plain = text.replace(/[\s_\-–—]+/g, "").toUpperCase();
  const code = `${plain.slice(0, -4)}-${plain.slice(-4)}`;
  return isId("room", code) ? code : null;
}

export class Session {
  /** `facts`: what the service answered, and the code and key it was asked with. */
  constructor(facts, { storage = globalThis.sessionStorage, api = call, now = () => performance.now() } = {}) {
    this.storage = storage;
    this.api = api;
    this.now = now;
    this.#take(facts);
  }

  /** Join by code or by a link's key. Throws ApiError. */
  static async join({ tenant, code, nickname = "", key = "" }, parts = {}) {
    const body = { tenant, code };
    if (nickname) body.nickname = nickname;
    if (key) body.key = key;
    const answer = await (parts.api ?? call)("POST", "/api/join", { body });
    const session = new Session({ ...answer, code, key, role: "student" }, parts);
    session.save();
    return session;
  }

  /** The session that this tab had before it was loaded anew, or null. */
  static restore(parts = {}) {
    const storage = parts.storage ?? globalThis.sessionStorage;
    try {
      const facts = JSON.parse(storage.getItem(STORE));
      return facts?.token && facts.room ? new Session(facts, parts) : null;
    } catch {
      return null;
    }
  }

  static forget(storage = globalThis.sessionStorage) {
    storage.removeItem(STORE);
  }

  get facts() {
    return { ...this.#facts };
  }

  #facts = {};
  #takenAt = 0;

  #take(facts) {
    this.#facts = { ...this.#facts, ...facts };
    this.#takenAt = this.now();
    for (const name of ["token", "username", "tenant", "room", "sub", "name", "code", "key", "role"]) {
      this[name] = this.#facts[name] ?? "";
    }
    if (!isId("tenant", this.tenant) || !isId("subject", this.sub) || !isId("room", this.room)) {
      throw new ApiError(0, "bad_answer", "The server's answer could not be understood.");
    }
  }

  save() {
    try {
      this.storage.setItem(STORE, JSON.stringify(this.#facts));
    } catch {
      // Storage may be forbidden (private mode): the session then lives in memory and ends with a reload.
    }
  }

  /** Milliseconds from now until the token should be renewed: a tenth of its life, at most 10 minutes, early. */
  renewInMs() {
    const life = lifetimeS(this.token);
    if (life === null) return null;
    const early = Math.min(600, Math.max(life * 0.1, 5));
    return Math.max(1000, (life - early) * 1000 - (this.now() - this.#takenAt));
  }

  /** Take a new token for the same subject. Throws ApiError. */
  async renew() {
    const answer = await this.api("POST", "/api/renew", { token: this.token, body: {} });
    this.#take(answer);
    this.save();
  }

  /** Join anew with what is known; the browser's cookie keeps subject, name and mute. Throws ApiError. */
  async rejoin() {
    if (this.role !== "student") throw new ApiError(401, "expired", "The token has run out.");
    const body = { tenant: this.tenant, code: this.code };
    if (this.key) body.key = this.key;
    this.#take(await this.api("POST", "/api/join", { body }));
    this.save();
  }
}
