// Sound, made here: the audio clock against the page's clock, clicks, drums and bells. No samples to load.

/** How many readings of the two clocks' relation are kept, and how many it takes to be trusted. */
const READINGS = 41;
const ENOUGH = 5;
/** Older readings are dropped when the relation has moved by this much (another speaker, a halt). */
const STEP_S = 0.02;

export class Sound extends EventTarget {
  constructor({ makeContext = defaultContext, now = () => performance.now() } = {}) {
    super();
    this.makeContext = makeContext;
    this.now = now;
    this.context = null;
    this.clickVolume = 0.8;
    /** ms that this device's speaker is late beyond what the browser knows of. */
    this.extraLatencyMs = 0;
  }

  #relation = null;
  #readings = [];
  #held = new Map();
  #noise = null;

  get running() {
    return this.context?.state === "running";
  }

  /** Ask for sound; only inside a click, tap or key press. Resolves to whether it runs. */
  async enable() {
    if (!this.context) {
      // iPadOS: as a music player, so that the silent switch does not mute it.
      if (navigator.audioSession) navigator.audioSession.type = "playback";
      this.context = this.makeContext();
      // A compressor would hold everything back by 6 ms; a little less of all is enough against clipping.
      this.master = this.context.createGain();
      this.master.gain.value = 0.7;
      this.master.connect(this.context.destination);
      this.context.addEventListener("statechange", () => this.dispatchEvent(new Event("change")));
    }
    if (!this.running) await this.context.resume().catch(() => undefined);
    this.dispatchEvent(new Event("change"));
    return this.running;
  }

  async disable() {
    await this.context?.suspend();
    this.#relation = null;
    this.#readings = [];
  }

  /** Keep the relation of audio time to page time fresh; called with each look ahead. */
  measure() {
    if (!this.running) return;
    const reading = this.#reading();
    const readings = this.#readings;
    // A reading is off by some blocks now and then, above all in the first tenths of a second: the median is not.
    if (readings.length >= ENOUGH && readings.slice(-3).every((old) => Math.abs(old - reading) < STEP_S) &&
        Math.abs(median(readings) - reading) > STEP_S) readings.splice(0, readings.length - 3);
    readings.push(reading);
    if (readings.length > READINGS) readings.shift();
    this.#relation = readings.length < ENOUGH ? null : median(readings);
  }

  /** Seconds of audio time minus seconds of page time, for sound as it leaves the speaker. */
  #reading() {
    const context = this.context;
    const stamp = context.getOutputTimestamp?.();
    if (stamp && stamp.performanceTime > 0 && stamp.contextTime > 0) {
      return stamp.contextTime - stamp.performanceTime / 1000;
    }
    const latency = context.outputLatency || context.baseLatency || 0;
    return context.currentTime - latency - this.now() / 1000;
  }

  /** Audio time at which to start a sound that is to be heard at page time `ms`. Null before sound runs. */
  audioTime(ms) {
    if (this.#relation === null) return null;
    return this.#relation + (ms - this.extraLatencyMs) / 1000;
  }

  /** A click at audio time `when`, `accent` 0 to 2. Returns what takes it back. */
  click(when, accent) {
    const context = this.context;
    const gain = context.createGain();
    const tone = context.createOscillator();
    tone.type = "triangle";
    tone.frequency.value = [1000, 1320, 1760][accent] ?? 1000;
    const level = Math.max(0.0001, this.clickVolume * (accent === 2 ? 1 : 0.7));
    gain.gain.setValueAtTime(0, 0);
    gain.gain.setValueAtTime(level, when);
    gain.gain.exponentialRampToValueAtTime(0.0001, when + 0.06);
    tone.connect(gain).connect(this.master);
    tone.start(when);
    tone.stop(when + 0.07);
    tone.onended = () => gain.disconnect();
    return () => {
      tone.onended = null;
      gain.disconnect();
      tone.stop();
    };
  }

  /** A note now. `key` names it for `noteOff`; drums (`channel` 9) end by themselves. */
  noteOn(key, note, velocity, channel, loudness = 1) {
    if (!this.running) return;
    this.noteOff(key);
    const level = loudness * 0.8 * (velocity / 127) ** 1.5;
    const voice = channel === 9 ? this.#drum(note, level) : this.#bell(note, level);
    if (voice) this.#held.set(key, voice);
  }

  noteOff(key) {
    const release = this.#held.get(key);
    this.#held.delete(key);
    release?.();
  }

  /** End whatever is held by keys that begin with `prefix`. */
  endAll(prefix = "") {
    for (const key of [...this.#held.keys()]) if (key.startsWith(prefix)) this.noteOff(key);
  }

  #envelope(level, seconds) {
    const gain = this.context.createGain();
    const at = this.context.currentTime;
    gain.gain.setValueAtTime(Math.max(level, 0.0001), at);
    gain.gain.exponentialRampToValueAtTime(0.0001, at + seconds);
    gain.connect(this.master);
    return gain;
  }

  #bell(note, level) {
    const context = this.context;
    const frequency = 440 * 2 ** ((note - 69) / 12);
    const gain = this.#envelope(level * 0.6, 2.5);
    const tones = [1, 2.76].map((ratio, i) => {
      const tone = context.createOscillator();
      const part = context.createGain();
      part.gain.value = i === 0 ? 1 : 0.18;
      tone.frequency.value = frequency * ratio;
      tone.connect(part).connect(gain);
      tone.start();
      tone.stop(context.currentTime + 2.6);
      return tone;
    });
    tones[0].onended = () => gain.disconnect();
    return () => {
      const at = context.currentTime;
      gain.gain.cancelScheduledValues(at);
      gain.gain.setTargetAtTime(0, at, 0.06);
      for (const tone of tones) tone.stop(at + 0.4);
    };
  }

  #drum(note, level) {
    const context = this.context;
    const at = context.currentTime;
    if (note === 35 || note === 36) {
      const tone = context.createOscillator();
      tone.frequency.setValueAtTime(150, at);
      tone.frequency.exponentialRampToValueAtTime(45, at + 0.12);
      tone.connect(this.#envelope(level, 0.3));
      tone.start();
      tone.stop(at + 0.32);
      return null;
    }
    const [type, frequency, seconds] = { 38: ["bandpass", 1800, 0.18], 39: ["bandpass", 1200, 0.14] }[note] ?? [
      "highpass", 7000, 0.07,
    ];
    const source = context.createBufferSource();
    source.buffer = this.#noiseBuffer();
    const filter = context.createBiquadFilter();
    filter.type = type;
    filter.frequency.value = frequency;
    source.connect(filter).connect(this.#envelope(level, seconds));
    source.start(at, Math.random() * 0.5, seconds + 0.02);
    return null;
  }

  #noiseBuffer() {
    if (!this.#noise) {
      const rate = this.context.sampleRate;
      this.#noise = this.context.createBuffer(1, rate, rate);
      const data = this.#noise.getChannelData(0);
      for (let i = 0; i < data.length; i++) data[i] = Math.random() * 2 - 1;
    }
    return this.#noise;
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function defaultContext() {
  const Context = window.AudioContext ?? window.webkitAudioContext;
  return new Context({ latencyHint: "interactive" });
}
