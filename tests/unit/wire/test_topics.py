"""Ids, topics and filters are built and read as the contract vectors say, and in no other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bandroom.wire.filters import parse_filter
from bandroom.wire.ids import BadId, ClientId, JoinCode, RoomId, Subject, TenantId, UserName
from bandroom.wire.topics import SHAPES, Filter, Leaf, Room, Topic, assignment, parse_topic, presence
from hypothesis import given
from hypothesis import strategies as st

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "contract" / "topics.json").read_text())
KINDS = {"tenant": TenantId, "room": RoomId, "subject": Subject, "client_id": ClientId, "user_name": UserName}

TENANTS = st.from_regex(TenantId.pattern, fullmatch=True).filter(lambda name: name != "bandroom").map(TenantId)
ROOMS = st.from_regex(RoomId.pattern, fullmatch=True).map(RoomId)
SUBJECTS = st.from_regex(Subject.pattern, fullmatch=True).map(Subject)


@st.composite
def topics(draw: st.DrawFn) -> Topic[Any]:
    """Any topic of the contract."""
    leaf = draw(st.sampled_from(Leaf))
    shape = SHAPES[leaf]
    return Topic(
        leaf,
        draw(TENANTS),
        draw(ROOMS) if shape.in_room else None,
        draw(SUBJECTS) if shape.has_subject else None,
        shape.model,
    )


@pytest.mark.rule("ID-1")
@pytest.mark.rule("ID-2")
@pytest.mark.rule("ID-3")
@pytest.mark.rule("ID-5")
@pytest.mark.rule("ID-6")
@pytest.mark.parametrize("kind", KINDS)
def test_id_vectors(kind: str) -> None:
    """Each listed id is taken or refused as listed."""
    for text in VECTORS["ids"][kind]["valid"]:
        assert KINDS[kind].parse(text) == text
    for text in VECTORS["ids"][kind]["invalid"]:
        with pytest.raises(BadId):
            KINDS[kind].parse(text)


@pytest.mark.rule("ID-1")
@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("value", [None, 7, b"lincoln", ["lincoln"], {"a": 1}, 1.5, True])
def test_what_is_no_text_is_no_id(kind: type[TenantId], value: object) -> None:
    """An id from a token or a body may be of any type; only text can be an id."""
    with pytest.raises(BadId):
        kind.parse(value)


@pytest.mark.rule("ID-1")
@given(st.sampled_from(list(KINDS.values())), st.text(max_size=60))
def test_an_id_is_ascii_or_nothing(kind: type[TenantId], text: str) -> None:
    """Whatever is taken as an id consists of letters, digits, `-`, `_` and `/` alone, and can carry no wildcard."""
    try:
        taken = kind.parse(text)
    except BadId:
        return
    assert taken.isascii()
    assert not set(taken) & set("+#$ \0\n\r\t")


@pytest.mark.rule("ID-2")
@pytest.mark.parametrize("typed", ["music-1234", " MUSIC 1234 ", "music1234", "Music_1234", "MUSIC-1234"])
def test_typed_codes_are_forgiven(typed: str) -> None:
    """People type codes in any case, with or without the dash."""
    assert JoinCode.typed(typed) == "MUSIC-1234"


@pytest.mark.rule("ID-2")
@given(st.text(max_size=40) | st.none() | st.integers())
def test_typed_codes_never_become_anything_else(typed: object) -> None:
    """Whatever is typed becomes a legal code or an error."""
    try:
        assert RoomId.pattern.fullmatch(JoinCode.typed(typed))
    except BadId:
        return


@pytest.mark.rule("ID-6")
@given(TENANTS, SUBJECTS, st.none() | st.integers(0, 9))
def test_client_ids_read_back(tenant: TenantId, sub: Subject, digit: int | None) -> None:
    """A client id names exactly one tenant, subject and digit."""
    client_id = ClientId.of(tenant, sub, digit)
    assert (client_id.tenant, client_id.subject, client_id.digit) == (tenant, sub, digit)


@pytest.mark.rule("ID-5")
@given(TENANTS, SUBJECTS, st.integers(1, 999_999_999))
def test_user_names_read_back(tenant: TenantId, sub: Subject, generation: int) -> None:
    """A user name names exactly one tenant and subject, a device's its generation, too."""
    of_device = sub[0] == "d"
    name = UserName.of(tenant, sub, generation if of_device else None)
    assert (name.tenant, name.subject, name.generation) == (tenant, sub, generation if of_device else None)
    with pytest.raises(BadId):
        UserName.of(tenant, sub, None if of_device else generation)


@pytest.mark.rule("TOP-1")
@pytest.mark.rule("TOP-2")
@pytest.mark.rule("TOP-4")
@pytest.mark.parametrize("vector", VECTORS["topics"], ids=lambda vector: vector["name"])
def test_topic_vectors(vector: dict[str, Any]) -> None:
    """Each listed topic is read as its parts, built from them, and carries its QoS and retain."""
    topic = parse_topic(vector["name"])
    assert (topic.leaf, topic.tenant, topic.room, topic.subject, topic.qos, topic.retain) == tuple(
        vector[key] for key in ("leaf", "tenant", "room", "subject", "qos", "retain")
    )
    assert topic.name == vector["name"]


@pytest.mark.rule("TOP-1")
def test_every_leaf_has_a_vector() -> None:
    """No leaf is without an example."""
    assert {vector["leaf"] for vector in VECTORS["topics"]} == set(Leaf)


@pytest.mark.rule("TOP-3")
@pytest.mark.parametrize("name", VECTORS["not_topics"])
def test_what_is_no_topic(name: str) -> None:
    """Nothing else is a topic of ours: no empty levels, no look-alikes, no wildcards, nothing longer or shorter."""
    with pytest.raises(BadId):
        parse_topic(name)


@given(topics())
def test_topics_read_back(topic: Topic[Any]) -> None:
    """Every topic that can be built reads back as itself, and as the filter that matches it alone."""
    assert parse_topic(topic.name) == topic
    assert parse_filter(topic.name) == Filter.of(topic)
    assert Filter.of(topic).matches(topic)


@given(topics(), topics())
def test_different_topics_have_different_names(one: Topic[Any], two: Topic[Any]) -> None:
    """No two topics share a name."""
    assert (one.name == two.name) == (one == two)


@pytest.mark.rule("TOP-3")
@given(topics(), st.data())
def test_one_changed_character_is_another_topic_or_none(topic: Topic[Any], data: st.DataObject) -> None:
    """A name that differs anywhere never reads as the same topic."""
    at = data.draw(st.integers(0, len(topic.name) - 1))
    put = data.draw(st.sampled_from(["", "/", "+", "#", "\0", "\n", "a", "A", "0", "-", "а"]))
    changed = topic.name[:at] + put + topic.name[at + 1 :]
    try:
        assert parse_topic(changed) != topic or changed == topic.name
    except BadId:
        return


@given(st.text(st.sampled_from("/+#$tenant_roomus-019QS{}"), max_size=80))
def test_reading_any_text_ends_well(name: str) -> None:
    """Any text is a topic, a filter, or a BadId, and what is read writes out as it was."""
    for read in (parse_topic, parse_filter):
        try:
            assert read(name).name == name
        except BadId:
            continue


@pytest.mark.rule("TOP-5")
@pytest.mark.parametrize("vector", VECTORS["filters"], ids=lambda vector: vector["name"])
def test_filter_vectors(vector: dict[str, Any]) -> None:
    """Each listed filter is read as its parts, built from them, and matches what is listed."""
    wanted = parse_filter(vector["name"])
    assert (wanted.leaf, wanted.tenant, wanted.room, wanted.subject) == tuple(
        vector[key] for key in ("leaf", "tenant", "room", "subject")
    )
    assert wanted.name == vector["name"]
    assert all(wanted.matches(parse_topic(name)) for name in vector["matches"])
    assert not any(wanted.matches(parse_topic(name)) for name in vector["misses"])


@pytest.mark.rule("TOP-5")
@pytest.mark.parametrize("name", VECTORS["not_filters"])
def test_what_is_no_filter_of_ours(name: str) -> None:
    """Filters over several leaves, and half wildcards, are none of ours."""
    with pytest.raises(BadId):
        parse_filter(name)


def test_a_room_mints_each_of_its_topics() -> None:
    """The functions that mint topics give the leaves that their names say."""
    room, sub = Room(TenantId("lincoln"), RoomId("MUSIC-1234")), Subject("d-drum-3")
    minted = [room.beat(), room.tempo(), room.info()]
    minted += [mint(sub) for mint in (room.member, room.note, room.midi, room.clock_ping, room.clock_reply)]
    minted += [mint(sub) for mint in (room.control, room.control_reply, room.feedback, room.limit)]
    minted += [presence(room.tenant, sub), assignment(room.tenant, sub)]
    assert [topic.leaf for topic in minted] == list(Leaf)
    for topic in minted:
        assert topic == parse_topic(topic.name)
        assert topic.model is SHAPES[topic.leaf].model
