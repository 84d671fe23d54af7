# What server time is, for MicroPython: the two-sided envelope over clock exchanges. Times in whole µs; offsets are
# kept relative to the first one, so that boards with floats of 24 bits are right to the µs. How it works is in
# docs/time.md. Held to the server's by tests/contract/clock.json.

_SPLIT_US = 500000  # one bound a side for each burst: the tightest
_SIDE = 64
_MIDDLES = 128  # exchanges kept one by one; older ones are gathered into blocks
_BLOCK = 16
_BLOCKS = 64
_CRYSTALS_PPM = 40.0  # how far two crystals are apart, as a standard deviation
_FINEST_US = 30.0
_SHARPNESS = 0.15
_UNLIKE = 0.4
_ALIKE = 0.7


class ClockFilter:
    def __init__(self, resolution_us=1, window_us=120000000, max_skew=100e-6, wander=1e-6):
        self._slack = resolution_us + 1
        self._window = window_us
        self._max_skew = max_skew
        self._wander = wander
        self.restarts = 0
        self.ignored = 0
        self.reset()

    def reset(self):
        self._upper = []
        self._lower = []
        self._middles = []
        self._blocks = []
        self._base = None
        self._now = 0
        self._last = None
        self._fresh = False
        self._offset = self._above = self._below = self._skew = self._least = self._most = 0.0

    @property
    def synced(self):
        return self._last is not None

    # An exchange: left at t1 (local), at the server from t2 to t3, back at t4 (local).
    # False if it cannot have happened.
    def add(self, t1, t2, t3, t4):
        trip = (t4 - t1) - (t3 - t2)
        if t4 < t1 or t3 < t2 or trip < -2 * self._slack:
            self.ignored += 1
            return False
        if self._base is None:
            self._base = t2 - t1
        upper = t2 - t1 - self._base + self._slack
        lower = t3 - t4 - self._base - self._slack
        reach = self._max_skew + self._wander
        stepped = False
        for _, x, u in self._upper:
            stepped = stepped or lower - u > reach * abs(t4 - x)
        for _, x, low in self._lower:
            stepped = stepped or low - upper > reach * abs(t1 - x)
        if stepped:
            self._restart()
            return self.add(t1, t2, t3, t4)
        self._last = (t1, t2, t3, t4)
        self._now = max(self._now, t4) if self._upper else t4
        oldest = self._now - self._window
        self._upper = _kept(self._upper, t1, upper, oldest, -1)
        self._lower = _kept(self._lower, t4, lower, oldest, 1)
        # Twice the middle, so that it stays whole.
        self._middles.append((t1 + t4, upper + lower, trip))
        while self._middles[0][0] < 2 * oldest:
            self._middles.pop(0)
        while self._blocks and self._blocks[0][0] < 2 * oldest:
            self._blocks.pop(0)
        if len(self._middles) > _MIDDLES:
            self._gather()
        self._fresh = True
        return True

    # Server minus local time at local time t, in whole µs.
    def offset_at(self, t):
        self._fit()
        if self._base is None:
            raise ValueError("no clock exchange yet")
        return self._base + round(self._offset + self._skew * (t - self._now))

    # How far that may be off at most; None before the first exchange.
    def bound_at(self, t):
        self._fit()
        if self._base is None:
            return None
        spread = max(self._most - self._skew, self._skew - self._least) + self._wander
        return max(self._above - self._offset, self._offset - self._below) + spread * abs(t - self._now)

    @property
    def skew_ppm(self):
        self._fit()
        return self._skew * 1e6

    def _restart(self):
        self.reset()
        self.restarts += 1

    def _fit(self):
        if not self._fresh:
            return
        self._fresh = False
        least, most = self._skews()
        if least > most:
            last = self._last
            self._restart()
            self.add(*last)
            self._fresh = False
            least, most = self._skews()
        self._least = least
        self._most = most
        now = self._now
        self._above = min([u + (most + self._wander) * (now - x) for _, x, u in self._upper])
        self._below = max([low + (least - self._wander) * (now - x) for _, x, low in self._lower])
        self._skew = (least + most) / 2
        self._offset = (self._above + self._below) / 2
        weight = self._likeness()
        if weight > 0:
            mean, skew = self._mean_line()
            self._skew += weight * (min(max(skew, least), most) - self._skew)
            self._offset += weight * (min(max(mean, self._below), self._above) - self._offset)

    def _skews(self):
        least = -self._max_skew
        most = self._max_skew
        wander = self._wander
        for _, xu, u in self._upper:
            for _, xl, low in self._lower:
                dx = xl - xu
                if dx > 0:
                    least = max(least, (low - u) / dx - wander)
                elif dx < 0:
                    most = min(most, (low - u) / dx + wander)
        return least, most

    def _likeness(self):
        if len(self._middles) < 4:
            return 0.0
        up = self._scatter(1)
        down = self._scatter(-1)
        ratio = (min(up, down) + _FINEST_US) / (max(up, down) + _FINEST_US)
        return min(max((ratio - _UNLIKE) / (_ALIKE - _UNLIKE), 0.0), 1.0)

    def _scatter(self, sign):
        skew = self._skew
        twice_now = 2 * self._now
        values = [sign * ((m + sign * trip) / 2 - skew * ((x - twice_now) / 2)) for x, m, trip in self._middles]
        values.sort()
        return values[len(values) // 2] - values[0]

    # Make one of the oldest exchanges: twice when, twice its middle, and its weight.
    def _gather(self):
        quickest, grain = self._weighing()
        origin, first = self._middles[0][:2]
        weight = when = middle = 0.0
        for x, y, trip in self._middles[:_BLOCK]:
            w = _weight(trip, quickest, grain)
            weight += w
            when += w * (x - origin)
            middle += w * (y - first)
        self._middles = self._middles[_BLOCK:]
        self._blocks.append((origin + round(when / weight), first + middle / weight, weight))
        if len(self._blocks) > _BLOCKS:
            self._blocks.pop(0)

    def _weighing(self):
        trips = [m[2] for m in self._middles]
        trips.sort()
        return trips[0], max(_FINEST_US, _SHARPNESS * (trips[len(trips) // 2] - trips[0]))

    def _mean_line(self):
        quickest, grain = self._weighing()
        blocks = len(self._blocks)
        origin = self._middles[0][1]
        deviation = max((self._most - self._least) * 2.5e5, 1e-3)
        firm = 1.0 / (deviation * deviation)
        prior = (self._least + self._most) * 5e5 * firm
        firm += 1.0 / (_CRYSTALS_PPM * _CRYSTALS_PPM)
        sw = sx = sy = sxx = sxy = 0.0
        for i in range(blocks + len(self._middles)):
            when, middle, w = self._blocks[i] if i < blocks else self._middles[i - blocks]
            if i >= blocks:
                w = _weight(w, quickest, grain)
            x = (when - 2 * self._now) / 2e6
            y = (middle - origin) / 2
            sw += w
            sx += w * x
            sy += w * y
            sxx += w * x * x
            sxy += w * x * y
        slope = (sw * (sxy + prior) - sx * sy) / (sw * (sxx + firm) - sx * sx)
        return origin / 2 + (sy - slope * sx) / sw, slope * 1e-6


# What an exchange counts for: the less it was delayed, the more.
def _weight(trip, quickest, grain):
    excess = (trip - quickest) / 2
    return 2.0 / (excess * excess + grain * grain)


# `side` with a bound more: a burst's tightest only, none from before `oldest`, at most 64.
def _kept(side, x, bound, oldest, sign):
    kept = [e for e in side if e[1] >= oldest]
    if kept and abs(x - kept[-1][0]) < _SPLIT_US:
        if (bound - kept[-1][2]) * sign > 0:
            kept[-1] = (kept[-1][0], x, bound)
    else:
        kept.append((x, x, bound))
    return kept[-_SIDE:]
