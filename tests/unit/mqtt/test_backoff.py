"""Waits between tries: the contract's numbers, without waiting."""

from itertools import pairwise
from random import Random

import pytest
from bandroom.mqtt import Backoff
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 2**32))
def test_the_first_wait_is_soon_and_the_others_double_up_to_five_seconds(seed: int) -> None:
    """First 50 to 200 ms, then each from a doubled interval, never over 5 s, whatever the jitter."""
    backoff = Backoff(rng=Random(seed))
    waits = [backoff.next_delay_s() for _ in range(40)]
    for tries, wait in enumerate(waits):
        assert min(5.0, 0.05 * 2**tries) <= wait <= min(5.0, 0.2 * 2**tries)
    assert waits[-1] == 5.0


def test_a_connection_that_held_starts_afresh_and_one_that_did_not_goes_on_doubling() -> None:
    """Two clients that throw each other out slow down; after a connection of two seconds the waits begin anew."""
    backoff = Backoff(rng=Random(1))
    for _ in range(10):
        backoff.next_delay_s()
        backoff.connected_for(0.1)
    assert backoff.next_delay_s() == 5.0
    backoff.connected_for(2.0)
    assert backoff.next_delay_s() <= 0.2


def test_clients_that_failed_together_do_not_return_together() -> None:
    """A thousand clients' first waits are spread over the whole interval."""
    waits = sorted(Backoff(rng=Random(seed)).next_delay_s() for seed in range(1000))
    assert waits[0] < 0.052
    assert waits[-1] > 0.198
    assert max(b - a for a, b in pairwise(waits)) < 0.005


def test_an_impossible_interval_is_refused() -> None:
    """The bounds must be in order."""
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first_s=(0.3, 0.2))
