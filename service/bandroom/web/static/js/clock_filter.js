// What server time is, learned from clock exchanges over a network that delays them at will: the two-sided
// envelope. Times in µs. How it works, and its figures, are in docs/time.md; tests/contract/clock.json holds this to
// the Python one.

const SPLIT_US = 500_000; // one bound a side for each burst: the tightest
const SIDE = 64;
const MIDDLES = 128; // exchanges kept one by one; older ones are gathered into blocks
const BLOCK = 16;
const BLOCKS = 64;
const CRYSTALS_PPM = 40; // how far two crystals are apart, as a standard deviation
const FINEST_US = 30;
const SHARPNESS = 0.15;
const UNLIKE = 0.4;
const ALIKE = 0.7;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const ascending = (a, b) => a - b;

/**
 * `offsetAt` is server minus local time, `boundAt` how far off it may be at most, as long as the two crystals differ
 * by no more than `maxSkew` and wander by no more than `wander`. `resolutionUs` is the local clock's: browsers
 * round performance.now() to between 5 µs and 17 ms.
 */
export class ClockFilter {
  #slack;
  #window;
  #maxSkew;
  #wander;
  #upper;
  #lower;
  #middles;
  #blocks;
  #base;
  #now;
  #last;
  #fresh;
  #offset;
  #above;
  #below;
  #skew;
  #least;
  #most;

  constructor({ resolutionUs = 1, windowUs = 120_000_000, maxSkew = 100e-6, wander = 1e-6 } = {}) {
    this.#slack = resolutionUs + 1;
    this.#window = windowUs;
    this.#maxSkew = maxSkew;
    this.#wander = wander;
    this.restarts = 0;
    this.ignored = 0;
    this.reset();
  }

  /** Forget everything. */
  reset() {
    // Entries are [when the burst began, when, bound], relative to the first offset.
    this.#upper = [];
    this.#lower = [];
    this.#middles = []; // [when, middle, round trip]
    this.#blocks = []; // [when, middle, weight]
    this.#base = null;
    this.#now = 0;
    this.#last = null;
    this.#fresh = false;
    this.#offset = this.#above = this.#below = this.#skew = this.#least = this.#most = 0;
  }

  /** Whether anything is known at all. */
  get synced() {
    return this.#last !== null;
  }

  /** Learn from an exchange: left at t1, at the server from t2 to t3, back at t4. False if it cannot have happened. */
  add(t1, t2, t3, t4) {
    const trip = t4 - t1 - (t3 - t2);
    if (t4 < t1 || t3 < t2 || trip < -2 * this.#slack) {
      this.ignored += 1;
      return false;
    }
    this.#base ??= Math.round(t2 - t1);
    const upper = t2 - t1 - this.#base + this.#slack;
    const lower = t3 - t4 - this.#base - this.#slack;
    const reach = this.#maxSkew + this.#wander;
    if (
      this.#upper.some(([, x, u]) => lower - u > reach * Math.abs(t4 - x)) ||
      this.#lower.some(([, x, low]) => low - upper > reach * Math.abs(t1 - x))
    ) {
      this.#restart();
      return this.add(t1, t2, t3, t4);
    }
    this.#last = [t1, t2, t3, t4];
    this.#now = this.#upper.length ? Math.max(this.#now, t4) : t4;
    const oldest = this.#now - this.#window;
    this.#upper = kept(this.#upper, t1, upper, oldest, -1);
    this.#lower = kept(this.#lower, t4, lower, oldest, 1);
    this.#middles.push([(t1 + t4) / 2, (upper + lower) / 2, trip]);
    this.#middles = this.#middles.filter((m) => m[0] >= oldest);
    this.#blocks = this.#blocks.filter((b) => b[0] >= oldest);
    if (this.#middles.length > MIDDLES) this.#gather();
    this.#fresh = true;
    return true;
  }

  /** Server time minus local time at local time `t`. Throws before the first exchange. */
  offsetAt(t) {
    this.#fit();
    if (this.#base === null) throw new Error("no clock exchange yet");
    return this.#base + (this.#offset + this.#skew * (t - this.#now));
  }

  /** How far `offsetAt(t)` may be off at most; Infinity before the first exchange. */
  boundAt(t) {
    this.#fit();
    if (this.#base === null) return Infinity;
    const spread = Math.max(this.#most - this.#skew, this.#skew - this.#least) + this.#wander;
    return Math.max(this.#above - this.#offset, this.#offset - this.#below) + spread * Math.abs(t - this.#now);
  }

  /** By how much the server's clock is faster than the local one, as far as is known. */
  get skewPpm() {
    this.#fit();
    return this.#skew * 1e6;
  }

  #restart() {
    this.reset();
    this.restarts += 1;
  }

  #fit() {
    if (!this.#fresh) return;
    this.#fresh = false;
    let [least, most] = this.#skews();
    if (least > most) {
      const last = this.#last;
      this.#restart();
      this.add(...last);
      this.#fresh = false;
      [least, most] = this.#skews();
    }
    this.#least = least;
    this.#most = most;
    const now = this.#now;
    this.#above = Math.min(...this.#upper.map(([, x, u]) => u + (most + this.#wander) * (now - x)));
    this.#below = Math.max(...this.#lower.map(([, x, low]) => low + (least - this.#wander) * (now - x)));
    this.#skew = (least + most) / 2;
    this.#offset = (this.#above + this.#below) / 2;
    const weight = this.#likeness();
    if (weight > 0) {
      const [mean, skew] = this.#meanLine();
      this.#skew += weight * (clamp(skew, least, most) - this.#skew);
      this.#offset += weight * (clamp(mean, this.#below, this.#above) - this.#offset);
    }
  }

  /** The flattest and the steepest line that fits between the bounds. */
  #skews() {
    let least = -this.#maxSkew;
    let most = this.#maxSkew;
    for (const [, xu, u] of this.#upper) {
      for (const [, xl, low] of this.#lower) {
        const dx = xl - xu;
        if (dx > 0) least = Math.max(least, (low - u) / dx - this.#wander);
        else if (dx < 0) most = Math.min(most, (low - u) / dx + this.#wander);
      }
    }
    return [least, most];
  }

  /** 0 where one direction scatters much more than the other, 1 where both scatter alike. */
  #likeness() {
    if (this.#middles.length < 4) return 0;
    const up = this.#scatter((m) => m[1] + m[2] / 2, 1);
    const down = this.#scatter((m) => m[1] - m[2] / 2, -1);
    const ratio = (Math.min(up, down) + FINEST_US) / (Math.max(up, down) + FINEST_US);
    return clamp((ratio - UNLIKE) / (ALIKE - UNLIKE), 0, 1);
  }

  #scatter(bound, sign) {
    const values = this.#middles.map((m) => sign * (bound(m) - this.#skew * (m[0] - this.#now))).sort(ascending);
    return values[values.length >> 1] - values[0];
  }

  /** Make one of the oldest exchanges. */
  #gather() {
    const weighed = this.#weighed().slice(0, BLOCK);
    this.#middles.splice(0, BLOCK);
    const sum = (part) => weighed.reduce((total, entry) => total + part(entry), 0);
    const weight = sum((e) => e[2]);
    this.#blocks.push([sum((e) => e[0] * e[2]) / weight, sum((e) => e[1] * e[2]) / weight, weight]);
    this.#blocks = this.#blocks.slice(-BLOCKS);
  }

  /** [when, middle, weight] of each exchange: those that were delayed least count most. */
  #weighed() {
    const trips = this.#middles.map((m) => m[2]).sort(ascending);
    const quickest = trips[0];
    const grain = Math.max(FINEST_US, SHARPNESS * (trips[trips.length >> 1] - quickest));
    return this.#middles.map(([x, y, trip]) => [x, y, 2 / (((trip - quickest) / 2) ** 2 + grain * grain)]);
  }

  /** Least squares through the exchanges' middles. */
  #meanLine() {
    const origin = this.#middles[0][1];
    const deviation = Math.max((this.#most - this.#least) * 2.5e5, 1e-3);
    let firm = 1 / (deviation * deviation);
    const prior = (this.#least + this.#most) * 5e5 * firm;
    firm += 1 / (CRYSTALS_PPM * CRYSTALS_PPM);
    let [sw, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
    for (const [when, middle, w] of [...this.#blocks, ...this.#weighed()]) {
      const x = (when - this.#now) / 1e6;
      const y = middle - origin;
      sw += w;
      sx += w * x;
      sy += w * y;
      sxx += w * x * x;
      sxy += w * x * y;
    }
    const slope = (sw * (sxy + prior) - sx * sy) / (sw * (sxx + firm) - sx * sx);
    return [origin + (sy - slope * sx) / sw, slope * 1e-6];
  }
}

/** `side` with a bound more: a burst's tightest only, none from before `oldest`, at most 64. */
function kept(side, x, bound, oldest, sign) {
  const list = side.filter((e) => e[1] >= oldest);
  const last = list.at(-1);
  if (last && Math.abs(x - last[0]) < SPLIT_US) {
    if ((bound - last[2]) * sign > 0) list[list.length - 1] = [last[0], x, bound];
  } else {
    list.push([x, x, bound]);
  }
  return list.slice(-SIDE);
}
