"""Networks as classrooms have them: how long each way of an exchange takes, and what gets lost.

All delays in µs. A link has a memory (queues fill, radios fall asleep), so make a new one for each run.
"""

import random
from collections.abc import Callable
from typing import Final, Protocol


class Link(Protocol):
    """One device's way to the server and back."""

    def up(self, now_us: float) -> float:
        """The delay of what leaves the device at `now_us`."""
        ...

    def down(self, now_us: float) -> float:
        """The delay of what leaves the server at `now_us`."""
        ...

    def lost(self) -> bool:
        """Whether this exchange gets lost."""
        ...


class Steady:
    """A cable: a base and an exponential rest, each way; `loss` of all exchanges get lost."""

    def __init__(self, rng: random.Random, base_us: float, rest_us: float, loss: float = 0.0) -> None:
        self.rng = rng
        self._base = base_us
        self._rest = rest_us
        self._loss = loss

    def up(self, now_us: float) -> float:
        return self._base + self.rng.expovariate(1 / self._rest)

    def down(self, now_us: float) -> float:
        return self.up(now_us)

    def lost(self) -> bool:
        return self.rng.random() < self._loss


class Jitter(Steady):
    """10 ms ± 5 ms each way, Gamma-distributed; later packets overtake earlier ones."""

    def up(self, now_us: float) -> float:
        return self.rng.gammavariate(4, 2_500)


class JitterUp(Jitter):
    """As `Jitter` on the way up, a quiet way down: the middle of an exchange is no guide here."""

    def down(self, now_us: float) -> float:
        return 1_000 + self.rng.expovariate(1 / 300)


class Campus(Steady):
    """A school's WiFi: mostly quick, a heavy tail (Pareto), and minutes in which everybody uses it."""

    def up(self, now_us: float) -> float:
        busy = int(now_us / 20_000_000) % 3 == 1
        if self.rng.random() < (0.5 if busy else 0.15):
            return 1_200 + 2_000 * (self.rng.paretovariate(1.5) - 1)
        return 1_200 + self.rng.expovariate(1 / (2_500 if busy else 700))


class PowerSave(Steady):
    """A radio that sleeps after 100 ms of silence: what comes down then waits for the next beacon, 102.4 ms apart."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, 1_500, 500, loss=0.01)
        self._awake_until = 0.0

    def up(self, now_us: float) -> float:
        waking = self.rng.uniform(1_000, 4_000) if now_us > self._awake_until else 0.0
        return waking + super().up(now_us)

    def down(self, now_us: float) -> float:
        delay = Steady.up(self, now_us)
        if now_us > self._awake_until:
            delay += self.rng.uniform(0, 102_400)
        self._awake_until = now_us + delay + 100_000
        return delay


class Bufferbloat(Steady):
    """A queue on the way up that fills to 150 ms and drains again, and 1 % stalls of 200 ms either way."""

    def up(self, now_us: float) -> float:
        phase = (now_us / 7_000_000) % 1.0
        queue = 150_000 * max(0.0, phase - 0.3) / 0.7 * self.rng.uniform(0.05, 1.0)
        return super().up(now_us) + queue + self._stall()

    def down(self, now_us: float) -> float:
        return Steady.up(self, now_us) + self._stall()

    def _stall(self) -> float:
        return 200_000 if self.rng.random() < 0.01 else 0.0


class StallUp(Steady):
    """Every 20 s the way up, and only that, is 300 ms longer for 8 s."""

    def up(self, now_us: float) -> float:
        return super().up(now_us) + (300_000 if now_us % 20_000_000 > 12_000_000 else 0)

    def down(self, now_us: float) -> float:
        return Steady.up(self, now_us)


class Ordered:
    """What TCP makes of `link`: nothing overtakes, and what is lost comes again 50 to 240 ms later (the kernel's probes
    and timeouts) and holds up what is behind it.
    """

    def __init__(self, rng: random.Random, link: Link) -> None:
        self._rng = rng
        self._link = link
        self._last_up_us = self._last_down_us = 0.0

    def up(self, now_us: float) -> float:
        self._last_up_us = max(self._last_up_us, now_us + self._link.up(now_us) + self._again())
        return self._last_up_us - now_us

    def down(self, now_us: float) -> float:
        self._last_down_us = max(self._last_down_us, now_us + self._link.down(now_us) + self._again())
        return self._last_down_us - now_us

    def lost(self) -> bool:
        return False

    def _again(self) -> float:
        return self._rng.uniform(50_000, 240_000) if self._link.lost() else 0.0


LINKS: Final[dict[str, Callable[[random.Random], Link]]] = {
    "loopback": lambda rng: Steady(rng, 40, 25),
    "good": lambda rng: Steady(rng, 1_000, 300, loss=0.005),
    "jitter": lambda rng: Jitter(rng, 0, 1, loss=0.02),
    "jitter up": lambda rng: JitterUp(rng, 0, 1, loss=0.02),
    "campus": lambda rng: Campus(rng, 0, 1, loss=0.03),
    "power save": PowerSave,
    "bufferbloat": lambda rng: Bufferbloat(rng, 2_000, 1_500, loss=0.05),
    "stall up": lambda rng: StallUp(rng, 1_500, 400, loss=0.02),
}
"""Every network model by its name."""
