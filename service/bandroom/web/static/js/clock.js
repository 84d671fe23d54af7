// Server time on this device: pings in bursts, a filter over what comes back, and a clock that never jumps
// while it is played to. Local time is performance.now() in µs; this device's wall clock is never asked.

import { SlewedOffset } from "./slew.js";

export const BURST = 8;
export const BURST_GAP_MS = 30;
/** Bursts, as the server's ping_plan.py has them: [until ms after the start, ms from one to the next]. */
const PACE = [[10_000, 1_000], [60_000, 2_000], [Infinity, 10_000]];
/** While the error bound is above 2 ms, as it stays on a link with jitter. */
const JITTERY_PACE = [[60_000, 500], [Infinity, 2_000]];
const JITTERY_US = 2_000;
/** How often it is looked whether anything still comes back. */
const LISTEN_MS = 10_000;
/** ms after joining in which the offset may still be set anew without slewing: nobody has settled into the beat. */
const SETTLING_MS = 1_500;
/** Over a bad network that goes on until the bound has been this small, or for so many ms. */
const SETTLED_US = 5_000;
const SETTLING_AT_MOST_MS = 10_000;
const ZEROS = "0".repeat(16);
const STEER_MS = 500;
/** ms in which a burst must have brought one reply. */
const ANSWER_MS = 3_000;
/** Bursts in a row without one from which on the connection counts as dead. */
const SILENT_BURSTS = 2;

const localUs = () => performance.now() * 1000;

/** The local timer's halt, in ms, from which on it was a sleep: what was known of the offset may no longer hold. */
const SLEPT_MS = 5_000;

/**
 * Events: `synced` (for the first time, or anew after a jump), `jump` (the offset moved by more than can be
 * slewed; whoever plays should come in again at the next bar), `silent` (nothing comes back any more), `steered` (twice
 * a second: the offset and its bound are as of now).
 */
export class RoomClock extends EventTarget {
  /** `filter()` makes a filter: add(t1, t2, t3, t4), offsetAt(t), boundAt(t), synced. `send(text)`: false if offline. */
  constructor({ filter, send, now = localUs, random = Math.random, isPlaying = () => false }) {
    super();
    this.makeFilter = filter;
    this.filter = filter();
    this.send = send;
    this.now = now;
    this.random = random;
    this.isPlaying = isPlaying;
    this.replies = 0;
  }

  #nonce = "";
  #sent = new Map();
  #sequence = 0;
  #offset = new SlewedOffset();
  #timers = new Set();
  #steering = null;
  #startedAt = 0;
  #settledAt = null;
  #settled = false;
  #listenedAt = -Infinity;
  #wall = 0;
  #running = false;
  #heardAt = 0;
  /** When the latest ping that was answered was sent. */
  #answeredAt = -Infinity;
  #silent = 0;

  get synced() {
    return this.#offset.set;
  }

  /** How far off server time may be as the filter has it, µs; Infinity before the first reply. */
  get boundUs() {
    return this.replies ? this.filter.boundAt(this.now()) : Infinity;
  }

  /** How far off the time that is played by may be, µs: what is still to be slewed comes on top. */
  get errorUs() {
    return this.boundUs + this.#offset.remaining(this.now());
  }

  /** A connection is up: ask at once, then now and then. */
  start() {
    this.stop();
    this.#running = true;
    this.#silent = 0;
    this.#startedAt = this.now();
    this.#nonce = Array.from({ length: 8 }, () => Math.floor(this.random() * 36).toString(36)).join("");
    this.#wall = Date.now() - this.now() / 1000;
    this.#settledAt ??= this.now() + SETTLING_MS * 1000;
    this.#listenedAt = -Infinity;
    this.#round();
    this.#steering = setInterval(() => {
      this.#steer();
      this.dispatchEvent(new Event("steered"));
    }, STEER_MS);
  }

  stop() {
    this.rest();
    clearInterval(this.#steering);
  }

  /** No connection, so no pings; what is known of this device's clock goes on being used, its drift included. */
  rest() {
    this.#running = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#sent.clear();
  }

  /** Server time now, µs. */
  serverNow() {
    return this.serverAt(this.now());
  }

  /** Server time at a local time, both µs. */
  serverAt(local) {
    return local + this.#offset.at(local);
  }

  /** Local time at a server time, both µs. */
  localAt(server) {
    return this.#offset.localOf(server);
  }

  /** Eight pings, 30 ms apart: the first one wakes a sleeping radio. */
  burst() {
    for (let i = 0; i < BURST; i++) this.#after(i * BURST_GAP_MS, () => this.#ping());
  }

  /** After a sleep: ask, and tell soon if nothing comes back. */
  probe() {
    if (!this.#running) return;
    const asked = this.now();
    this.burst();
    // What was on its way before the sleep says nothing of the connection.
    this.#after(ANSWER_MS, () => {
      if (this.#answeredAt < asked) this.dispatchEvent(new Event("silent"));
    });
  }

  #listen() {
    const asked = this.now();
    this.#after(ANSWER_MS, () => {
      if (this.#heardAt >= asked) return;
      this.#silent += 1;
      if (this.#silent >= SILENT_BURSTS) this.dispatchEvent(new Event("silent"));
    });
  }

  /** A reply came in at local time `t4` µs. */
  reply(text, t4) {
    if (text.length !== 28 || text.slice(0, 8) !== this.#nonce) return;
    const sequence = Number.parseInt(text.slice(9, 11), 16);
    const server = Number(text.slice(12));
    const t1 = this.#sent.get(sequence);
    if (t1 === undefined || !Number.isSafeInteger(server) || server <= 0) return;
    this.#sent.delete(sequence);
    this.#heardAt = this.now();
    this.#answeredAt = Math.max(this.#answeredAt, t1);
    this.#silent = 0;
    this.filter.add(t1, server, server, t4);
    this.replies += 1;
    this.#steer();
  }

  #ping() {
    const sequence = this.#sequence;
    this.#sequence = (sequence + 1) % 256;
    const text = `${this.#nonce} ${sequence.toString(16).padStart(2, "0")} ${ZEROS}`;
    this.#sent.set(sequence, this.now());
    if (!this.send(text)) this.#sent.delete(sequence);
  }

  #round() {
    const began = this.now();
    this.burst();
    if (began - this.#listenedAt >= LISTEN_MS * 1000) {
      this.#listenedAt = began;
      this.#listen();
    }
    const lasts = BURST * BURST_GAP_MS;
    this.#after(lasts, () => {
      const age = (began - this.#startedAt) / 1000;
      const [, every] = (this.boundUs > JITTERY_US ? JITTERY_PACE : PACE).find(([until]) => age < until);
      this.#after(every - lasts, () => this.#round());
    });
  }

  #steer() {
    this.#lookForSleep();
    if (!this.replies || !this.filter.synced) return;
    const first = !this.#offset.set;
    const now = this.now();
    const free = !this.#hasSettled(now) || !this.isPlaying();
    const jumped = this.#offset.steer(now, this.filter.offsetAt(now), free);
    if (first) this.dispatchEvent(new Event("synced"));
    if (jumped) this.dispatchEvent(new Event("jump"));
  }

  #hasSettled(now) {
    if (now < this.#settledAt) return false;
    // The steering that finds the clock good still sets it.
    const before = this.#settled;
    const late = now - this.#settledAt >= (SETTLING_AT_MOST_MS - SETTLING_MS) * 1000;
    this.#settled ||= late || this.filter.boundAt(now) <= SETTLED_US;
    return before;
  }

  /** performance.now() stands still while some devices sleep; the wall clock, read only for this, shows it. */
  #lookForSleep() {
    const wall = Date.now() - this.now() / 1000;
    const slept = Math.abs(wall - this.#wall) > SLEPT_MS;
    this.#wall = wall;
    if (slept) {
      this.filter = this.makeFilter();
      this.replies = 0;
      this.burst();
    }
  }

  #after(ms, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#running) action();
    }, ms);
    this.#timers.add(timer);
  }
}
