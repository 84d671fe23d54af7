"""Slowing down whoever guesses codes: failures only, per address, with growing delay and quick forgiveness.

A school may share one address: a class of thirty that mistypes a little is never slowed down, right codes cost
nothing, and no address can do anything to another or to a tenant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FREE = 20
"""Failures that cost nothing."""
FORGIVE_S = 30.0
"""One failure is forgotten in this time."""
LONGEST_S = 30.0
_ADDRESSES = 10_000


@dataclass(slots=True)
class _Record:
    failures: float
    at_s: float
    blocked_until_s: float = 0.0


@dataclass(slots=True)
class Throttle:
    """Failures by address. Times are a monotonic clock's seconds."""

    _records: dict[str, _Record] = field(default_factory=dict[str, _Record])
    _swept_s: float = 0.0

    def wait_s(self, address: str, now_s: float) -> float:
        """How long this address has to wait before it may try again; 0 if it may now."""
        self._sweep(now_s)
        record = self._records.get(address)
        return 0.0 if record is None else max(0.0, record.blocked_until_s - now_s)

    def failed(self, address: str, now_s: float) -> None:
        """Note a failure."""
        record = self._records.pop(address, None) or _Record(0.0, now_s)
        record.failures = max(0.0, record.failures - (now_s - record.at_s) / FORGIVE_S) + 1
        record.at_s = now_s
        over = record.failures - FREE
        if over > 0:
            record.blocked_until_s = now_s + min(2.0 ** min(over, 10) / 2, LONGEST_S)
        self._records[address] = record  # the newest last
        while len(self._records) > _ADDRESSES:
            del self._records[next(iter(self._records))]

    def _sweep(self, now_s: float) -> None:
        # An address is somebody's: it is kept no longer than it matters.
        if now_s - self._swept_s < FORGIVE_S:
            return
        self._swept_s = now_s
        for address, record in list(self._records.items()):
            if now_s >= record.blocked_until_s and now_s - record.at_s >= record.failures * FORGIVE_S:
                del self._records[address]
