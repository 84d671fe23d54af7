// Where the pages meet the music modules: a tempo map from a message, accents, the clock's filter.

import { ClockFilter } from "./clock_filter.js";
import { TempoMap } from "./tempo_map.js";

/** The step of performance.now() in µs, which browsers coarsen by 5 µs to 1 ms: the least that it moves by. */
function resolutionUs() {
  let finest = 1_000;
  for (let i = 0; i < 4; i++) {
    const from = performance.now();
    let to = from;
    while (to === from) to = performance.now();
    finest = Math.min(finest, (to - from) * 1000);
  }
  return finest;
}

const RESOLUTION_US = resolutionUs();

export const makeFilter = () => new ClockFilter({ resolutionUs: RESOLUTION_US });

/** The map that a `tempo` message describes; throws where it contradicts itself. */
export const mapFrom = (message) => TempoMap.fromMessage(message);

/** 2 on the downbeat, 1 where a group begins, else 0. */
export const accent = (meter, pos) => meter.accent(pos);
