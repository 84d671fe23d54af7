// A clock that follows a target without ever jumping while it is listened to.

export const MAX_SLEW = 0.005;
/** µs: past this, catching up by slewing would take too long to bear. */
export const JUMP_US = 30_000;

/** Offset from local to server time in µs, moving towards its target by at most 0.5 % of the time that passes. */
export class SlewedOffset {
  #from = 0;
  #at = 0;
  #target = 0;
  #set = false;

  get set() {
    return this.#set;
  }

  /** The offset at local time `t` (µs). */
  at(t) {
    const reach = MAX_SLEW * Math.max(0, t - this.#at);
    const gap = this.#target - this.#from;
    return this.#from + Math.min(Math.max(gap, -reach), reach);
  }

  /**
   * Steer towards `target` from local time `t` on. True when it had to jump: at first, when `free` (nothing is
   * being played), or when the gap is too wide to slew.
   */
  steer(t, target, free = false) {
    const now = this.at(t);
    const gap = Math.abs(target - now);
    const jump = !this.#set || gap > JUMP_US || (free && gap > 0);
    this.#from = jump ? target : now;
    this.#at = t;
    this.#target = target;
    const audible = this.#set && gap > JUMP_US;
    this.#set = true;
    return audible;
  }

  /** How far the slewing is still from its target at local time `t`, µs. */
  remaining(t) {
    return Math.abs(this.#target - this.at(t));
  }

  /** Local time at which server time is `server` (both µs). */
  localOf(server) {
    // The offset changes by 0.5 % at most, so two rounds leave less than a tenth of a microsecond a millisecond off.
    let local = server - this.at(server - this.#target);
    for (let i = 0; i < 3; i++) local = server - this.at(local);
    return local;
  }
}
