"""Units of musical time and the conversions between them.

Ticks are counted 960 to the quarter note. A tempo is kept as an integer number of microseconds a quarter
(`uq`): integers survive JSON, SQLite and three programming languages unchanged, decimals of a bpm do not.
People speak of counted beats a minute (`bpm`), and what is counted depends on the meter (`q` ticks a beat).
"""

from typing import Final

PPQ: Final = 960
"""Ticks a quarter note."""

WHOLE_TICKS: Final = 4 * PPQ
"""Ticks a whole note."""

MIN_BPM: Final = 20.0
MAX_BPM: Final = 400.0
"""Counted beats a minute that a room may run at, ends included."""

US_PER_MINUTE: Final = 60_000_000

LEAD_US: Final = 150_000
"""How far ahead an edit must lie (µs), so that everybody has heard of it when it falls due."""


def uq_from_bpm(bpm: float, q: int = PPQ) -> int:
    """Microseconds a quarter at `bpm` counted beats a minute of `q` ticks each, rounded to 1 µs."""
    return round(US_PER_MINUTE * PPQ / (bpm * q))


def bpm_from_uq(uq: float, q: int = PPQ) -> float:
    """Counted beats a minute of `q` ticks each at `uq` µs a quarter; three decimals, 0.0 when standing still."""
    return round(US_PER_MINUTE * PPQ / (uq * q), 3) if uq else 0.0
