"""When a device says anew how far off its clock may be: seldom, since everybody in the room hears of news.

What is no news is said again all the same, more rarely: who falls silent has gone, should its Will never come.
"""

from math import ceil, isfinite
from typing import Final

EVERY_US: Final = 10_000_000
"""Between two reports at least."""
AGAIN_US: Final = 20_000_000
"""After this it is said again, news or not: bursts come every 10 s, so at least every 30 s."""
FACTOR: Final = 2
"""A bound that has not grown or shrunk by more than this is no news."""
WIDEST_US: Final = 9_999_999
"""What is above is told as this."""


class ErrorReport:
    """Local time and bound, both µs, are arguments."""

    def __init__(self) -> None:
        self._at_us: float = 0
        self._told_us: int | None = None

    def due(self, now_us: float, bound_us: float) -> int | None:
        """What to tell now (whole µs, 1 to 9,999,999), which then counts as told; None where there is none."""
        if not isfinite(bound_us):
            return None
        error_us = min(max(ceil(bound_us), 1), WIDEST_US)
        told_us = self._told_us
        if told_us is not None:
            is_news = error_us > FACTOR * told_us or FACTOR * error_us < told_us
            if now_us - self._at_us < (EVERY_US if is_news else AGAIN_US):
                return None
        self._at_us, self._told_us = now_us, error_us
        return error_us
