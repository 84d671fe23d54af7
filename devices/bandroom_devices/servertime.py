"""Server time as this device knows it: learned from clock exchanges, with an honest error bound."""

from __future__ import annotations

from collections import deque

from bandroom_devices.exchange import Sample


class ServerTime:
    """Turns local time into server time and back. Both in whole microseconds."""

    def __init__(self) -> None:
        self._best: deque[Sample] = deque(maxlen=32)
        self._offset_us: int | None = None
        self._bound_us = 0

    def add(self, sample: Sample) -> None:
        """Learn from one exchange."""
        self._best.append(sample)
        best = min(self._best, key=lambda each: each.round_trip_us)
        self._offset_us = ((best.t2 - best.t1) + (best.t3 - best.t4)) // 2
        self._bound_us = best.round_trip_us // 2

    @property
    def synced(self) -> bool:
        """Whether server time is known at all."""
        return self._offset_us is not None

    def at(self, local_us: int) -> int:
        """Server time at ``local_us``. Raises ``RuntimeError`` before the first exchange."""
        if self._offset_us is None:
            raise RuntimeError("server time is not known yet: wait for Device.synced()")
        return local_us + self._offset_us

    def local_at(self, server_us: int) -> int:
        """The local time at which it is ``server_us``, as far as one can tell now."""
        if self._offset_us is None:
            raise RuntimeError("server time is not known yet: wait for Device.synced()")
        return server_us - self._offset_us

    def bound_us(self, local_us: int) -> int:
        """Server time is known to within this many µs, if the way there takes as long as the way back."""
        return self._bound_us
