"""Clock pings and their replies."""

import pytest
from bandroom.wire.messages import ClockReply
from bandroom_devices.exchange import ClockExchange, Sample, fresh_nonce


def exchange(nonce: str = "abcdefgh") -> ClockExchange:
    return ClockExchange(lambda: nonce)


def test_a_reply_is_matched_by_number_with_the_send_time_kept_here() -> None:
    """The wire carries no client time: t1 comes from the device's own list."""
    clock = exchange()
    first, second = clock.ping(1_000), clock.ping(31_000)
    assert clock.reply(ClockReply("abcdefgh", second.seq, 9_000_000), 33_000) == Sample(
        31_000, 9_000_000, 9_000_000, 33_000
    )
    late = clock.reply(ClockReply("abcdefgh", first.seq, 8_999_000), 34_000)
    assert late is not None
    assert late.round_trip_us == 33_000


@pytest.mark.rule("CLK-4")
@pytest.mark.parametrize("nonce", ["abcdefgH", "xxxxxxxx"])
def test_a_reply_with_another_nonce_is_ignored(nonce: str) -> None:
    """A second connection of the same subject, or an earlier life, cannot mix its replies in."""
    clock = exchange()
    ping = clock.ping(0)
    assert clock.reply(ClockReply(nonce, ping.seq, 5), 10) is None


def test_a_doubled_reply_counts_once() -> None:
    """While a token is renewed both connections hear the reply."""
    clock = exchange()
    ping = clock.ping(0)
    assert clock.reply(ClockReply("abcdefgh", ping.seq, 5), 10) is not None
    assert clock.reply(ClockReply("abcdefgh", ping.seq, 5), 11) is None


def test_a_very_late_reply_is_ignored() -> None:
    """The sequence number wraps after 256 pings; a reply from before cannot be taken for a new one."""
    clock = exchange()
    ping = clock.ping(0)
    assert clock.reply(ClockReply("abcdefgh", ping.seq, 5), 6_000_000) is None


def test_sequence_numbers_wrap_and_stay_in_two_hex_digits() -> None:
    """300 pings are all legal messages of 28 characters."""
    clock = exchange(fresh_nonce())
    assert {len(clock.ping(n).encode()) for n in range(300)} == {28}
