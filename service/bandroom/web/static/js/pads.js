// Four pads: finger, mouse, or the keys A S D F. They sound here at once; the others get the note.

export const KITS = Object.freeze({
  drums: { channel: 9, instrument: "drums", pads: [["Kick", 36], ["Snare", 38], ["Hi-hat", 42], ["Clap", 39]] },
  tones: { channel: 0, instrument: "bells", pads: [["C", 60], ["D", 62], ["E", 64], ["G", 67]] },
});
export const KEYS = Object.freeze(["KeyA", "KeyS", "KeyD", "KeyF"]);
const VELOCITY = 96;
const LOUD = 127;

const NOTE_NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const DRUM_NAMES = { 35: "Kick", 36: "Kick", 37: "Rim", 38: "Snare", 39: "Clap", 42: "Hi-hat", 46: "Hi-hat" };

/** Whether a key pressed there is meant for a field or a dialog. */
export function isTyping(target) {
  return Boolean(target.closest?.("input:not([type=checkbox],[type=range]), select, textarea, dialog"));
}

/** What a note is called on screen. */
export function noteName(note, channel) {
  return channel === 9 ? (DRUM_NAMES[note] ?? "Drum") : NOTE_NAMES[note % 12];
}

/**
 * Events: `note` {on (bool), note, velocity, channel, at (ms, performance.now)}.
 * Each press is ended once, however it ends: release, a lost pointer, the window losing the keyboard.
 */
export class Pads extends EventTarget {
  constructor(root, { sound, now = () => performance.now() }) {
    super();
    this.root = root;
    this.sound = sound;
    this.now = now;
    this.#build();
    this.setKit("drums");
    root.ownerDocument.addEventListener("keydown", (event) => this.#keyDown(event));
    root.ownerDocument.addEventListener("keyup", (event) => this.#keyUp(event));
    globalThis.addEventListener("blur", () => this.releaseAll());
  }

  #buttons = [];
  #held = new Map();
  #kit = KITS.drums;

  setKit(name) {
    this.releaseAll();
    this.#kit = KITS[name] ?? KITS.drums;
    this.#kit.pads.forEach(([label], i) => {
      this.#buttons[i].querySelector(".label").textContent = label;
    });
  }

  /** What the pads sound like, in the roster's word. */
  get instrument() {
    return this.#kit.instrument;
  }

  releaseAll() {
    for (const by of [...this.#held.keys()]) this.#release(by);
  }

  #build() {
    this.#buttons = KEYS.map((code, i) => {
      const button = this.root.ownerDocument.createElement("button");
      button.type = "button";
      button.className = "pad";
      button.setAttribute("aria-keyshortcuts", code.slice(3));
      const label = button.ownerDocument.createElement("span");
      label.className = "label";
      const key = button.ownerDocument.createElement("kbd");
      key.textContent = code.slice(3);
      key.setAttribute("aria-hidden", "true");
      button.append(label, key);
      button.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        button.focus({ preventScroll: true });
        button.setPointerCapture?.(event.pointerId);
        this.#press(`pointer${event.pointerId}`, i, pressureVelocity(event));
      });
      for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
        button.addEventListener(name, (event) => this.#release(`pointer${event.pointerId}`));
      }
      // A press by keyboard (Enter, Space) or by a screen reader comes as a click without a pointer before it.
      button.addEventListener("click", (event) => {
        if (event.detail !== 0) return;
        this.#press("click", i, VELOCITY);
        setTimeout(() => this.#release("click"), 150);
      });
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      this.root.append(button);
      return button;
    });
  }

  #keyDown(event) {
    const i = KEYS.indexOf(event.code);
    if (i < 0 || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.root.closest("[hidden]") || isTyping(event.target)) return;
    event.preventDefault();
    this.#press(event.code, i, event.shiftKey ? LOUD : VELOCITY);
  }

  #keyUp(event) {
    this.#release(event.code);
  }

  #press(by, i, velocity) {
    this.#release(by);
    const at = this.now();
    const note = this.#kit.pads[i][1];
    const { channel } = this.#kit;
    this.sound.noteOn(`me/${by}`, note, velocity, channel);
    this.#held.set(by, { i, note, channel });
    this.#buttons[i].classList.add("down");
    this.dispatchEvent(new CustomEvent("note", { detail: { on: true, note, velocity, channel, at } }));
  }

  #release(by) {
    const held = this.#held.get(by);
    if (!held) return;
    this.#held.delete(by);
    this.sound.noteOff(`me/${by}`);
    if (![...this.#held.values()].some((other) => other.i === held.i)) this.#buttons[held.i].classList.remove("down");
    const { note, channel } = held;
    this.dispatchEvent(new CustomEvent("note", { detail: { on: false, note, velocity: 0, channel, at: this.now() } }));
  }
}

/** Pens and some screens measure how hard; the others say 0, 0.5 or 1. */
function pressureVelocity(event) {
  const { pressure, pointerType } = event;
  if (pointerType === "mouse" || [0, 0.5, 1].includes(pressure)) return VELOCITY;
  return Math.max(20, Math.min(LOUD, Math.round(40 + pressure * 110)));
}
