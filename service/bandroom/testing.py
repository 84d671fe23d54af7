"""Helpers for tests, ours and our users': a clock that is set by hand, and waiting with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class ManualClock:
    """A ``Clock`` that stands still until told. Starts at ``now_us`` µs of server time."""

    def __init__(self, now_us: int = 1_000_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def advance(self, us: int) -> int:
        """Go on by ``us`` µs (0 or more) and return the new time."""
        if us < 0:
            raise ValueError(f"server time does not run backwards: {us}")
        self._now_us += us
        return self._now_us

    def set(self, now_us: int) -> None:
        """Jump to ``now_us``, backwards too: for tests of clocks that were reset."""
        self._now_us = now_us


def _missed(what: str, timeout_s: float, last: object) -> AssertionError:
    return AssertionError(f"{what} did not come true within {timeout_s:g} s; last seen: {last!r}")


def wait_until(condition: Callable[[], T], *, timeout_s: float = 10.0, what: str = "", interval_s: float = 0.02) -> T:
    """Ask ``condition`` until it gives something true, and return that.

    Raises ``AssertionError`` naming ``what`` and the last answer once ``timeout_s`` is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise _missed(what or "the condition", timeout_s, seen)
        time.sleep(interval_s)


async def wait_until_async(
    condition: Callable[[], T], *, timeout_s: float = 10.0, what: str = "", interval_s: float = 0.02
) -> T:
    """As ``wait_until``, without holding up the event loop."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise _missed(what or "the condition", timeout_s, seen)
        await asyncio.sleep(interval_s)
