// One browser's connection to a room: MQTT over /mqtt, kept up by itself.
//
// A refused sign-in means: wait and try the same again, then renew the token, then join anew. So a broker that
// restarts sends nobody to the join form. Each connection takes the other of its tab's two digits, which tell a
// subject's connections apart: the newest "ready" counts, whatever the older one's Will says later.

import { ApiError } from "./api.js";
import { clientId, filter, parseTopic, publishOptions, topic } from "./topics.js";

const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 5_000;
const SAME_TOKEN_TRIES = 3;
const BLOCKED_AFTER = 4;
const KEEPALIVE_S = 20;
/** How far off the clock may be is told when it has doubled or halved, this seldom at most. */
const TELL_EVERY_MS = 10_000;
/** What is no news is said again after this: who falls silent is taken for gone. */
const TELL_AGAIN_MS = 20_000;
const WIDEST_US = 9_999_999;

const STUDENT_LEAVES = ["clock/r", "tempo", "room", "beat", "member", "note", "midi", "feedback", "limit"];
const TEACHER_LEAVES = ["clock/r", "tempo", "room", "beat", "member", "note", "midi", "feedback", "limit"];
const VIEWER_LEAVES = ["clock/r", "tempo", "room", "beat", "member", "note", "midi"];
const OWN = { student: ["clock/r", "feedback", "limit"], teacher: ["clock/r"], viewer: ["clock/r"] };

/** Milliseconds before the try after `failures` failed ones: doubling to 5 s, with jitter for a whole school. */
export function backoffMs(failures, random = Math.random) {
  return Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1)) * (0.5 + random());
}

/** The leaf of a room filter of ours. */
const parseFilterLeaf = (name) => name.split("/")[4];

/** Whether the service itself is away or busy, so that its answer says nothing of the token. */
const passes = (error) => error.status === 0 || error.status >= 500 || error.status === 429;

/** The filters of a room for a role; each is granted by the gate by itself. */
export function filtersFor(role, { tenant, room, sub }) {
  const leaves = { student: STUDENT_LEAVES, teacher: TEACHER_LEAVES, viewer: VIEWER_LEAVES }[role] ?? STUDENT_LEAVES;
  const own = OWN[role] ?? OWN.student;
  return leaves.map((leaf) => ({
    leaf,
    name: filter(leaf, { tenant, room, subject: own.includes(leaf) ? sub : null }),
    qos: publishOptions(leaf).qos,
  }));
}

/**
 * Events: `state` {state, why}, `up` (let in, the subscriptions are on their way), `online` {denied: [leaf]},
 * `message` {leaf, subject, payload (bytes), at (ms, performance.now)}.
 * States: connecting, online, reconnecting, blocked (the network lets no WebSocket through), ended (with `why`).
 */
export class RoomClient extends EventTarget {
  /** `tab` (0 to 4): which of this browser's tabs it is. Each has two digits, so that none takes the other's place. */
  constructor(session, { connect, url, tab = 0, random = Math.random, now = () => performance.now() }) {
    super();
    this.session = session;
    this.connect = connect;
    this.url = url;
    this.random = random;
    this.now = now;
    this.state = "idle";
    this.dropped = 0;
    this.#digit = 2 * tab;
  }

  #digit;
  #mqtt = null;
  #failures = 0;
  #refusals = 0;
  #everOpened = false;
  #timer = null;
  #renewTimer = null;
  #stopped = false;
  #told = null;
  #instrument = "";

  start() {
    this.#stopped = false;
    this.#setState("connecting");
    this.#open();
  }

  /** Leave for good: said to the others at once, not only when the Will is sent. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewTimer);
    const mqtt = this.#mqtt;
    this.#mqtt = null;
    if (mqtt?.connected) {
      mqtt.publish(this.#presenceTopic(), `disconnected ${mqtt.bandroomDigit}`, publishOptions("presence"));
      mqtt.end(false, {});
    } else {
      mqtt?.end(true);
    }
    this.#setState("idle");
  }

  /** Try at once instead of waiting: the network is back, or the tab is shown again. */
  hurry() {
    if (this.state !== "reconnecting" && this.state !== "blocked") return;
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#open();
  }

  get online() {
    return this.#mqtt?.connected === true && this.state === "online";
  }

  /** Publish to one of my own topics. Returns false when not connected: nothing is kept for later. */
  publish(leaf, payload) {
    if (this.#mqtt?.connected !== true) return false;
    const { tenant, room, sub } = this.session;
    this.#mqtt.publish(topic(leaf, { tenant, room, subject: sub }), payload, publishOptions(leaf));
    return true;
  }

  /** Have a retained leaf sent once more: it was missed. */
  ask(leaf) {
    if (this.#mqtt?.connected !== true) return;
    const { tenant, room } = this.session;
    this.#mqtt.subscribe(filter(leaf, { tenant, room }), { qos: publishOptions(leaf).qos });
  }

  /** Drop the connection, which is there by name only, and make a new one. */
  reset() {
    if (this.state === "online") this.#mqtt?.end(true);
  }

  /** Say again that I am here: another page of mine has gone and said so for both. */
  announce() {
    const mqtt = this.#mqtt;
    if (mqtt?.connected) this.#ready(mqtt);
  }

  /** By how many µs this device's clock may be off: the service and the teacher hear of it when it has changed. */
  tellError(us) {
    if (!Number.isFinite(us) || !this.online) return;
    const bound = Math.min(Math.max(Math.ceil(us), 1), WIDEST_US);
    const told = this.#told;
    if (told) {
      const isNews = bound > 2 * told.bound || told.bound > 2 * bound;
      if (this.now() - told.at < (isNews ? TELL_EVERY_MS : TELL_AGAIN_MS)) return;
    }
    this.#told = { bound, at: this.now() };
    this.announce();
  }

  /** What is played here, for the roster: a word of the protocol's list. Teachers and screens are shown without. */
  tellInstrument(word) {
    if (this.session.role !== "student" || word === this.#instrument) return;
    this.#instrument = word;
    if (this.online) this.announce();
  }

  #ready(mqtt) {
    const error = this.#told ? ` ${this.#told.bound}` : "";
    const instrument = this.#instrument ? ` ${this.#instrument}` : "";
    mqtt.publish(this.#presenceTopic(), `ready ${mqtt.bandroomDigit}${error}${instrument}`, publishOptions("presence"));
  }

  #presenceTopic() {
    return topic("presence", { tenant: this.session.tenant, subject: this.session.sub });
  }

  #setState(state, why = "") {
    if (state === this.state && !why) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, why } }));
  }

  /** Open a connection. It becomes the one in use once it is subscribed; `replacing` stays in use until then. */
  #open(replacing = null) {
    if (this.#stopped) return;
    const { tenant, room, sub, username, token, role } = this.session;
    const digit = this.#digit;
    this.#digit = digit ^ 1;
    const presence = this.#presenceTopic();
    let settled = false;
    let refused = null;
    const mqtt = this.connect(this.url, {
      protocolVersion: 4,
      clean: true,
      clientId: clientId(tenant, sub, digit),
      username,
      password: token,
      keepalive: KEEPALIVE_S,
      reconnectPeriod: 0,
      connectTimeout: 10_000,
      resubscribe: false,
      queueQoSZero: false,
      // The library's other timers come from a worker made of text, which the pages' policy forbids.
      timerVariant: "native",
      will: { topic: presence, payload: `lost ${digit}`, ...publishOptions("presence") },
    });
    mqtt.bandroomDigit = digit;
    if (!replacing) this.#mqtt = mqtt;
    mqtt.on("connect", () => {
      this.#everOpened = true;
      mqtt.subscribe(
        Object.fromEntries(filtersFor(role || "student", { tenant, room, sub }).map((f) => [f.name, { qos: f.qos }])),
        (_error, asked, answer) => {
          // Without an answer the connection went meanwhile, which "close" deals with.
          if (this.#stopped || !answer) return;
          const denied = asked.filter((_, i) => answer.granted[i] >= 128).map((each) => parseFilterLeaf(each.topic));
          this.#ready(mqtt);
          settled = true;
          if (replacing) {
            this.#mqtt = mqtt;
            replacing.removeAllListeners("close");
            replacing.end(false, {});
          }
          this.#failures = 0;
          this.#refusals = 0;
          this.#planRenewal();
          this.#setState("online");
          this.dispatchEvent(new CustomEvent("online", { detail: { denied } }));
        },
      );
      if (!replacing) this.dispatchEvent(new Event("up"));
    });
    mqtt.on("message", (name, payload) => this.#onMessage(name, payload));
    mqtt.on("error", (error) => {
      // A number is the broker's answer to CONNECT; all else is the network's.
      if (typeof error.code === "number" && error.code > 0) refused = error.code;
    });
    mqtt.once("close", () => {
      mqtt.end(true);
      if (this.#stopped) return;
      if (replacing && !settled) {
        this.#timer = setTimeout(() => this.#renew(), backoffMs(6, this.random));
        return;
      }
      if (this.#mqtt === mqtt) this.#lost(refused);
    });
  }

  async #lost(refused) {
    this.#mqtt = null;
    clearTimeout(this.#renewTimer);
    this.#failures += 1;
    if (refused !== null) {
      this.#refusals += 1;
      if (this.#refusals > SAME_TOKEN_TRIES && !(await this.#newToken())) return;
    }
    if (this.#stopped) return;
    if (!this.#everOpened && refused === null && this.#failures >= BLOCKED_AFTER) this.#setState("blocked");
    else this.#setState("reconnecting", refused === null ? "network" : "refused");
    this.#timer = setTimeout(() => this.#open(), backoffMs(this.#failures, this.random));
  }

  /** A refusal that lasts: renew, else join anew. False (and `ended`) when neither is to be had. */
  async #newToken() {
    try {
      await this.session.renew();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (passes(error)) return true;
      // Put out of the room: coming back by itself would make nothing of what the teacher did.
      if (error.code === "forbidden") return this.#end("put_out");
      try {
        await this.session.rejoin();
      } catch (again) {
        if (!(again instanceof ApiError)) throw again;
        if (passes(again)) return true;
        return this.#end(error.code === "closed" ? "closed" : "ended");
      }
    }
    this.#refusals = 0;
    return true;
  }

  #end(why) {
    this.#stopped = true;
    this.#setState("ended", why);
    return false;
  }

  #planRenewal() {
    clearTimeout(this.#renewTimer);
    const wait = this.session.renewInMs();
    // Timers hold 31 bits; a token lives at most 12 hours, far below.
    if (wait !== null) this.#renewTimer = setTimeout(() => this.#renew(), wait);
  }

  /** Before the token ends: a new one, a second connection with it, and only then the end of the first. */
  async #renew() {
    const current = this.#mqtt;
    if (this.#stopped || current?.connected !== true) return;
    try {
      await this.session.renew();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The connection lasts until the token ends; then the refusals lead to a new one.
      this.#renewTimer = setTimeout(() => this.#renew(), 30_000);
      return;
    }
    if (!this.#stopped && this.#mqtt === current) this.#open(current);
  }

  #onMessage(name, payload) {
    const at = this.now();
    try {
      const { leaf, subject } = parseTopic(name);
      this.dispatchEvent(new CustomEvent("message", { detail: { leaf, subject, payload, at } }));
    } catch {
      this.dropped += 1;
    }
  }
}
