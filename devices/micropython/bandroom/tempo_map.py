# The tempo map for MicroPython: musical position as a pure function of server time. Times in µs, positions in
# ticks, 960 a quarter; whole numbers wherever the tempo is constant, so that boards with floats of 24 bits are
# right too (a ramp may be off by a few µs there). Held to the server's by tests/contract/tempo.json.

from math import exp, floor, log, sqrt

PPQ = 960


def _log1p(z):
    u = 1.0 + z
    return z if u == 1.0 else log(u) * z / (u - 1.0)


def _expm1(z):
    u = exp(z)
    if u == 1.0:
        return z
    return (u - 1.0) * z / log(u) if -0.5 < z < 0.5 else u - 1.0


class Segment:
    def __init__(self, d):
        self.k = d["k"]
        self.t = d["t"]
        self.uq = d["uq"]
        self.uq1 = d.get("uq1")
        self.len = d.get("len")
        self.ramp = d.get("ramp")
        if self.len is not None and not (self.uq and self.uq1 and self.len > 0 and self.ramp in ("time", "beats")):
            raise ValueError("half a ramp")

    def time_of(self, k):
        if self.len is None:
            return self.t + ((k - self.k) * self.uq + PPQ // 2) // PPQ
        x = k - self.k
        if x > self.len:
            # Whole numbers past the ramp: they may go on for hours.
            past = (x - self.len) * self.uq1
            return self.t + past // PPQ + floor(self._ramp_us(self.len) + (past % PPQ) / PPQ + 0.5)
        return self.t + floor(self._ramp_us(x) + 0.5)

    # Ticks since the start: whole ones, and the rest as a float.
    def ticks_at(self, us):
        if not self.uq:
            return 0, 0.0
        if self.len is None:
            return us * PPQ // self.uq, (us * PPQ % self.uq) / self.uq
        end_us = self._ramp_us(self.len)
        if us > end_us:
            past = us - floor(end_us)
            x = self.len + (past * PPQ % self.uq1) / self.uq1 - (end_us - floor(end_us)) * PPQ / self.uq1
            whole = floor(x)
            return past * PPQ // self.uq1 + whole, x - whole
        v0 = PPQ / self.uq
        v1 = PPQ / self.uq1
        if self.ramp == "time":
            x = us * (v0 + (v1 - v0) * us / (2.0 * end_us))
        else:
            z = (v1 - v0) / self.len * us
            x = us * v0 * (_expm1(z) / z if z else 1.0)
        return floor(x), x - floor(x)

    def uq_at(self, x):
        if self.len is None:
            return self.uq
        if x >= self.len:
            return self.uq1
        v0 = PPQ / self.uq
        v1 = PPQ / self.uq1
        part = x / self.len
        return PPQ / (sqrt(v0 * v0 + (v1 * v1 - v0 * v0) * part) if self.ramp == "time" else v0 + (v1 - v0) * part)

    def _ramp_us(self, x):
        v0 = PPQ / self.uq
        v1 = PPQ / self.uq1
        if self.ramp == "time":
            return 2.0 * x / (v0 + sqrt(v0 * v0 + (v1 * v1 - v0 * v0) * x / self.len))
        z = (v1 - v0) * x / (self.len * v0)
        return x / v0 * (_log1p(z) / z if z else 1.0)


class Meter:
    def __init__(self, d):
        self.n = d["n"]
        self.k = d["k"]
        self.bar = d["bar"]
        self.num = d["num"]
        self.den = d["den"]
        self.q = d["q"]
        self.grp = d.get("grp")
        self.beats = self.num * 4 * PPQ // self.den // self.q

    # How strongly counted beat `pos` (from 1) is struck: 2 the downbeat, 1 a group's first beat, else 0.
    def accent(self, pos):
        if pos == 1:
            return 2
        units = (pos - 1) * self.q * self.den // (4 * PPQ)
        start = 0
        for g in self.grp or ():
            if start == units:
                return 1
            start += g
        return 0


def _last(items, key, value):
    i = len(items) - 1
    while i >= 0 and getattr(items[i], key) > value:
        i -= 1
    return i


class TempoMap:
    # `message` is the parsed `tempo` message. Beats are tuples (n, bar, pos, bpm, t, d).
    def __init__(self, message):
        self.rev = message["rev"]
        self.seg = [Segment(s) for s in message["seg"]]
        self.met = [Meter(m) for m in message["met"]]
        if not self.seg or not self.met:
            raise ValueError("no segment or no meter")

    def segment_at(self, t):
        return self.seg[max(_last(self.seg, "t", t), 0)]

    def ticks_at(self, t):
        s = self.segment_at(t)
        whole, rest = s.ticks_at(max(t - s.t, 0))
        return s.k + whole, rest

    def position_at(self, t):
        whole, rest = self.ticks_at(t)
        return whole + rest

    def time_at(self, k):
        i = _last(self.seg, "k", k)
        return None if i < 0 or not self.seg[i].uq else self.seg[i].time_of(k)

    def running_at(self, t):
        s = self.segment_at(t)
        return s.uq > 0 and s.t <= t

    def bpm_at(self, t):
        s = self.segment_at(t)
        whole, rest = s.ticks_at(max(t - s.t, 0))
        uq = s.uq_at(whole + rest) or s.uq1 or 500000
        return 60000000 * PPQ / (uq * self.meter_at(s.k + whole).q)

    def meter_at(self, k):
        return self.met[max(_last(self.met, "k", k), 0)]

    def meter_of(self, n):
        return self.met[max(_last(self.met, "n", n), 0)]

    def beat_ticks(self, n):
        m = self.meter_of(n)
        return m.k + (n - m.n) * m.q

    def beat_number(self, k):
        m = self.meter_at(k)
        return m.n + (k - m.k) // m.q

    def beat(self, n):
        m = self.meter_of(n)
        k = m.k + (n - m.n) * m.q
        i = _last(self.seg, "k", k)
        if i < 0 or not self.seg[i].uq:
            return None
        s = self.seg[i]
        t = s.time_of(k)
        following = self.time_at(k + m.q)
        bpm = 60000000 * PPQ / (s.uq_at(k - s.k) * m.q)
        return (
            n,
            m.bar + (n - m.n) // m.beats,
            (n - m.n) % m.beats + 1,
            bpm,
            t,
            0 if following is None else following - t,
        )

    def next_beat(self, after):
        last = len(self.seg) - 1
        for i in range(max(_last(self.seg, "t", after), 0), last + 1):
            s = self.seg[i]
            if not s.uq:
                continue
            n = self.beat_number(s.k if after < s.t else s.k + s.ticks_at(after - s.t)[0])
            k = self.beat_ticks(n)
            while k < s.k or s.time_of(k) <= after:
                n += 1
                k = self.beat_ticks(n)
            if i == last or k < self.seg[i + 1].k:
                return self.beat(n)
        return None

    def beat_at_or_before(self, t):
        for i in range(_last(self.seg, "t", t), -1, -1):
            s = self.seg[i]
            if not s.uq:
                continue
            end = self.seg[i + 1].k if i + 1 < len(self.seg) else None
            n = self.beat_number(s.k + s.ticks_at(t - s.t)[0] + 1)
            k = self.beat_ticks(n)
            while k >= s.k and ((end is not None and k >= end) or s.time_of(k) > t):
                n -= 1
                k = self.beat_ticks(n)
            if k >= s.k:
                return self.beat(n)
        return None
