"""The table of rights, asked of the gate in C and of the Python policy: one file of vectors, one answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bandroom.wire.gate_log import parse_body
from bandroom.wire.gate_state import GateState
from bandroom.wire.ids import Role
from bandroom.wire.policy import Client, Deliver, Publish, Subscribe, judge

VECTORS = json.loads((Path(__file__).parents[1] / "contract" / "policy.json").read_text())
CASES: list[dict[str, Any]] = VECTORS["cases"]
RULES = sorted({check["rule"] for case in CASES for check in case["checks"]})


def driver_lines(case: dict[str, Any]) -> list[str]:
    client = case["client"]
    room = client["room"] or "-"
    who = f"{client['role']} {client['tenant']} {client['sub']} {room} {client['client_id']} {int(client['local'])}"
    checks = [f"{c['do']} {c['qos']} {int(c['retain'])} {c['topic']}" for c in case["checks"]]
    return ["reset", *(f"log {entry}" for entry in case["log"]), f"client {who}", *checks]


@pytest.fixture(scope="session")
def answers_of_gate(gate_build: Path) -> list[list[bool]]:
    """The gate's verdicts on all checks of all cases, asked in one run of the driver."""
    lines = [line for case in CASES for line in driver_lines(case)]
    run = subprocess.run(
        [gate_build / "policy_driver"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
    )
    said = [word == "allow" for word in run.stdout.split()]
    assert len(said) == sum(len(case["checks"]) for case in CASES)
    found: list[list[bool]] = []
    for case in CASES:
        found.append(said[: len(case["checks"])])
        said = said[len(case["checks"]) :]
    return found


def answers_of_python(case: dict[str, Any]) -> list[bool]:
    state = GateState().apply_all(parse_body(entry) for entry in case["log"])
    of = case["client"]
    client = Client(Role(of["role"]), of["tenant"], of["sub"], of["room"], of["client_id"], of["local"])
    said: list[bool] = []
    for check in case["checks"]:
        match check["do"]:
            case "publish":
                request = Publish(check["topic"], check["qos"], check["retain"])
            case "subscribe":
                request = Subscribe(check["topic"], check["qos"])
            case _:
                request = Deliver(check["topic"])
        said.append(bool(judge(state, client, request)))
    return said


def compare(case: dict[str, Any], said: list[bool]) -> None:
    wrong = [
        f"{c['do']} {c['topic']} qos {c['qos']} retain {c['retain']}: {got}, rule {c['rule']}"
        for c, got in zip(case["checks"], said, strict=True)
        if got is not c["allow"]
    ]
    assert not wrong, f"{len(wrong)} of {len(said)}:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
def test_gate(number: int, answers_of_gate: list[list[bool]]) -> None:
    """The gate gives the vectors' answers."""
    compare(CASES[number], answers_of_gate[number])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_python(case: dict[str, Any]) -> None:
    """The Python policy gives the vectors' answers."""
    compare(case, answers_of_python(case))
