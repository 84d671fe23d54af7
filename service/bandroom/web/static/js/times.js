// Times as people say them.

const MINUTE_US = 60_000_000;
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** A moment in the past, `ms` by this device's wall clock: the hour, and the day if it was not today. */
export function agoText(ms, nowMs = Date.now()) {
  const then = new Date(ms);
  const today = new Date(nowMs).toDateString() === then.toDateString();
  return today ? clock(ms) : `${then.toLocaleDateString([], { weekday: "long" })}, ${clock(ms)}`;
}

/** What is said of a room that is to be closed at server time `at`, both µs. */
export function closingText(at, now) {
  const minutes = Math.max(1, Math.ceil((at - now) / MINUTE_US));
  return `No pupil or instrument has been here for a while: the room is closed at ${clock(at / 1000)}, in ${minutes} min.`;
}
