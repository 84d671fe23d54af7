// Where the pages meet the music modules: a tempo map from a message, accents, the clock's filter.

import { ClockFilter } from "./clock_filter.js";
import { TempoMap } from "./tempo_map.js";

export const makeFilter = () => new ClockFilter();

/** The map that a `tempo` message describes; throws where it contradicts itself. */
export const mapFrom = (message) => TempoMap.fromMessage(message);

/** 2 on the downbeat, 1 where a group begins, else 0. */
export const accent = (meter, pos) => meter.accent(pos);
