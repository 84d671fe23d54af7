"""Other ways to tell the time from clock exchanges, to compare the envelope with. They give no honest bound."""

from typing import Protocol


class Estimator(Protocol):
    """What all filters have in common; times in µs."""

    @property
    def synced(self) -> bool: ...
    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool: ...
    def offset_at(self, t: float) -> float: ...


class LastSample:
    """Believes the newest exchange."""

    def __init__(self) -> None:
        self._offset: float | None = None

    @property
    def synced(self) -> bool:
        return self._offset is not None

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        self._offset = ((t2 - t1) + (t3 - t4)) / 2
        return True

    def offset_at(self, t: float) -> float:
        return self._offset or 0.0


class Median:
    """The median of the last `keep` exchanges."""

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._recent: list[float] = []

    @property
    def synced(self) -> bool:
        return bool(self._recent)

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        self._recent = [*self._recent, ((t2 - t1) + (t3 - t4)) / 2][-self._keep :]
        return True

    def offset_at(self, t: float) -> float:
        return sorted(self._recent)[len(self._recent) // 2]


class Kalman:
    """Offset and skew; an exchange is believed the less, the longer it took beyond the quickest of late."""

    def __init__(self) -> None:
        self._base: float | None = None
        self._x = [0.0, 0.0]  # µs, µs a second
        self._p = [[1e10, 0.0], [0.0, 1e4]]
        self._at = 0.0
        self._trips: list[float] = []

    @property
    def synced(self) -> bool:
        return self._base is not None

    def add(self, t1: float, t2: float, t3: float, t4: float) -> bool:
        if self._base is None:
            self._base, self._at = t2 - t1, (t1 + t4) / 2
        trip = (t4 - t1) - (t3 - t2)
        self._trips = [*self._trips, trip][-64:]
        excess = (trip - min(self._trips)) / 2
        noise = max(60.0, excess) ** 2
        when = (t1 + t4) / 2
        dt = max(when - self._at, 0.0) / 1e6
        self._at = max(self._at, when)
        (p00, p01), (p10, p11) = self._p
        drift = 0.02**2  # µs/s a root second
        p00 += dt * (p01 + p10) + dt * dt * p11 + drift * dt**3 / 3 + dt
        p01 += dt * p11 + drift * dt * dt / 2
        p10 = p01
        p11 += drift * dt
        x0, x1 = self._x[0] + self._x[1] * dt, self._x[1]
        miss = ((t2 - t1) + (t3 - t4)) / 2 - self._base - x0
        s = p00 + noise
        g0, g1 = p00 / s, p10 / s
        self._x = [x0 + g0 * miss, x1 + g1 * miss]
        self._p = [[(1 - g0) * p00, (1 - g0) * p01], [p10 - g1 * p00, p11 - g1 * p01]]
        return True

    def offset_at(self, t: float) -> float:
        return (self._base or 0.0) + self._x[0] + self._x[1] * (t - self._at) / 1e6
