// Runs tempo.json and clock.json against the browser's modules; prints how many answers it compared.
//   node read_vectors.mjs <folder of the modules> <folder of the vectors>
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, vectors] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${modules}/${name}.js`));
const read = (name) => JSON.parse(readFileSync(`${vectors}/${name}.json`, "utf8"));
const { TempoMap } = await load("tempo_map");
const { ClockFilter } = await load("clock_filter");

let compared = 0;
const near = (got, want, slack, what) => {
  compared += 1;
  const same = want === null || got === null ? got === want : Math.abs(got - want) <= slack;
  if (!same) throw new Error(`${what()}: ${got}, not ${want}`);
};

for (const [i, c] of read("tempo").entries()) {
  const map = TempoMap.fromMessage(c.map);
  for (const a of c.at) {
    const what = (name) => () => `tempo ${i}: ${name} at ${a.t}`;
    near(map.positionAt(a.t), a.k, 1e-5 + Math.abs(map.positionAt(a.t + 1) - map.positionAt(a.t)), what("position"));
    near(Number(map.runningAt(a.t)), Number(a.running), 0, what("running"));
    near(map.bpmAt(a.t), a.bpm, 0.0011, what("bpm"));
    near(map.nextBeat(a.t)?.n ?? null, a.next, 0, what("next beat"));
    near(map.beatAtOrBefore(a.t)?.n ?? null, a.last, 0, what("last beat"));
  }
  for (const b of c.beats) {
    const got = map.beat(b.n);
    for (const [name, slack] of Object.entries({ n: 0, bar: 0, pos: 0, bpm: 0.0011, t: 1, d: 2 })) {
      near(got[name], b[name], slack, () => `tempo ${i}: ${name} of beat ${b.n}`);
    }
  }
  for (const n of c.none) near(map.beat(n), null, 0, () => `tempo ${i}: beat ${n}`);
  for (const { k, t } of c.times) near(map.timeAt(k), t, 1, () => `tempo ${i}: time of ${k}`);
}

for (const c of read("clock")) {
  const clock = new ClockFilter({ resolutionUs: c.resolution_us });
  let added = 0;
  for (const a of c.asked) {
    while (added < a.after) clock.add(...c.exchanges[added++]);
    const what = (name) => () => `clock, ${c.link}: ${name} after ${a.after} at ${a.t}`;
    near(clock.offsetAt(a.t), a.offset, 1, what("offset"));
    near(clock.boundAt(a.t), a.bound, 1, what("bound"));
    near(clock.skewPpm, a.skew_ppm, 0.01, what("skew"));
    near(clock.restarts, a.restarts, 0, what("restarts"));
    near(clock.ignored, a.ignored, 0, what("ignored"));
  }
}
console.log(compared);
