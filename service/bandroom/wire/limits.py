"""What a tenant's clients may send: the gate's own rates, and the bounds of those that a tenant is given instead."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bandroom.wire.gate_log import LimitKey

MAX_RATE: Final = 1_000_000_000
"""No rate or burst is higher; none is below 1, for a limit of nothing would lock a school out."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """``rate`` a second, and ``burst`` at once: messages, bytes (topic and payload) or filters."""

    rate: int
    burst: int

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate), ("burst", self.burst)):
            if not 1 <= value <= MAX_RATE:
                raise ValueError(f"a {name} is 1 to {MAX_RATE}, not {value}")

    def __str__(self) -> str:
        return f"{self.rate}:{self.burst}"

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """As ``50:100``. Raises ``ValueError``."""
        rate, colon, burst = text.partition(":")
        if not (colon and rate.isascii() and rate.isdigit() and burst.isascii() and burst.isdigit()):
            raise ValueError(f"{text[:40]!r} is no limit: give RATE:BURST, as 50:100")
        return cls(int(rate[:20]), int(burst[:20]))


DEFAULTS: Final = MappingProxyType(
    {
        LimitKey.CLIENT_MSGS: Allowance(100, 200),
        LimitKey.CLIENT_BYTES: Allowance(16_000, 32_000),
        LimitKey.ROOM_MSGS: Allowance(600, 600),
        LimitKey.ROOM_BYTES: Allowance(96_000, 96_000),
        LimitKey.TENANT_MSGS: Allowance(2_000, 600),
        LimitKey.TENANT_BYTES: Allowance(320_000, 96_000),
        LimitKey.CONTROL_MSGS: Allowance(10, 40),
        LimitKey.CONTROL_BYTES: Allowance(10_000, 40_000),
        LimitKey.PRESENCE_MSGS: Allowance(2, 40),
        LimitKey.PRESENCE_BYTES: Allowance(400, 8_000),
        LimitKey.CLOCK_MSGS: Allowance(20, 40),
        LimitKey.SUBS: Allowance(20, 100),
    }
)
"""What the gate allows a tenant that was given nothing else."""
