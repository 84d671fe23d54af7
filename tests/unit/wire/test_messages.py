"""Payloads: what is valid travels unchanged, what is not is a BadMessage, and nothing else ever comes out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from bandroom.wire import messages as m
from bandroom.wire.instruments import INSTRUMENTS
from bandroom.wire.message import MAX_PAYLOAD, BadMessage
from bandroom.wire.topics import SHAPES
from hypothesis import given, settings
from hypothesis import strategies as st

MODELS: list[Any] = sorted({shape.model for shape in SHAPES.values()}, key=lambda model: model.__name__)
BEAT = {"rev": 7, "n": 0, "bar": 1, "pos": 1, "bpm": 120.0, "t": 10**15, "d": 500_000}
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**30, -(10**30), 2**53, -1])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(
    ["rev", "n", "bar", "pos", "bpm", "t", "d", "seg", "met", "on", "off", "cmd", "id", "name", "ms"]
)


def decode_or_drop(model: Any, payload: bytes) -> Any | None:
    """The message, or None for a BadMessage; anything else fails the test."""
    try:
        return model.decode(payload)
    except BadMessage:
        return None


@pytest.mark.rule("MSG-1")
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=30)
@given(payload=st.binary(max_size=200))
def test_random_bytes(model: Any, payload: bytes) -> None:
    """Random bytes become a message that encodes, or a BadMessage."""
    message = decode_or_drop(model, payload)
    if message is not None:
        assert decode_or_drop(model, message.encode()) == message


@pytest.mark.rule("MSG-1")
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=30)
@given(value=st.dictionaries(KEYS | st.text(max_size=5), JSON_VALUES, max_size=8) | JSON_VALUES)
def test_random_json(model: Any, value: Any) -> None:
    """Well-formed JSON of any content becomes a message that survives a round trip, or a BadMessage."""
    message = decode_or_drop(model, json.dumps(value).encode())
    if message is not None:
        assert decode_or_drop(model, message.encode()) == message


@pytest.mark.rule("MSG-1")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[" * 8000,
        b'{"a":' * 1600,
        b"\xff\xfe",
        b"nul",
        b"NaN",
        b"1e999",
        b"[]",
        b'""',
        b"\0" * 100,
        b"{}" + b" " * MAX_PAYLOAD,
    ],
    ids=lambda payload: payload[:6].hex(),
)
def test_nasty_payloads(model: Any, payload: bytes) -> None:
    """Deep, cut, empty, huge and foreign payloads are BadMessages (an empty assignment alone means: none)."""
    message = decode_or_drop(model, payload)
    assert message is None or (payload == b"" and message == m.Assignment(None))


@pytest.mark.rule("MSG-2")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rev", -1),
        ("rev", 2**53),
        ("rev", "7"),
        ("rev", 7.5),
        ("rev", True),
        ("rev", None),
        ("n", 10**30),
        ("pos", 0),
        ("bpm", 0),
        ("bpm", -120),
        ("bpm", float("nan")),
        ("bpm", float("inf")),
        ("t", -1),
        ("t", 1e15),
        ("d", -5),
        ("d", []),
    ],
)
def test_fields_out_of_range(field: str, value: Any) -> None:
    """Wrong types, NaN, negative and enormous numbers are refused, and the error names the field."""
    assert m.Beat.decode(json.dumps(BEAT).encode()).n == 0
    with pytest.raises(BadMessage) as caught:
        m.Beat.decode(json.dumps({**BEAT, field: value}).encode())
    # NaN and infinity are no JSON: there the place cannot be named.
    assert field in str(caught.value) or str(value) in ("nan", "inf")


@pytest.mark.rule("MSG-3")
def test_unknown_fields_are_ignored() -> None:
    """A later version may add fields."""
    assert m.Beat.decode(json.dumps({**BEAT, "later": {"a": 1}}).encode()) == m.Beat.decode(json.dumps(BEAT).encode())


@pytest.mark.rule("MSG-3")
@pytest.mark.parametrize("field", BEAT)
def test_missing_fields_are_refused(field: str) -> None:
    """A beat has all of its fields."""
    with pytest.raises(BadMessage):
        m.Beat.decode(json.dumps({key: value for key, value in BEAT.items() if key != field}).encode())


@pytest.mark.rule("MSG-1")
def test_json_is_compact() -> None:
    """No blanks, and no fields that say nothing."""
    assert m.Note(on=60).encode() == b'{"on":60,"v":96,"ch":0}'
    assert b" " not in m.Beat.decode(json.dumps(BEAT).encode()).encode()


@pytest.mark.rule("MSG-4")
@pytest.mark.parametrize(
    "value", [{"on": 60}, {"on": [60, 64, 67]}, {"off": 60}, {"off": [60]}, {"t": 5, "on": 1, "v": 127}]
)
def test_notes(value: dict[str, Any]) -> None:
    """A note message begins or ends one note or several."""
    assert m.Note.decode(json.dumps(value).encode()).notes


@pytest.mark.rule("MSG-4")
@pytest.mark.parametrize(
    "value",
    [
        {},
        {"on": 60, "off": 60},
        {"on": []},
        {"on": 128},
        {"on": -1},
        {"on": 60, "v": 0},
        {"on": 60, "ch": 16},
        {"on": "60"},
        {"on": list(range(17))},
        {"on": True},
    ],
)
def test_no_notes(value: dict[str, Any]) -> None:
    """Neither, both, none, too many or impossible notes are refused."""
    with pytest.raises(BadMessage):
        m.Note.decode(json.dumps(value).encode())


@pytest.mark.rule("MSG-5")
@given(st.binary(max_size=4))
def test_midi_is_one_channel_message(payload: bytes) -> None:
    """Exactly one MIDI channel message, 2 or 3 bytes, its status byte in place, passes."""
    kind = payload[0] >> 4 if payload else 0
    length = 2 if kind in (0xC, 0xD) else 3
    good = 0x8 <= kind <= 0xE and len(payload) == length and max(payload[1:]) < 0x80
    assert (decode_or_drop(m.Midi, payload) is not None) == good


@pytest.mark.rule("CLK-1")
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=8), st.integers(0, 255))
def test_clock_pings_are_28_characters(nonce: str, seq: int) -> None:
    """A ping is 8 characters, 2 hex digits and 16 zeros; its reply has the time in the zeros' place."""
    ping = m.ClockPing(nonce, seq)
    assert ping.encode() == f"{nonce} {seq:02x} {'0' * 16}".encode()
    assert len(ping.encode()) == 28
    reply = m.ClockReply.decode(ping.encode()[:12] + b"1763851231123456")
    assert (reply.nonce, reply.seq, reply.t) == (nonce, seq, 1763851231123456)


@pytest.mark.rule("CLK-1")
@pytest.mark.parametrize(
    "payload", [b"", b"abcdefgh 0f " + b"0" * 15, b"abcdefgh 0F " + b"0" * 16, b"abcdefg\xff 0f " + b"0" * 16]
)
def test_clock_messages_of_another_form_are_refused(payload: bytes) -> None:
    """Nothing else is a clock message."""
    for model in (m.ClockPing, m.ClockReply):
        assert decode_or_drop(model, payload) is None


@pytest.mark.rule("PRES-1")
def test_presence_has_three_words() -> None:
    """`ready`, `disconnected` and `lost`, with the connection's digit."""
    for state in ("ready", "disconnected", "lost"):
        for digit in range(10):
            assert m.Presence.decode(f"{state} {digit}".encode()).digit == digit
    for wrong in (b"", b"ready", b"ready 10", b"ready  1", b"READY 1", b"gone 1", b"ready 1\n", "ready ١".encode()):
        assert decode_or_drop(m.Presence, wrong) is None


@pytest.mark.rule("PRES-4")
def test_ready_may_say_how_far_off_the_clock_is() -> None:
    """Whole µs from 1 to 9,999,999 behind `ready`, and behind no other word; without it nothing is claimed."""
    for error_us in (1, 850, m.MAX_ERROR_US):
        said = m.Presence.decode(f"ready 3 {error_us}".encode())
        assert (said.state, said.digit, said.error_us) == ("ready", 3, error_us)
        assert said.encode() == f"ready 3 {error_us}".encode()
    assert m.Presence.decode(b"ready 3").error_us is None
    for wrong in ("lost 0 5", "disconnected 0 5", "ready 0 0", "ready 0 01", "ready 0 10000000", "ready 0 -1",
                  "ready 0 1.5", "ready 0 ", "ready 0 1 ", "ready 0 1 2", "ready 0 ١", "ready  5"):  # fmt: skip
        assert decode_or_drop(m.Presence, wrong.encode()) is None, wrong
    for state, error_us in (("lost", 5), ("ready", 0), ("ready", m.MAX_ERROR_US + 1)):
        with pytest.raises(BadMessage):
            m.Presence(state, 0, error_us)  # type: ignore[arg-type]


@pytest.mark.rule("PRES-6")
def test_ready_may_say_what_is_played() -> None:
    """A word of the list behind `ready`, its error bound or not; one that a later list may have is `other`; anything
    else is no presence, and no other text can come onto a roster by this way.
    """
    for text, error_us, instrument in (("ready 3 drums", None, "drums"), ("ready 3 850 bells", 850, "bells")):
        said = m.Presence.decode(text.encode())
        assert (said.state, said.digit, said.error_us, said.instrument) == ("ready", 3, error_us, instrument)
        assert said.encode() == text.encode()
    for word in INSTRUMENTS:
        assert m.Presence.decode(f"ready 0 {word}".encode()).instrument == word
        assert re.fullmatch("[a-z]{1,10}", word)
    assert m.Presence.decode(b"ready 0 theremin").instrument == "other"
    for wrong in ("lost 0 drums", "disconnected 0 drums", "ready 0 Drums", "ready 0 drums 850", "ready 0 drums bells",
                  "ready 0 drums ", "ready 0  drums", "ready 0 glockenspiel", "ready 0 dr\u00fcms", "ready drums",
                  "ready 0 <b>", "ready 0 850drums"):  # fmt: skip
        assert decode_or_drop(m.Presence, wrong.encode()) is None, wrong
    for state, instrument in (("lost", "drums"), ("ready", "theremin"), ("ready", "")):
        with pytest.raises(BadMessage):
            m.Presence(state, 0, None, instrument)  # type: ignore[arg-type]
    line = {"name": "Ann", "kind": "student", "state": "ready", "since": 1}
    assert m.Member.decode(json.dumps(line).encode()).instrument is None
    assert m.Member.decode(json.dumps({**line, "instrument": "harp"}).encode()).instrument == "harp"
    assert decode_or_drop(m.Member, json.dumps({**line, "instrument": "rude word"}).encode()) is None


@pytest.mark.rule("MSG-6")
@pytest.mark.parametrize("name", ["", "a" * 41, "a\nb", "a\u202eb", "a\u200bb", "\x00", "\x7f"])
def test_names_for_people_have_no_invisible_characters(name: str) -> None:
    """A nickname can neither be empty nor long, nor hide or turn the text around it."""
    with pytest.raises(BadMessage):
        m.Member.decode(json.dumps({"name": name, "kind": "student", "state": "ready", "since": 1}).encode())


@pytest.mark.rule("CMD-1")
@pytest.mark.parametrize(
    "value",
    [
        {"id": "1", "cmd": "start"},
        {"id": "1", "cmd": "stop", "at": "now", "exp": 10},
        {"id": "1", "cmd": "continue", "at": 12},
        {"id": "1", "cmd": "set_tempo", "bpm": 90.5, "at": "bar"},
        {"id": "1", "cmd": "tap"},
        {"id": "1", "cmd": "set_meter", "meter": "7/8:2+2+3"},
        {"id": "1", "cmd": "mute"},
        {"id": "1", "cmd": "unmute", "who": "s-7f3k2"},
        {"id": "1", "cmd": "kick", "who": "s-7f3k2"},
        {"id": "1", "cmd": "lock"},
        {"id": "1", "cmd": "unlock"},
        {"id": "1", "cmd": "rename", "name": "Room"},
        {"id": "1", "cmd": "reset_name", "who": "s-7f3k2"},
        {"id": "1", "cmd": "assign_device", "device": "d-drum-3"},
        {"id": "1", "cmd": "new_code"},
        {"id": "1", "cmd": "close"},
        {"id": "1", "cmd": "reopen"},
    ],
    ids=lambda value: value["cmd"],
)
def test_every_command_has_a_form(value: dict[str, Any]) -> None:
    """Each command of the protocol is read."""
    assert m.Command.decode(json.dumps(value).encode()).root.cmd == value["cmd"]


@pytest.mark.rule("CMD-1")
@pytest.mark.parametrize(
    "value",
    [
        {"cmd": "start"},
        {"id": "1"},
        {"id": "", "cmd": "start"},
        {"id": "1", "cmd": "format_disk"},
        {"id": "1", "cmd": "set_tempo"},
        {"id": "1", "cmd": "set_tempo", "bpm": 19.9},
        {"id": "1", "cmd": "set_tempo", "bpm": 400.1},
        {"id": "1", "cmd": "start", "at": "soon"},
        {"id": "1", "cmd": "start", "at": 1.5},
        {"id": "1", "cmd": "kick"},
        {"id": "1", "cmd": "assign_device", "device": "d-"},
        {"id": "1", "cmd": ["start"]},
        {"id": "x" * 65, "cmd": "start"},
    ],
    ids=str,
)
def test_no_command(value: dict[str, Any]) -> None:
    """Unknown commands and arguments out of range are refused with the field's name."""
    with pytest.raises(BadMessage):
        m.Command.decode(json.dumps(value).encode())
