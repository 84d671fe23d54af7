"""The hand-written packets, against the standard's examples and against bytes that are no MQTT at all."""

from contextlib import suppress

import pytest
from bandroom.mqtt import packets as p
from hypothesis import given
from hypothesis import strategies as st

TOPIC = st.text(min_size=1, max_size=60).filter(lambda text: "\0" not in text)


@pytest.mark.parametrize(
    ("length", "coded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (268_435_455, "ffffff7f")],
)
def test_remaining_length_as_in_the_standard_s_table(length: int, coded: str) -> None:
    """MQTT 3.1.1, table 2.4."""
    assert p.remaining_length(length).hex() == coded


@pytest.mark.parametrize("length", [-1, 268_435_456])
def test_an_impossible_length_is_refused(length: int) -> None:
    """What four bytes cannot hold is a ValueError."""
    with pytest.raises(ValueError, match="length"):
        p.remaining_length(length)


@given(TOPIC, st.binary(max_size=20_000), st.integers(1, 65_535), st.booleans())
def test_publish_packets_come_back_as_they_went(topic: str, payload: bytes, mid: int, retain: bool) -> None:
    """Encoding and decoding are inverse, for both qualities of service, at any length."""
    name = p.string(topic)
    (zero,) = p.Decoder().feed(p.publish(name, payload))
    (one,) = p.Decoder().feed(p.publish_qos1(name, payload, mid, retain=retain))
    assert zero == p.Publish(topic, payload, 0, False, 0)
    assert one == p.Publish(topic, payload, 1, retain, mid)


@given(st.lists(st.binary(max_size=300), max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_a_stream_may_be_cut_anywhere(payloads: list[bytes], cuts: list[int]) -> None:
    """However the bytes are split on their way, the same packets come out."""
    stream = b"".join(p.publish(p.string("a/b"), payload) for payload in payloads) + p.PINGRESP + b"\x20\x02\x00\x05"
    decoder, got, at, turn = p.Decoder(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        got += decoder.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert got == [*(p.Publish("a/b", payload, 0, False, 0) for payload in payloads), p.Pong(), p.Connack(False, 5)]


@given(st.binary(max_size=200))
def test_any_bytes_give_packets_or_a_protocol_error(data: bytes) -> None:
    """A peer that talks nonsense can do no more than end the connection."""
    with suppress(p.ProtocolError):
        list(p.Decoder().feed(data))


def test_a_packet_over_the_limit_is_refused_before_it_is_stored() -> None:
    """The length is judged, not the bytes."""
    with pytest.raises(p.ProtocolError, match="at most"):
        p.Decoder().feed(b"\x30" + p.remaining_length(p.MAX_PACKET + 1))


def test_connect_as_the_standard_lays_it_out() -> None:
    """Protocol name and level 4, clean session, user name, password and Will flags, fields in order."""
    packet = p.connect("c", "u", "p", keepalive_s=10, will=("w", b"x", 1, True))
    assert packet.hex(" ") == "10 19 00 04 4d 51 54 54 04 ee 00 0a" + "".join(
        f" 00 01 {ord(letter):02x}" for letter in "cwxup"
    )
    assert p.connect("c", "u", "p", keepalive_s=10)[9] == 0xC2
