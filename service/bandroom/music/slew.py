"""A device's idea of server time that never jumps while it plays.

The filter's offset is a target that changes a little with every exchange. What is played follows it by slewing, so
that time never runs backwards and no beat is heard twice; it jumps only while nothing plays, or where slewing would
take too long (past 30 ms, as after a sleep), and then whoever plays is to be silent until the next bar.
"""

from typing import Final, Literal

MAX_SLEW: Final = 0.005
"""Local time is stretched by at most this part: 5 ms a second."""
RESYNC_US: Final = 30_000
"""Past this gap slewing would take over 6 s."""
SETTLED_US: Final = 5_000
"""A clock whose error bound has been this small is slewed from then on,"""
SETTLING_US: Final = 10_000_000
"""and so is any that has been known for so long."""

Steered = Literal["steady", "slewing", "jumped", "resync"]


class Settling:
    """Whether a clock is good enough to be slewed.

    Just after joining over a bad network the first exchanges may be tens of ms off. Nobody has settled into the beat
    yet: better to set such a clock anew with each burst than to be dragged for seconds to where it should be.
    """

    def __init__(self) -> None:
        self._known_us: float | None = None
        self._done = False

    def done(self, local_us: float, bound_us: float) -> bool:
        """Ask at each steering, with the bound of now. The one that finds the clock good still sets it; from the next
        one on this is True for good.
        """
        if self._known_us is None:
            self._known_us = local_us
        was_done = self._done
        self._done = was_done or bound_us <= SETTLED_US or local_us - self._known_us >= SETTLING_US
        return was_done


class SlewedClock:
    """Server time as a function of local time, both µs, steered towards a filter's estimate."""

    def __init__(self, *, max_slew: float = MAX_SLEW, resync_us: float = RESYNC_US) -> None:
        self._max_slew = max_slew
        self._resync_us = resync_us
        self._at: float = 0
        self._from = 0.0  # the offset at `_at`
        self._gap = 0.0  # what is still to be slewed from there on
        self._skew = 0.0
        self._set = False
        self.resyncs = 0

    @property
    def set(self) -> bool:
        """Whether it has been steered at all."""
        return self._set

    def steer(self, local_us: float, offset_us: float, skew: float = 0.0, *, playing: bool = True) -> Steered:
        """From `local_us` on, make for `offset_us` (server minus local) and go on at `skew` (a pure number).

        "jumped": at once, because nothing plays or nothing was known. "resync": at once, because the gap is too
        wide; be silent until the next bar. "slewing": no jump, getting there in |gap|/0.5 %.
        """
        now = self.offset_at(local_us)
        gap = offset_us - now
        first, wide = not self._set, abs(gap) > self._resync_us
        jump = first or wide or not playing
        self._at, self._skew, self._set = local_us, skew, True
        self._from = offset_us if jump else now
        self._gap = 0.0 if jump else gap
        if first or not playing:
            return "steady" if gap == 0 else "jumped"
        if wide:
            self.resyncs += 1
            return "resync"
        return "slewing" if abs(gap) >= 1 else "steady"

    def offset_at(self, local_us: float) -> float:
        """Server minus local time at `local_us`."""
        passed = max(local_us - self._at, 0)
        reach = self._slew * passed
        return self._from + self._skew * passed + min(max(self._gap, -reach), reach)

    def server_at(self, local_us: float) -> int:
        """Server time at local time `local_us`, to the µs."""
        return int(local_us + self.offset_at(local_us) + 0.5)

    def local_at(self, server_us: float) -> int:
        """The local time at which it is `server_us`, as things stand; the inverse of `server_at`."""
        ahead = server_us - self._at - self._from
        if ahead <= 0:
            return int(self._at + ahead + 0.5)
        rate = 1.0 + self._skew
        slewing = abs(self._gap) / self._slew
        slope = rate + (self._slew if self._gap > 0 else -self._slew)
        if ahead <= slewing * slope:
            return int(self._at + ahead / slope + 0.5)
        return int(self._at + (ahead - self._gap) / rate + 0.5)

    def remaining_us(self, local_us: float) -> float:
        """How far the slewing is still from its target at `local_us`."""
        return max(abs(self._gap) - self._slew * max(local_us - self._at, 0), 0.0)

    @property
    def _slew(self) -> float:
        # The skew takes its part of what time may be stretched by.
        return self._max_slew - min(abs(self._skew), self._max_slew / 2)
