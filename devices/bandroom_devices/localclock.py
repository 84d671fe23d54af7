"""The device's own clock: what it reads, and how to sleep until it reads something.

A device's clock is off by any amount and runs a little fast or slow; server time is learned, never assumed. All
other parts are handed a ``LocalClock``, so a test moves time by hand, and the demo gives each process a clock
seconds off.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

_SLEEP_SHORT_S = 0.002  # an event loop's timers are late by up to 1 ms and more: the rest is the alarm's


class LocalClock(Protocol):
    """A clock that only the device itself reads. Times are whole microseconds from an origin of its own."""

    def now_us(self) -> int:
        """What the clock reads now."""
        ...

    async def sleep_until(self, local_us: int) -> None:
        """Return when the clock reads ``local_us``; at once when it does already. Never early."""
        ...


class SystemClock:
    """The machine's steady clock, untouched by steps of the wall clock. It goes on through a suspend on Linux."""

    def now_us(self) -> int:
        """Microseconds since some point before the process began."""
        return _steady_ns() // 1000

    async def sleep_until(self, local_us: int) -> None:
        """See ``LocalClock``. Late by about 0.1 ms."""
        while (left_us := local_us - self.now_us()) > 0:
            if left_us > 2e6 * _SLEEP_SHORT_S:
                await asyncio.sleep(left_us / 1e6 - _SLEEP_SHORT_S)
            else:
                await _alarm.ring(time.monotonic() + left_us / 1e6)


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """A clock that is off and runs fast or slow: for the demo and for tests of other people's devices.

    It reads ``base + offset_us`` at its origin and gains ``ppm`` microseconds a second from there.
    """

    offset_us: int
    ppm: float
    base: LocalClock = field(default_factory=SystemClock)
    origin_us: int = 0  # reading of the base from which on the gain counts

    @classmethod
    def starting_now(cls, offset_us: int, ppm: float, base: LocalClock | None = None) -> SkewedClock:
        """A clock whose gain counts from now on."""
        base = base or SystemClock()
        return cls(offset_us, ppm, base, base.now_us())

    def _from_base(self, base_us: int) -> int:
        return base_us + self.offset_us + round((base_us - self.origin_us) * self.ppm * 1e-6)

    def now_us(self) -> int:
        """See ``LocalClock``."""
        return self._from_base(self.base.now_us())

    async def sleep_until(self, local_us: int) -> None:
        """See ``LocalClock``."""
        elapsed = (local_us - self.offset_us - self.origin_us) / (1 + self.ppm * 1e-6)
        # Rounded up by one, since rounding may not wake anybody early.
        await self.base.sleep_until(self.origin_us + int(elapsed) + 1)


def _steady_ns() -> int:
    # CLOCK_BOOTTIME counts a suspend; a laptop that slept would otherwise be minutes off and not know it.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic_ns()


class _Alarm:
    """One thread that sleeps for everybody's last two milliseconds.

    An event loop wakes on whole milliseconds (its poll rounds up), a thread within about 0.1 ms; blocking the
    loop instead would delay whatever else it carries, clock replies above all.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    async def ring(self, monotonic_s: float) -> None:
        """Return when ``time.monotonic()`` has reached ``monotonic_s``."""
        loop = asyncio.get_running_loop()
        rung: asyncio.Future[None] = loop.create_future()
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bandroom-alarm", daemon=True)
                self._thread.start()
            heapq.heappush(self._due, (monotonic_s, next(self._order), loop, rung))
            self._wake.notify()
        await rung

    def _run(self) -> None:
        with self._wake:
            while True:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    _, _, loop, rung = heapq.heappop(self._due)
                    # A loop that was closed meanwhile has nobody waiting any more.
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(_ring, rung)
                self._wake.wait(self._due[0][0] - now if self._due else None)


def _ring(rung: asyncio.Future[None]) -> None:
    if not rung.done():
        rung.set_result(None)


_alarm = _Alarm()
