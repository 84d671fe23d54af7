"""The worker's hand-spelled wire forms, held to the models that define them."""

import json

import pytest
from bandroom.beats import spelling
from bandroom.beats.spelling import BadMap
from bandroom.mqtt import packets
from bandroom.music.edits import set_meter, set_tempo, start
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom.wire import messages
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.message import BadMessage
from bandroom.wire.tempo import from_message, to_message
from bandroom.wire.topics import SHAPES, Filter, Leaf, Room
from hypothesis import example, given
from hypothesis import strategies as st

KEY = ("lincoln", "MUSIC-1234")
ROOM = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))
NOW = 1_790_000_000_000_000


@given(
    st.integers(0, 2**40),
    st.integers(-1000, 10**6),
    st.integers(-8, 10**5),
    st.integers(1, 64),
    st.floats(1, 1000).map(lambda bpm: round(bpm, 3)),
    st.integers(0, 2**52),
    st.integers(0, 10**7),
)
def test_a_beat_is_spelled_as_its_model_does(rev: int, n: int, bar: int, pos: int, bpm: float, t: int, d: int) -> None:
    """The packet decodes to the beat's topic, and to the very bytes of the model."""
    (packet,) = packets.Decoder().feed(spelling.beat_packet(KEY, rev, Beat(n, bar, pos, bpm, t, d)))
    assert isinstance(packet, packets.Publish)
    assert (packet.topic, packet.qos, packet.retained) == (ROOM.beat().name, 0, False)
    assert packet.payload == messages.Beat(rev=rev, n=n, bar=bar, pos=pos, bpm=bpm, t=t, d=d).encode()


def test_the_filter_and_the_topic_are_the_contract_s() -> None:
    """The worker subscribes to `tempo` of every room, and knows a room by its `tempo` topic and no other."""
    assert (Filter(Leaf.TEMPO, None).name, SHAPES[Leaf.TEMPO].qos) == spelling.TEMPO_FILTER
    assert spelling.room_of(ROOM.tempo().name) == KEY
    for other in (ROOM.beat().name, ROOM.tempo().name + "\n", "tenant/A/music_room/MUSIC-1234/tempo", "tempo", ""):
        assert spelling.room_of(other) is None


def maps() -> list[TempoMap]:
    still = TempoMap.initial(7, NOW, 100, Meter.parse("6/8"))
    going = start(still, 8, NOW).map
    ramped = set_tempo(going, 9, NOW + 3_000_000, 160, "bar", ramp="time", over=8).map
    odd = set_meter(
        start(TempoMap.initial(7, NOW, 90, Meter.parse("4/4")), 8, NOW).map, 9, NOW, Meter.parse("7/8:2+2+3")
    ).map
    return [still, going, ramped, odd]


@pytest.mark.parametrize("tempo_map", maps(), ids=lambda m: f"rev {m.rev}, {len(m.seg)} segments")
def test_maps_are_read_as_their_model_reads_them(tempo_map: TempoMap) -> None:
    """Bytes and text of a map give a map of the same revision and the same beats."""
    payload = to_message(tempo_map).encode()
    assert spelling.tempo_map(payload) == spelling.tempo_map(payload.decode())
    assert_same(spelling.tempo_map(payload), tempo_map)


def assert_same(ours: TempoMap, theirs: TempoMap) -> None:
    assert (ours.rev, ours.met) == (theirs.rev, theirs.met)
    assert [ours.beat(n) for n in range(-9, 40)] == [theirs.beat(n) for n in range(-9, 40)]
    for segment in theirs.seg:
        for t_us in (segment.t - 1, segment.t, segment.t + 1_000_000):
            assert ours.next_beat(t_us) == theirs.next_beat(t_us)
            assert ours.running_at(t_us) == theirs.running_at(t_us)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 8000)
@example(b"x" * 9000)
@example(b'{"rev":NaN,"seg":[],"met":[]}')
@example(b'{"rev":1e30,"seg":[{}],"met":[{}]}')
@example(b'{"rev":1,"seg":{"k":0},"met":[1]}')
@example(b'{"rev":1' + b"0" * 7000 + b',"seg":[],"met":[]}')
def test_anything_else_is_a_bad_map(payload: bytes) -> None:
    """Random bytes and random JSON raise BadMap and nothing else."""
    with pytest.raises(BadMap):
        spelling.tempo_map(payload)


@given(st.data())
def test_a_damaged_map_is_refused_or_read_as_the_model_reads_it(data: st.DataObject) -> None:
    """Any one field of a real map replaced by anything: never a third opinion beside the model's."""
    value = json.loads(to_message(data.draw(st.sampled_from(maps()))).encode())
    part = data.draw(st.sampled_from([value, value["seg"][0], value["met"][0]]))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    payload = json.dumps(value).encode()
    try:
        ours = spelling.tempo_map(payload)
    except BadMap:
        return  # stricter than the model is allowed: the service never says such a thing
    try:
        theirs = from_message(messages.Tempo.decode(payload))
    except BadMessage:
        pytest.fail(f"the model refuses what the worker takes: {payload!r}")
    assert_same(ours, theirs)


def test_each_room_has_one_worker_and_shares_are_even() -> None:
    """Every room belongs to exactly one of N workers, and none has more than twice its part."""
    keys = [(f"school-{i % 30}", f"MUSIC-{i:04d}") for i in range(3000)]
    for count in (1, 2, 3, 7):
        shares = [[key for key in keys if spelling.serves(key, index, count)] for index in range(count)]
        assert sorted(key for share in shares for key in share) == sorted(keys)
        assert max(map(len, shares)) < 2 * len(keys) / count + 1
