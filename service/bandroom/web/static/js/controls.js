// The switches and sliders of a room's page, and what they remember.

import { MidiKeyboards, whyNoMidi } from "./midi.js";
import { settings } from "./settings.js";
import { setText, show } from "./view.js";

/** Past this bound the clock is still being set. */
const UNSURE_MS = 100;
/** How long it is said what to do where nothing is heard. */
const HELP_MS = 20_000;
const $ = (id) => document.getElementById(id);

function bind(id, name, toSetting, use) {
  const node = $(id);
  const isBox = node.type === "checkbox";
  const value = name === "calm" ? settings.isCalm : settings.get(name);
  if (isBox) node.checked = value;
  else node.value = String(value);
  use(value);
  node.addEventListener("input", () => {
    const chosen = toSetting(isBox ? node.checked : node.value);
    settings.set(name, chosen);
    use(chosen);
  });
}

function bindSound(page) {
  const { sound, metronome } = page;
  let helped = false;
  const showState = () => {
    const on = sound.running;
    $("sound-button").setAttribute("aria-pressed", String(on));
    setText("sound-label", on ? "Sound on · tap to silence" : "Tap to hear the beat");
    if (on && !helped) {
      helped = true;
      show("sound-help");
      setTimeout(() => show("sound-help", false), HELP_MS);
    }
    metronome.refresh();
  };
  $("sound-button").addEventListener("click", async () => {
    if (sound.running) await sound.disable();
    else await page.enableSound();
    showState();
  });
  sound.addEventListener("change", showState);
  showState();
}

function bindMidi(page) {
  const why = whyNoMidi();
  $("midi-button").disabled = why !== "";
  setText("midi-state", why);
  const keyboards = new MidiKeyboards();
  keyboards.addEventListener("message", (event) => page.mine.playMidi(event.detail.data));
  keyboards.addEventListener("change", (event) => {
    const { names } = event.detail;
    page.hasKeyboard = names.length > 0;
    page.tellInstrument();
    setText("midi-state", names.length ? `Playing: ${names.join(", ")}` : "No keyboard found: plug one in.");
  });
  const refused = "The browser was told not to allow MIDI here. Allow it beside the address, then try again.";
  $("midi-button").addEventListener("click", () => keyboards.open().catch(() => setText("midi-state", refused)));
}

function showClock({ client, clock }) {
  if (!client) return;
  const bound = clock.errorUs / 1000;
  setText("clock-state", clock.synced && bound < UNSURE_MS
    ? `In time with the room to within ${bound < 1 ? "1" : Math.ceil(bound)} ms`
    : "Setting this device's clock…");
}

/** Tie the controls to a room's page, once. */
export function bindControls(page) {
  bindSound(page);
  bindMidi(page);
  bind("calm", "calm", Boolean, () => undefined);
  bind("hear-others", "hearOthers", Boolean, (on) => { if (!on) page.others.silence(); });
  bind("kit", "kit", String, (kit) => {
    page.pads.setKit(kit);
    page.tellInstrument();
  });
  bind("volume", "volume", Number, (percent) => {
    // Loudness is heard as a power of the level.
    page.sound.clickVolume = (percent / 100) ** 2;
    setText("volume-out", `${percent} %`);
    page.metronome.refresh();
  });
  bind("latency", "latencyMs", Number, (ms) => {
    page.sound.extraLatencyMs = ms;
    setText("latency-out", `${ms} ms`);
    page.metronome.refresh();
  });
  $("leave").addEventListener("click", () => page.leave("asked"));
  setInterval(() => showClock(page), 1_000);
}
