// What the others play, heard here: a little late, and ended even where their end gets lost.

const HANGING_MS = 30_000;

export class Others {
  constructor(sound) {
    this.sound = sound;
  }

  #hanging = new Map();

  /** A note as `readNote` gives it, from `sub`. */
  play(sub, note) {
    for (const number of note.notes) {
      const key = `${sub}/${note.channel}/${number}`;
      clearTimeout(this.#hanging.get(key));
      this.#hanging.delete(key);
      if (note.on) {
        this.sound.noteOn(key, number, note.velocity, note.channel, 0.7);
        this.#hanging.set(key, setTimeout(() => this.sound.noteOff(key), HANGING_MS));
      } else {
        this.sound.noteOff(key);
      }
    }
  }

  /** Somebody is gone, or their notes are being dropped: nothing of theirs sounds on. */
  end(sub) {
    this.sound.endAll(`${sub}/`);
  }

  silence() {
    for (const timer of this.#hanging.values()) clearTimeout(timer);
    for (const key of this.#hanging.keys()) this.sound.noteOff(key);
    this.#hanging.clear();
  }
}
