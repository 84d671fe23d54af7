// A keyboard on this computer, by Web MIDI: what is played goes to the room as raw channel messages.

const LENGTHS = { 0x8: 3, 0x9: 3, 0xa: 3, 0xb: 3, 0xc: 2, 0xd: 2, 0xe: 3 };

/** Whether these bytes are one channel message with its status byte, as `midi` topics carry it. */
export function isChannelMessage(data) {
  const length = LENGTHS[data[0] >> 4];
  return length !== undefined && data.length === length && data.slice(1).every((byte) => byte < 128);
}

/** The note that a channel message begins or ends; null for other messages. */
export function noteOf(data) {
  if (!isChannelMessage(data)) return null;
  const kind = data[0] >> 4;
  if (kind !== 0x8 && kind !== 0x9) return null;
  // A note-on of velocity 0 ends the note, as many keyboards have it.
  return { on: kind === 0x9 && data[2] > 0, notes: [data[1]], velocity: data[2] || 64, channel: data[0] & 15 };
}

/** Why there is no Web MIDI here, in words; empty where there is. */
export function whyNoMidi() {
  if (typeof navigator.requestMIDIAccess === "function") return "";
  return globalThis.isSecureContext
    ? "This browser has no MIDI. Chrome, Edge and Firefox on a computer have it; iPads and iPhones do not."
    : "Browsers give MIDI to secure pages only: open this page by https, or on the computer that it comes from.";
}

/** Events: `message` {data}: one channel message from any keyboard; `change` {names}: what is plugged in. */
export class MidiKeyboards extends EventTarget {
  /** Ask for the keyboards, within a click. Throws where they are refused. */
  async open() {
    const access = await navigator.requestMIDIAccess({ sysex: false });
    const listen = () => {
      const inputs = [...access.inputs.values()].filter((input) => input.state !== "disconnected");
      for (const input of inputs) input.onmidimessage = ({ data }) => this.#onMessage(data);
      this.dispatchEvent(new CustomEvent("change", { detail: { names: inputs.map((input) => input.name) } }));
    };
    access.onstatechange = listen;
    listen();
  }

  #onMessage(data) {
    if (isChannelMessage(data)) this.dispatchEvent(new CustomEvent("message", { detail: { data } }));
  }
}
