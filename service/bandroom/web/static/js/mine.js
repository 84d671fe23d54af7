// What is played here: sent to the others, sounded if it came from a keyboard, and judged against the beat.

import { lateUs } from "./lateness.js";
import { noteOf } from "./midi.js";
import { setText, show } from "./view.js";

/** ms off the beat that nobody hears as early or late. */
const RIGHT_MS = 15;

export class Mine {
  /** `page`: its clock, map, sound and client, as they are at the time. */
  constructor(page) {
    this.page = page;
  }

  /** A pad was pressed or let go. */
  play({ on, note, velocity, channel, at }) {
    const { clock, map, client } = this.page;
    const message = on ? { on: note, v: velocity, ch: channel } : { off: note, ch: channel };
    if (clock.synced) message.t = Math.round(clock.serverAt(at * 1000));
    if (on && message.t && map) {
      const late = lateUs(map, message.t);
      if (late !== null) this.judge(late / 1000);
    }
    client?.publish("note", JSON.stringify(message));
  }

  /** A channel message from a keyboard here. */
  playMidi(data) {
    const { sound, client } = this.page;
    const note = noteOf(data);
    if (note) {
      const key = `me/midi/${note.channel}/${note.notes[0]}`;
      if (note.on) sound.noteOn(key, note.notes[0], note.velocity, note.channel);
      else sound.noteOff(key);
    }
    client?.publish("midi", data);
  }

  /** Say how late (positive) or early a note was, in ms. */
  judge(late) {
    if (typeof late !== "number") return;
    const ms = Math.round(late);
    show("feedback");
    setText("feedback", Math.abs(ms) < RIGHT_MS ? "Right on the beat" : `${Math.abs(ms)} ms ${ms > 0 ? "late" : "early"}`);
  }
}
