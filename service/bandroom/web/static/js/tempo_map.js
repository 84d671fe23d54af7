// The tempo map: musical position as a pure function of server time. Times in µs, positions in ticks, 960 a
// quarter. The formulas, and why, are in docs/time.md; tests/contract/tempo.json holds this to the Python one.

const PPQ = 960;
const WHOLE = 4 * PPQ;
const US_PER_MINUTE = 60_000_000;
const DEFAULT_UQ = 500_000;

/** Counted beats a minute at `uq` µs a quarter, three decimals. */
export const bpmFromUq = (uq, q = PPQ) => (uq ? Math.round((US_PER_MINUTE * PPQ * 1000) / (uq * q)) / 1000 : 0);

const whole = (value, name, low = -(2 ** 50), high = 2 ** 53) => {
  if (!Number.isSafeInteger(value) || value < low || value >= high) throw new RangeError(`tempo map: ${name} is ${value}`);
  return value;
};

/** `num`/`den`, counted in beats of `q` ticks, in groups `grp` (units of 1/den) if it has any. */
export class Meter {
  constructor({ num, den, q, grp = null }) {
    this.num = whole(num, "num", 1, 65);
    this.den = whole(den, "den", 1, 33);
    this.q = whole(q, "q", 1, 15361);
    this.grp = grp;
    this.beatsPerBar = whole((num * WHOLE) / den / q, "beats in a bar", 1);
  }

  /** How strongly counted beat `pos` (from 1) is struck: 2 the downbeat, 1 a group's first beat, else 0. */
  accent(pos) {
    if (pos === 1) return 2;
    const units = ((pos - 1) * this.q * this.den) / WHOLE;
    let start = 0;
    for (const g of this.grp ?? []) {
      if (start === units) return 1;
      start += g;
    }
    return 0;
  }

  toString() {
    return `${this.num}/${this.den}${this.grp ? `:${this.grp.join("+")}` : ""}`;
  }
}

/** From position `k` at time `t` on: `uq` µs a quarter (0: standing still), or a ramp to `uq1` over `len` ticks. */
class Segment {
  constructor({ k, t, uq, uq1 = null, len = null, ramp = null }) {
    this.k = whole(k, "k");
    this.t = whole(t, "t", 0);
    this.uq = whole(uq, "uq", 0);
    this.uq1 = uq1 === null ? null : whole(uq1, "uq1", 0);
    this.len = len === null ? null : whole(len, "len", 1);
    this.ramp = ramp;
    if (this.len !== null && (!uq || !uq1 || (ramp !== "time" && ramp !== "beats"))) {
      throw new RangeError("tempo map: half a ramp");
    }
  }

  timeOf(k) {
    if (this.len !== null) return this.t + Math.floor(this.usAt(k - this.k) + 0.5);
    const product = (k - this.k) * this.uq + PPQ / 2;
    return this.t + (product - mod(product, PPQ)) / PPQ;
  }

  usAt(x) {
    if (this.len === null) return (x * this.uq) / PPQ;
    return x > this.len ? this.#rampUs(this.len) + ((x - this.len) * this.uq1) / PPQ : this.#rampUs(x);
  }

  ticksAt(us) {
    if (!this.uq) return 0;
    if (this.len === null) return (us * PPQ) / this.uq;
    const endUs = this.#rampUs(this.len);
    if (us > endUs) return this.len + ((us - endUs) * PPQ) / this.uq1;
    const v0 = PPQ / this.uq;
    const v1 = PPQ / this.uq1;
    if (this.ramp === "time") return us * (v0 + ((v1 - v0) * us) / (2 * endUs));
    const z = ((v1 - v0) / this.len) * us;
    return us * v0 * (z ? Math.expm1(z) / z : 1);
  }

  uqAt(x) {
    if (this.len === null) return this.uq;
    if (x >= this.len) return this.uq1;
    const v0 = PPQ / this.uq;
    const v1 = PPQ / this.uq1;
    const part = x / this.len;
    return PPQ / (this.ramp === "time" ? Math.sqrt(v0 * v0 + (v1 * v1 - v0 * v0) * part) : v0 + (v1 - v0) * part);
  }

  #rampUs(x) {
    const v0 = PPQ / this.uq;
    const v1 = PPQ / this.uq1;
    if (this.ramp === "time") return (2 * x) / (v0 + Math.sqrt(v0 * v0 + ((v1 * v1 - v0 * v0) * x) / this.len));
    const z = ((v1 - v0) * x) / (this.len * v0);
    return (x / v0) * (z ? Math.log1p(z) / z : 1);
  }
}

const mod = (a, b) => ((a % b) + b) % b;

const lastIndex = (list, fits) => {
  let i = list.length - 1;
  while (i >= 0 && !fits(list[i])) i--;
  return i;
};

/** Frozen. Beats are {n, bar, pos, bpm, t, d}; see docs/protocol.md. */
export class TempoMap {
  constructor(rev, seg, met) {
    if (!seg.length || !met.length) throw new RangeError("tempo map: it needs a segment and a meter");
    this.rev = whole(rev, "rev", 0);
    this.seg = seg.map((s) => Object.freeze(new Segment(s)));
    this.met = met.map((m) =>
      Object.freeze({ n: whole(m.n, "n"), k: whole(m.k, "k"), bar: whole(m.bar, "bar"), meter: new Meter(m) }),
    );
    for (let i = 1; i < seg.length; i++) {
      if (seg[i].t <= seg[i - 1].t || seg[i].k < seg[i - 1].k) throw new RangeError("tempo map: segments out of order");
    }
    for (let i = 1; i < met.length; i++) {
      if (met[i].n <= met[i - 1].n || met[i].k <= met[i - 1].k) throw new RangeError("tempo map: meters out of order");
    }
    Object.freeze(this);
  }

  /** From the parsed `tempo` message. Throws a RangeError for one that makes no sense. */
  static fromMessage({ rev, seg, met }) {
    return new TempoMap(rev, seg, met);
  }

  segmentAt(t) {
    return this.seg[Math.max(lastIndex(this.seg, (s) => s.t <= t), 0)];
  }

  /** Position in ticks at server time `t`. */
  positionAt(t) {
    const s = this.segmentAt(t);
    return s.k + s.ticksAt(Math.max(t - s.t, 0));
  }

  /** Server time at which position `k` is reached; null if it never is, or was before this map. */
  timeAt(k) {
    const i = lastIndex(this.seg, (s) => s.k <= k);
    if (i < 0 || !this.seg[i].uq) return null;
    const s = this.seg[i];
    return Number.isInteger(k) ? s.timeOf(k) : s.t + Math.floor(s.usAt(k - s.k) + 0.5);
  }

  runningAt(t) {
    const s = this.segmentAt(t);
    return s.uq > 0 && s.t <= t;
  }

  /** Counted beats a minute at `t`; while standing still, the tempo at which it would go on. */
  bpmAt(t) {
    const s = this.segmentAt(t);
    const x = s.ticksAt(Math.max(t - s.t, 0));
    return bpmFromUq(s.uqAt(x) || s.uq1 || DEFAULT_UQ, this.meterAt(s.k + x).meter.q);
  }

  meterAt(k) {
    return this.met[Math.max(lastIndex(this.met, (m) => m.k <= k), 0)];
  }

  meterOf(n) {
    return this.met[Math.max(lastIndex(this.met, (m) => m.n <= n), 0)];
  }

  /** Position of beat `n`, whether or not it is ever reached. */
  beatTicks(n) {
    const m = this.meterOf(n);
    return m.k + (n - m.n) * m.meter.q;
  }

  /** Number of the last beat at or before position `k`. */
  beatNumber(k) {
    const m = this.meterAt(k);
    return m.n + Math.floor((k - m.k) / m.meter.q);
  }

  /** Beat `n`, or null if the map never reaches it (or no longer knows when it was). */
  beat(n) {
    const m = this.meterOf(n);
    const { q, beatsPerBar } = m.meter;
    const k = m.k + (n - m.n) * q;
    const i = lastIndex(this.seg, (s) => s.k <= k);
    if (i < 0 || !this.seg[i].uq) return null;
    const s = this.seg[i];
    const t = s.timeOf(k);
    const next = this.timeAt(k + q);
    return {
      n,
      bar: m.bar + Math.floor((n - m.n) / beatsPerBar),
      pos: mod(n - m.n, beatsPerBar) + 1,
      bpm: bpmFromUq(s.uqAt(k - s.k), q),
      t,
      d: next === null ? 0 : next - t,
    };
  }

  /** The first beat due later than `after`, or null. */
  nextBeat(after) {
    const last = this.seg.length - 1;
    for (let i = Math.max(lastIndex(this.seg, (s) => s.t <= after), 0); i <= last; i++) {
      const s = this.seg[i];
      if (!s.uq) continue;
      let n = this.beatNumber(after < s.t ? s.k : s.k + Math.floor(s.ticksAt(after - s.t)));
      let k = this.beatTicks(n);
      while (k < s.k || s.timeOf(k) <= after) k = this.beatTicks(++n);
      if (i === last || k < this.seg[i + 1].k) return this.beat(n);
    }
    return null;
  }

  /** The last beat due at or before `t`, as far back as this map reaches, or null. */
  beatAtOrBefore(t) {
    for (let i = lastIndex(this.seg, (s) => s.t <= t); i >= 0; i--) {
      const s = this.seg[i];
      if (!s.uq) continue;
      const end = i + 1 < this.seg.length ? this.seg[i + 1].k : Infinity;
      let n = this.beatNumber(s.k + Math.floor(s.ticksAt(t - s.t)) + 1);
      let k = this.beatTicks(n);
      while (k >= s.k && (k >= end || s.timeOf(k) > t)) k = this.beatTicks(--n);
      if (k >= s.k) return this.beat(n);
    }
    return null;
  }
}
