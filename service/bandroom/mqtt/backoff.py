"""How long to wait before the next try: soon, with jitter, then doubling.

A school's devices all lose the broker in the same instant, so the first wait is spread over an interval; doubling
up to a cap keeps a broker that is down from being hammered.
"""

from dataclasses import dataclass, field
from random import Random


@dataclass(slots=True)
class Backoff:
    """Waits of one client, in seconds: first within `first_s`, then twice as long each time, at most `cap_s`.

    The jitter stays for the later waits too (each is drawn from the doubled interval), so clients that failed
    together do not return together. A connection that lasted less than `settled_s` does not count as a success:
    two clients with one id, each throwing out the other, slow down instead of fighting at full speed.
    """

    first_s: tuple[float, float] = (0.05, 0.2)
    cap_s: float = 5.0
    settled_s: float = 2.0
    rng: Random = field(default_factory=Random)
    _failures: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        low, high = self.first_s
        if not 0 <= low <= high <= self.cap_s:
            raise ValueError(f"first_s must satisfy 0 <= low <= high <= cap_s, got {self.first_s}, {self.cap_s}")

    def next_delay_s(self) -> float:
        """The wait before the next try, in seconds; each call counts as one more failure."""
        low, high = self.first_s
        scale = 2.0 ** min(self._failures, 32)
        self._failures += 1
        return min(self.cap_s, self.rng.uniform(low, high) * scale)

    def connected_for(self, lasted_s: float) -> None:
        """Tell how long the last connection held; one that settled starts the waits afresh."""
        if lasted_s >= self.settled_s:
            self._failures = 0
