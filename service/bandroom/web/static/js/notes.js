// Notes as they travel.

/** The notes of a message, whichever way they were written; null where it is not one. */
export function readNote(message) {
  const on = message?.on !== undefined;
  const value = on ? message.on : message?.off;
  const notes = Array.isArray(value) ? value : [value];
  const { v = 96, ch = 0 } = message ?? {};
  const right = (x, low, high) => Number.isInteger(x) && x >= low && x <= high;
  if (!notes.length || notes.length > 16 || !notes.every((note) => right(note, 0, 127))) return null;
  if (!right(v, 1, 127) || !right(ch, 0, 15)) return null;
  return { on, notes, velocity: v, channel: ch };
}
