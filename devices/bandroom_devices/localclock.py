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
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

Waiter = asyncio.Future[None]


class LocalClock(Protocol):
    """A clock that only the device itself reads. Times are whole microseconds from an origin of its own."""

    def now_us(self) -> int:
        """What the clock reads now."""
        ...

    def wake_at(self, local_us: int, waiter: Waiter) -> None:
        """Complete ``waiter``, unless it is done by then, when the clock reads ``local_us`` or a little before."""
        ...


class Flag:
    """An ``asyncio.Event`` that can also cut a ``sleep_until`` short."""

    def __init__(self) -> None:
        self._set = False
        self._waiters: set[Waiter] = set()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, waking whoever waits."""
        self._set = True
        for waiter in self._waiters:
            wake(waiter)

    def clear(self) -> None:
        """Take it back."""
        self._set = False

    async def wait(self) -> None:
        """Wait until it is set."""
        while not self._set:
            waiter: Waiter = asyncio.get_running_loop().create_future()
            with self.waking(waiter):
                await waiter

    @contextlib.contextmanager
    def waking(self, waiter: Waiter) -> Generator[None]:
        """``set`` completes ``waiter`` during the block."""
        self._waiters.add(waiter)
        try:
            yield
        finally:
            self._waiters.discard(waiter)


def wake(waiter: Waiter) -> None:
    """Complete ``waiter`` unless it is done, or nobody waits any more."""
    if not waiter.done():
        waiter.set_result(None)


async def sleep_until(clock: LocalClock, local_us: int, unless: Flag | None = None) -> bool:
    """Return True when ``clock`` reads ``local_us`` or more, at once if it does; False as soon as ``unless`` is set.

    One future and no task: between the alarm and the note there is as little as can be.
    """
    while clock.now_us() < local_us:
        if unless is not None and unless.is_set():
            return False
        waiter: Waiter = asyncio.get_running_loop().create_future()
        clock.wake_at(local_us, waiter)
        with unless.waking(waiter) if unless is not None else contextlib.nullcontext():
            await waiter
    return True


class SystemClock:
    """The machine's steady clock, untouched by steps of the wall clock. It goes on through a suspend on Linux."""

    def now_us(self) -> int:
        """Microseconds since some point before the process began."""
        return _steady_ns() // 1000

    def wake_at(self, local_us: int, waiter: Waiter) -> None:
        """See ``LocalClock``. Late by about 0.1 ms."""
        # Rounded up by one: the clock's own digits below a microsecond are cut off.
        _alarm.ring(time.monotonic() + (local_us - self.now_us() + 1) / 1e6, waiter)


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

    def now_us(self) -> int:
        """See ``LocalClock``."""
        base_us = self.base.now_us()
        return base_us + self.offset_us + round((base_us - self.origin_us) * self.ppm * 1e-6)

    def wake_at(self, local_us: int, waiter: Waiter) -> None:
        """See ``LocalClock``."""
        elapsed = (local_us - self.offset_us - self.origin_us) / (1 + self.ppm * 1e-6)
        self.base.wake_at(self.origin_us + int(elapsed) + 1, waiter)


def _steady_ns() -> int:
    # CLOCK_BOOTTIME counts a suspend; a laptop that slept would otherwise be minutes off and not know it.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic_ns()


class _Alarm:
    """One thread that sleeps for everybody.

    An event loop wakes on whole milliseconds (its poll rounds up), a thread within about 0.1 ms; spinning or
    blocking the loop instead would delay whatever else it carries, clock replies above all.
    """

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, Waiter]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def ring(self, monotonic_s: float, waiter: Waiter) -> None:
        """Complete ``waiter``, in its own loop, when ``time.monotonic()`` has reached ``monotonic_s``."""
        with self._wake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bandroom-alarm", daemon=True)
                self._thread.start()
            heapq.heappush(self._due, (monotonic_s, next(self._order), waiter))
            if self._due[0][2] is waiter:
                self._wake.notify()

    def _run(self) -> None:
        with self._wake:
            while True:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    waiter = heapq.heappop(self._due)[2]
                    if not waiter.done():
                        # A loop that was closed meanwhile has nobody waiting any more.
                        with contextlib.suppress(RuntimeError):
                            waiter.get_loop().call_soon_threadsafe(wake, waiter)
                self._wake.wait(self._due[0][0] - now if self._due else None)


_alarm = _Alarm()
