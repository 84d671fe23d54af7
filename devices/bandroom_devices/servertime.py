"""Server time as this device knows it: learned from clock exchanges, with an honest error bound."""

from __future__ import annotations

from bandroom.music.clock_filter import ClockFilter

from bandroom_devices.exchange import Sample

_UNKNOWN = "server time is not known yet: wait for Device.synced()"


class ServerTime:
    """Turns local time into server time and back. Both in whole microseconds."""

    def __init__(self) -> None:
        self._filter = ClockFilter()
        self._learned_us = 0  # local time of the last exchange

    def add(self, sample: Sample) -> None:
        """Learn from one exchange; one that cannot have happened is ignored."""
        if self._filter.add(sample.t1, sample.t2, sample.t3, sample.t4):
            self._learned_us = sample.t4

    @property
    def synced(self) -> bool:
        """Whether server time is known at all."""
        return self._filter.synced

    def at(self, local_us: int) -> int:
        """Server time at ``local_us``. Raises ``RuntimeError`` before the first exchange."""
        if not self.synced:
            raise RuntimeError(_UNKNOWN)
        return local_us + round(self._filter.offset_at(local_us))

    def local_at(self, server_us: int) -> int:
        """The local time at which it is ``server_us``, as far as one can tell now. Raises as ``at`` does."""
        if not self.synced:
            raise RuntimeError(_UNKNOWN)
        # The offset changes by 100 ppm at most, so the second look is right to a microsecond for hours ahead.
        local_us = server_us - round(self._filter.offset_at(self._learned_us))
        return server_us - round(self._filter.offset_at(local_us))

    def bound_us(self, local_us: int) -> int:
        """Server time is known to within this many µs, if the way there takes as long as the way back."""
        return round(self._filter.bound_at(local_us))
