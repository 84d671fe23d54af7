/** What lies further from all beats than this (µs) was not meant for any. */
const FAR_US = 1_000_000;

/**
 * By how many µs server time `t` is after (negative: before) the nearest beat or the middle between two; null where no
 * beat is near. By the map that everybody has: nobody needs to be asked.
 */
export function lateUs(map, t) {
  const before = map.beatAtOrBefore(t);
  const near = [before, map.nextBeat(t)].filter(Boolean).map((beat) => beat.t);
  if (before?.d) near.push(before.t + Math.floor(before.d / 2));
  const late = near.map((each) => t - each).sort((a, b) => Math.abs(a) - Math.abs(b))[0] ?? FAR_US;
  return Math.abs(late) < FAR_US ? late : null;
}
