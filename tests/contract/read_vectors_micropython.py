# Runs tempo.json and clock.json against the boards' modules; prints how many answers it compared.
#   micropython read_vectors_micropython.py <folder of the package> <folder of the vectors>

import json
import sys

sys.path.insert(0, sys.argv[1])
VECTORS = sys.argv[2]

from bandroom.clock_filter import ClockFilter  # noqa: E402
from bandroom.tempo_map import TempoMap  # noqa: E402

compared = 0


def near(got, want, slack, *what):
    global compared
    compared += 1
    same = got is want if want is None or got is None else abs(got - want) <= slack
    if not same:
        print(" ".join(str(w) for w in what) + f": {got!r}, not {want!r}")
        sys.exit(1)


def read(name):
    with open(VECTORS + "/" + name + ".json") as file:
        return json.load(file)


for i, c in enumerate(read("tempo")):
    m = TempoMap(c["map"])
    for a in c["at"]:
        t = a["t"]
        following, last = m.next_beat(t), m.beat_at_or_before(t)
        near(m.position_at(t), a["k"], 1e-5 + abs(m.position_at(t + 1) - m.position_at(t)), "tempo", i, "position", t)
        near(int(m.running_at(t)), int(a["running"]), 0, "tempo", i, "running", t)
        near(m.bpm_at(t), a["bpm"], 0.0011, "tempo", i, "bpm", t)
        near(following and following[0], a["next"], 0, "tempo", i, "next", t)
        near(last and last[0], a["last"], 0, "tempo", i, "last", t)
    for b in c["beats"]:
        got = m.beat(b["n"])
        for j, (name, slack) in enumerate((("n", 0), ("bar", 0), ("pos", 0), ("bpm", 0.0011), ("t", 1), ("d", 2))):
            near(got[j], b[name], slack, "tempo", i, "beat", b["n"], name)
    for n in c["none"]:
        near(m.beat(n), None, 0, "tempo", i, "beat", n)
    for x in c["times"]:
        near(m.time_at(x["k"]), x["t"], 1, "tempo", i, "time of", x["k"])

for c in read("clock"):
    clock = ClockFilter(resolution_us=c["resolution_us"])
    added = 0
    for a in c["asked"]:
        while added < a["after"]:
            clock.add(*c["exchanges"][added])
            added += 1
        what = ("clock", c["link"], "after", a["after"])
        near(clock.offset_at(a["t"]), a["offset"], 1, "offset", *what)
        near(clock.bound_at(a["t"]), a["bound"], 1, "bound", *what)
        near(clock.skew_ppm, a["skew_ppm"], 0.01, "skew", *what)
        near(clock.restarts, a["restarts"], 0, "restarts", *what)
        near(clock.ignored, a["ignored"], 0, "ignored", *what)
print(compared)
