"""When a device asks for the time: in bursts, at once on joining, then ever more rarely."""

from typing import Final

BURST: Final = 8
STEP_US: Final = 30_000
"""Between two pings of a burst: the first one wakes a sleeping radio, the others go through."""
_FOREVER = float("inf")
# (until so long after the start, so long from burst to burst)
_PACE = ((10_000_000, 1_000_000), (60_000_000, 2_000_000), (_FOREVER, 10_000_000))
_JITTERY_PACE = ((60_000_000, 500_000), (_FOREVER, 2_000_000))
JITTERY_BOUND_US: Final = 2_000
"""Where the error bound is above this, as it stays on a link with jitter, few pings would not do."""


class PingPlan:
    """Says when the next ping is due. Local time, µs, is an argument; so is the filter's error bound.

    A burst of 8, 30 ms apart, on `start` (joining, reconnecting, waking up); then bursts every second for 10 s,
    every 2 s for the first minute, then every 10 s: 0.8 pings a second. While the bound is above 2 ms: every half
    second for the first minute, 16 pings a second, then every 2 s. An error that is to halve needs four times the
    pings, and it is in the first minute that the skew is unknown.
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
        pace = _JITTERY_PACE if bound_us > JITTERY_BOUND_US else _PACE
        every = next(every for until, every in pace if age < until)
        self._next_us = max(self._burst_us + every, now_us + STEP_US)
        return True
