"""The pages' topic builder against the vectors that the service's own runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "contract" / "topics.json"

SCRIPT = """
const fs = await import("node:fs");
const { topic, filter, parseTopic, publishOptions, isId, clientId, SHAPES } = await load("topics.js");
const vectors = JSON.parse(fs.readFileSync(args[0], "utf8"));
const wrong = [];
let checks = 0;
const same = (what, have, want) => {
  checks += 1;
  if (JSON.stringify(have) !== JSON.stringify(want)) {
    wrong.push(`${what}: ${JSON.stringify(have)} instead of ${JSON.stringify(want)}`);
  }
};

for (const [kind, { valid, invalid }] of Object.entries(vectors.ids)) {
  for (const value of valid) same(`${kind} ${value}`, isId(kind, value), true);
  for (const value of invalid) same(`${kind} ${JSON.stringify(value)}`, isId(kind, value), false);
}
for (const value of vectors.ids.tenant.invalid) {
  same("minting", outcome(() => topic("beat", { tenant: value, room: "MUSIC-1234" })), "BadTopic");
  same("client id", outcome(() => clientId(value, "s-a", 0)), "BadTopic");
}
for (const { name, leaf, tenant, room, subject, qos, retain } of vectors.topics) {
  same(name, topic(leaf, { tenant, room, subject }), name);
  same(name, filter(leaf, { tenant, room, subject }), name);
  same(`${name} is`, parseTopic(name), { leaf, tenant, room, subject });
  same(`${name} options`, publishOptions(leaf), { qos, retain });
}
same("leaves", Object.keys(SHAPES).filter((leaf) => !vectors.topics.some((t) => t.leaf === leaf)), []);
for (const name of vectors.not_topics) same(`not ${name}`, outcome(() => parseTopic(name)), "BadTopic");
for (const { name, leaf, tenant, room, subject, matches } of vectors.filters) {
  same(name, filter(leaf, { tenant, room, subject }), name);
  for (const match of matches) same(`${name} on ${match}`, parseTopic(match).leaf, leaf);
}
for (const name of vectors.not_filters) same(`not ${name}`, outcome(() => parseTopic(name)), "BadTopic");
return { checks, wrong };
"""


def test_topics_in_the_browser_are_those_of_the_service(js: Callable[..., Any]) -> None:
    """Every vector holds in JavaScript: ids, topic names, QoS and retain, filters, and all that is none."""
    result = js(SCRIPT, str(VECTORS))
    assert result["wrong"] == []
    assert result["checks"] > 200
