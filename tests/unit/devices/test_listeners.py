"""One stream of events, several readers."""

from __future__ import annotations

from bandroom_devices.listeners import Listeners


async def test_a_reader_that_falls_behind_loses_the_oldest_and_holds_up_nobody() -> None:
    """Two readers, one slow: it gets the newest events, the other gets all."""
    listeners: Listeners[int] = Listeners()
    with listeners.reading() as quick, listeners.reading(limit=3) as slow:
        for event in range(10):
            listeners.put(event)
        assert [await quick.get() for _ in range(10)] == list(range(10))
        assert [await slow.get() for _ in range(3)] == [7, 8, 9]
        assert slow.dropped == 7
    assert not listeners
