// Hears what the page sends to the speaker: tells the context time (s) of each onset after 40 ms of quiet.
class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.quietSince = 0;
  }

  process([input]) {
    const channel = input[0];
    if (channel) {
      for (let i = 0; i < channel.length; i++) {
        const frame = currentFrame + i;
        if (Math.abs(channel[i]) > 0.02) {
          if (frame - this.quietSince > 0.04 * sampleRate) this.port.postMessage(frame / sampleRate);
          this.quietSince = frame;
        }
      }
    }
    return true;
  }
}
registerProcessor("tap", Tap);
