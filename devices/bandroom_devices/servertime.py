"""Server time as this device keeps it: learned from clock exchanges, steered without jumps, with an honest bound."""

from __future__ import annotations

from math import inf

from bandroom.music.clock_filter import ClockFilter
from bandroom.music.slew import SlewedClock

from bandroom_devices.exchange import Sample

_UNKNOWN = "server time is not known yet: wait for Device.synced()"


class ServerTime:
    """Turns local time into server time and back, both in whole microseconds."""

    def __init__(self) -> None:
        self._filter = ClockFilter()
        self.clock = SlewedClock()
        """What all that plays follows; set once ``synced``."""
        self.steered_bound_us = inf
        """``bound_us`` when it was last steered: asking for it costs nothing."""

    def add(self, sample: Sample) -> None:
        """Learn from one exchange; one that cannot have happened is ignored. ``steer`` puts it to use."""
        self._filter.add(sample.t1, sample.t2, sample.t3, sample.t4)

    def steer(self, local_us: int, *, playing: bool) -> bool:
        """Make for what the exchanges say; False when that was so far off that whoever plays should be silent
        until the next bar.
        """
        if not self._filter.synced:
            return True
        self.steered_bound_us = self._filter.bound_at(local_us)
        offset_us, skew = self._filter.offset_at(local_us), self._filter.skew_ppm * 1e-6
        return self.clock.steer(local_us, offset_us, skew, playing=playing) != "resync"

    @property
    def synced(self) -> bool:
        """Whether server time is known at all."""
        return self.clock.set

    def at(self, local_us: int) -> int:
        """Server time at ``local_us``. Raises ``RuntimeError`` before it is known."""
        if not self.synced:
            raise RuntimeError(_UNKNOWN)
        return self.clock.server_at(local_us)

    def local_at(self, server_us: int) -> int:
        """The local time at which it is ``server_us``, as far as one can tell now. Raises as ``at`` does."""
        if not self.synced:
            raise RuntimeError(_UNKNOWN)
        return self.clock.local_at(server_us)

    def bound_us(self, local_us: int) -> float:
        """Server time is known to within this many µs, what is still being steered included, if the way there takes as
        long as the way back; infinite before it is known.
        """
        return self._filter.bound_at(local_us) + self.clock.remaining_us(local_us)
