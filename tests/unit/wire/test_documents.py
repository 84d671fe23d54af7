"""The documents of the protocol say what the code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bandroom.wire import packet_size, schema
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.instruments import INSTRUMENTS
from bandroom.wire.topics import SHAPES, Leaf

ROOT = Path(__file__).parents[3]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def test_schemas_and_asyncapi_are_up_to_date() -> None:
    """docs/schemas and docs/asyncapi.yaml are what the models give."""
    assert schema.stale(ROOT / "docs") == []


def test_a_stale_schema_is_seen(tmp_path: Path) -> None:
    """The check names what is missing, changed or surplus."""
    for path, text in schema.files().items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert schema.stale(tmp_path) == []
    (tmp_path / "schemas" / "beat.json").write_text("{}")
    (tmp_path / "schemas" / "old.json").write_text("{}")
    (tmp_path / "asyncapi.yaml").unlink()
    assert {Path(line.split()[0]).name for line in schema.stale(tmp_path)} == {"beat.json", "old.json", "asyncapi.yaml"}


@pytest.mark.parametrize("leaf", Leaf)
def test_patterns_in_schemas_are_the_models_own(leaf: Leaf) -> None:
    """Patterns of payloads that are no JSON are those that the models take."""
    found: dict[str, Any] = schema.payload_schema(SHAPES[leaf].model)
    samples = {
        "Presence": "ready 0",
        "Assignment": "MUSIC-1234",
        "ClockPing": "abcdefgh 0f " + "0" * 16,
        "ClockReply": "abcdefgh 0f 1763851231123456",
        "Midi": "\x90\x3c\x60",
    }
    if found.get("type") == "string":
        text = samples[found["title"]]
        assert re.search(found["pattern"], text)
        SHAPES[leaf].model.decode(text.encode("latin-1"))
    else:
        assert json.dumps(found)


@pytest.mark.rule("PRES-6")
def test_the_list_of_instruments_is_the_one_there_is() -> None:
    """The words in docs/protocol.md are those that the models take, all of them."""
    told = PROTOCOL.partition("**PRES-6**")[2].partition("; another word")[0].partition("one of")[2]
    assert tuple(re.findall(r"`([a-z]+)`", told)) == INSTRUMENTS


@pytest.mark.rule("SIZE-1")
def test_packets_fit_small_buffers() -> None:
    """256 bytes hold every packet of a board at the longest names; 128 all but the beat at ordinary ones."""
    assert max(size for _, size in packet_size.sizes(packet_size.LONGEST)) <= 256
    ordinary = dict(packet_size.sizes(packet_size.ORDINARY))
    assert ordinary.pop("received: beat") <= 140
    assert max(ordinary.values()) <= 128


@pytest.mark.rule("SIZE-1")
def test_the_names_of_the_table_are_what_it_says() -> None:
    """The longest names are the longest: one letter more is refused."""
    longest = packet_size.LONGEST
    assert (len(packet_size.ORDINARY.tenant), len(packet_size.ORDINARY.subject)) == (8, 9)
    for kind, name in ((TenantId, longest.tenant), (RoomId, "A" + longest.room), (Subject, longest.subject)):
        with pytest.raises(ValueError, match=kind.kind):
            kind(f"{name}a" if kind is not RoomId else name)


@pytest.mark.rule("SIZE-1")
def test_the_packet_table_is_up_to_date() -> None:
    """docs/protocol.md shows the computed table."""
    shown = PROTOCOL.partition("<!-- packets -->\n")[2].partition("<!-- /packets -->")[0]
    assert shown.strip() == packet_size.table().strip()


@pytest.mark.rule("TOP-2")
@pytest.mark.rule("TOP-4")
def test_the_topic_table_is_the_code() -> None:
    """The table of topics has each leaf with its QoS, retain and payload."""
    rows = re.findall(
        r"^\| `([^`]+)` \|.*\| ([01]) \| (yes|no) \| \[.*\]\(schemas/([a-z-]+)\.json\).*\|$", PROTOCOL, re.M
    )
    shown = {name: (int(qos), retain == "yes", model) for name, qos, retain, model in rows}
    wanted = {
        "/".join(shape.levels).replace("{sub}", "<sub>"): (
            shape.qos,
            shape.retain,
            re.sub(r"(?<=[a-z])(?=[A-Z])", "-", shape.model.__name__).lower(),
        )
        for shape in SHAPES.values()
    }
    assert shown == wanted


def test_the_check_sees_a_rule_without_a_test_and_a_marker_without_a_rule(tmp_path: Path) -> None:
    """The script that holds rules and tests together fails on either fault."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    script = tmp_path / "scripts" / "check_protocol.py"
    script.write_text((ROOT / "scripts" / "check_protocol.py").read_text())
    test, protocol = tmp_path / "tests" / "test_a.py", tmp_path / "docs" / "protocol.md"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)

    protocol.write_text("- **A-1** one\n- **A-2** two\n")
    test.write_text('@pytest.mark.rule("A-1")\ndef test_a(): ...\n\n@pytest.mark.rule("A-2")\ndef test_b(): ...\n')
    assert run().returncode == 0
    test.write_text('@pytest.mark.rule("A-1")\n@pytest.mark.rule("B-1")\ndef test_a(): ...\n')
    done = run()
    assert done.returncode == 1
    assert "A-2 has no test" in done.stderr
    assert "test_a.py::test_a names B-1" in done.stderr
