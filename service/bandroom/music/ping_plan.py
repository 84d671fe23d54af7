"""When a device asks for the time: in bursts, at once on joining, then ever more rarely."""

from typing import Final

BURST: Final = 8
STEP_US: Final = 30_000
"""Between two pings of a burst: the first one wakes a sleeping radio, the others go through."""
_PACE = ((10_000_000, 1_000_000), (60_000_000, 2_000_000))
_STEADY_US = 10_000_000
_JITTERY_US = 2_000_000
JITTERY_BOUND_US: Final = 2_000
"""Where the error bound stays above this, rare pings would not do."""


class PingPlan:
    """Says when the next ping is due. Local time, µs, is an argument; so is the filter's error bound.

    A burst of 8, 30 ms apart, on `start` (joining, reconnecting, waking up); then bursts every second for 10 s,
    every 2 s for the first minute, then every 10 s on a good link and every 2 s on one whose bound stays above
    2 ms. That is 4 pings a second at most on average, 0.8 on a good link.
    """

    def __init__(self) -> None:
        self._started_us: int | None = None
        self._next_us = 0
        self._left = 0
        self._burst_us = 0

    def start(self, now_us: int) -> None:
        """Begin anew with a burst at once."""
        self._started_us = self._burst_us = self._next_us = now_us
        self._left = BURST

    def stop(self) -> None:
        """No pings until the next `start`."""
        self._started_us = None

    @property
    def next_us(self) -> int | None:
        """When to ask `due` again; None while stopped."""
        return None if self._started_us is None else self._next_us

    def due(self, now_us: int, bound_us: float) -> bool:
        """Whether to send a ping now; counts it as sent."""
        if self._started_us is None or now_us < self._next_us:
            return False
        if self._left == 0:
            self._left = BURST
            self._burst_us = now_us
        self._left -= 1
        if self._left:
            # From now, not from when it was due: after a stall the rest must not go out at once.
            self._next_us = now_us + STEP_US
            return True
        age = now_us - self._started_us
        every = next((every for until, every in _PACE if age < until), 0)
        every = every or (_JITTERY_US if bound_us > JITTERY_BOUND_US else _STEADY_US)
        self._next_us = max(self._burst_us + every, now_us + STEP_US)
        return True
