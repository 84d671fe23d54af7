// The beat, heard: each click is put onto the audio clock ahead of time, where the tempo map says it is due.
// When a message arrives plays no part in it.

const LOOK_MS = 25;
const AHEAD_US = 160_000;
/** A hidden page's timers run once a second at best, so then the clicks are put down further ahead. */
const AHEAD_HIDDEN_US = 2_500_000;
/** A click that is found late by more than this is left out: it would be heard off the beat. */
const LATE_US = 5_000;
const SAME_US = 500;
/** Nobody looked for this long although beats were due: the machine slept, and comes back at a bar. */
const SLEPT_US = 1_000_000;

/**
 * Events: `beat` {beat, audioTime (s, or null without sound), due (ms, performance.now)} as each one is put down.
 */
export class Metronome extends EventTarget {
  constructor({ clock, sound, accentOf = () => 0, isHidden = () => document.hidden }) {
    super();
    this.clock = clock;
    this.sound = sound;
    this.accentOf = accentOf;
    this.isHidden = isHidden;
    this.map = null;
    clock.addEventListener("jump", () => this.#comeInAgain());
  }

  #timer = null;
  #after = -Infinity;
  #planned = [];
  #silentUntilBar = false;
  #looked = Infinity;

  /** Put `map` in force; null for none. Planned clicks that it does not confirm are taken back. */
  setMap(map) {
    this.map = map;
    const now = this.clock.synced ? this.clock.serverNow() : -Infinity;
    let keep = now;
    const stays = [];
    for (const plan of this.#planned) {
      const same = map?.beat(plan.beat.n);
      if (plan.beat.t <= now || (same && Math.abs(same.t - plan.beat.t) < SAME_US)) {
        stays.push(plan);
        keep = Math.max(keep, plan.beat.t);
      } else {
        plan.cancel?.();
      }
    }
    this.#planned = stays;
    this.#after = keep;
    this.look();
  }

  start() {
    if (this.#timer === null) this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#cancel();
  }

  /** Sound was switched on or off: what is ahead is planned anew. */
  refresh() {
    this.#cancel();
    this.#after = this.clock.synced ? this.clock.serverNow() : -Infinity;
    this.look();
  }

  /** Put down every beat that is due soon. */
  look() {
    this.sound.measure();
    if (!this.map || !this.clock.synced) return;
    const now = this.clock.serverNow();
    const until = now + (this.isHidden() ? AHEAD_HIDDEN_US : AHEAD_US);
    const slept = now - this.#looked > SLEPT_US;
    this.#looked = now;
    if (slept && this.#after > -Infinity && this.map.nextBeat(this.#after)?.t < now - LATE_US) this.#silentUntilBar = true;
    let after = Math.max(this.#after, now - LATE_US);
    for (let beat = this.map.nextBeat(after); beat && beat.t <= until; beat = this.map.nextBeat(after)) {
      this.#plan(beat);
      after = beat.t;
    }
    this.#after = after;
    this.#planned = this.#planned.filter((plan) => plan.beat.t > now - 1_000_000);
  }

  #plan(beat) {
    if (this.#silentUntilBar && beat.pos !== 1) return;
    this.#silentUntilBar = false;
    const due = this.clock.localAt(beat.t) / 1000;
    const when = this.sound.running ? this.sound.audioTime(due) : null;
    let cancel = null;
    if (when !== null && when > this.sound.context.currentTime - LATE_US / 1e6 && this.sound.clickVolume > 0) {
      cancel = this.sound.click(Math.max(when, this.sound.context.currentTime), this.accentOf(beat));
    }
    this.#planned.push({ beat, cancel });
    this.dispatchEvent(new CustomEvent("beat", { detail: { beat, audioTime: cancel ? when : null, due } }));
  }

  #cancel() {
    const now = this.clock.synced ? this.clock.serverNow() : -Infinity;
    for (const plan of this.#planned) if (plan.beat.t > now) plan.cancel?.();
    this.#planned = this.#planned.filter((plan) => plan.beat.t <= now);
  }

  #comeInAgain() {
    this.#cancel();
    this.#silentUntilBar = true;
    this.#after = this.clock.serverNow();
  }
}
