"""How late a relay itself was: where it was, what was measured behind it says nothing, and the bench says so.

A relay holds a frame until it is due. What it is late by then is delay that the link's model did not ask for, as it
comes of a machine that is busy with something else.
"""

from array import array
from typing import Any, Final

from bench import report

LIMIT_MS: Final = 0.5
"""p99 of a relay's lateness up to which its network counts as the one that was asked for."""


class Lateness:
    """What one relay was late by, frame for frame."""

    def __init__(self) -> None:
        self._late_us = array("f")

    def add(self, due_us: float, now_us: float) -> None:
        """A frame that was due at `due_us` goes on now."""
        self._late_us.append(max(0.0, now_us - due_us))

    def told(self) -> dict[str, float]:
        """n, p50, p95, p99, max in ms."""
        return report.summary(self._late_us, 0.001)


def fault(told: dict[str, Any] | None) -> str | None:
    """What is wrong with a set-up whose relay tells this; None where nothing is, or there is no relay."""
    if told is None or (told["n"] and told["p99"] <= LIMIT_MS):
        return None
    return "no frames" if not told["n"] else f"relay late: p99 {told['p99']:.2f} ms"
