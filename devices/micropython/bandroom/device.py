# An instrument on a board: connects with the credential of `bandroom devices enroll`, goes to the room that it is
# assigned to, keeps server time, and says when each beat is due. For MicroPython 1.20 and later.

import asyncio
import json
import os
import random
import time

from .clock_filter import ClockFilter
from .mqtt import Mqtt
from .tempo_map import TempoMap

BURST = 8
STEP_MS = 30
# Bursts: until when after connecting, and how often (ms). On a link with jitter, where the error bound is above 2 ms,
# they are to be more; half as many as the server's ping_plan.py has, since a board takes long to think about each.
PACE = ((10000, 1000), (60000, 2000), (None, 10000))
JITTERY_PACE = ((5000, 500), (60000, 1000), (None, 2000))
JITTERY_US = 2000
LATE_US = 100000
# Nobody asked for a beat for this long although some were due: the board slept, or was busy, and comes back at a bar.
SLEPT_US = 1000000
HANGING_US = 30000000
MAX_SLEW = 0.005
RESYNC_US = 30000
# A clock is set anew with each burst, and only then slewed, until its bound has been this small or it is this old.
SETTLED_US = 5000
SETTLING_US = 10000000
# The error bound is told when it has doubled or halved, this seldom at most.
TELL_MS = 10000
AGAIN_MS = 20000


# Local time in µs that does not wrap; ask at least every few minutes (the pings do).
class LocalClock:
    def __init__(self):
        self._last = time.ticks_us()
        self._us = 0

    def us(self):
        now = time.ticks_us()
        self._us += time.ticks_diff(now, self._last)
        self._last = now
        return self._us


# Server time, steered by 5 ms a second at most while music plays, so that it never runs backwards.
class Steered:
    def __init__(self):
        self.set = False
        self._at = self._from = self._gap = 0
        self._skew = 0.0
        self._known = None
        self._settled = False

    def offset_at(self, local):
        passed = max(local - self._at, 0)
        reach = int(MAX_SLEW * passed)
        return self._from + int(self._skew * passed) + min(max(self._gap, -reach), reach)

    # How far it is still from where it is steered to, µs.
    def remaining(self, local):
        return max(abs(self._gap) - int(MAX_SLEW * max(local - self._at, 0)), 0)

    # True when whoever plays should be silent until the next bar.
    def steer(self, local, offset, skew, bound, playing):
        now = self.offset_at(local)
        if self._known is None:
            self._known = local
        free = not self.set or not self._settled or not playing
        self._settled = self._settled or bound <= SETTLED_US or local - self._known >= SETTLING_US
        wide = abs(offset - now) > RESYNC_US
        jump = free or wide
        self._from = offset if jump else now
        self._gap = 0 if jump else offset - now
        self._at = local
        self._skew = skew
        self.set = True
        return wide and not free


class Device:
    # `password` is the one that was shown when the device was enrolled. `on_note(player, message)` is called with each
    # classmate's note, `message` a dict with "on" or "off"; leave it out where nothing is to be heard. `ssl` is a
    # context, for a broker that is reached by TLS. `instrument` is what the roster shows, as "drums"; without it, what
    # was said when the device was enrolled.
    def __init__(self, host, port, username, password, on_note=None, clock=None, ssl=None, instrument=None):
        tenant, sub, _ = username.split("/")
        self._host = host
        self._port = port
        self._user = username
        self._password = password
        self._ssl = ssl
        self._on_note = on_note
        self.clock = clock or LocalClock()
        self.tenant = tenant
        self.sub = sub
        self.room = None
        self.map = None
        self._filter = ClockFilter()
        self._time = Steered()
        self._mqtt = Mqtt(self._message)
        self._nonce = "".join("%02x" % byte for byte in os.urandom(4))
        self._seq = 0
        self._sent = {}
        self._after = None
        self._looked = None
        self._resting = False
        self._moved = False
        self._sounding = {}
        self._presence = "tenant/%s/presence/%s" % (tenant, sub)
        self._told = None
        self._told_at = 0
        self._plays = " " + instrument if instrument else ""
        # Why it is not connected, and how often it has been.
        self.failure = None
        self.connects = 0

    # -- for the program

    @property
    def connected(self):
        return self._mqtt.connected

    @property
    def synced(self):
        return self._time.set

    # Server time now, µs.
    def now(self):
        local = self.clock.us()
        return local + self._time.offset_at(local)

    # What is played by is right to within this many µs, what is still to be slewed included; None before it is known.
    def error_us(self):
        local = self.clock.us()
        bound = self._filter.bound_at(local)
        return None if bound is None else round(bound) + self._time.remaining(local)

    # The next beat, at its time: (n, bar, pos, bpm, t, d). Waits while the room stands still or there is none. After a
    # sleep of the board that is the first beat of a bar.
    async def beat(self):
        while True:
            if self.map is None or not self.synced:
                await asyncio.sleep_ms(10)
                continue
            now = self.now()
            if self._after is None:
                self._after = now - 1
            slept = self._looked is not None and now - self._looked > SLEPT_US
            self._looked = now
            if slept:
                missed = self.map.next_beat(self._after)
                self._resting = self._resting or (missed is not None and missed[4] < now - LATE_US)
            # What was missed while the board was busy stays missed.
            beat = self.map.next_beat(max(self._after, now if self._resting else now - LATE_US))
            while self._resting and beat is not None and beat[2] != 1:
                beat = self.map.next_beat(beat[4])
            if beat is None:
                await asyncio.sleep_ms(20)
                continue
            left = beat[4] - now
            if left > 3000:
                # Awake now and then, since the map or the clock may change meanwhile.
                await asyncio.sleep_ms(min(left // 1000 - 2, 50))
                continue
            while left > 0:
                left = beat[4] - self.now()
            self._after = self._looked = beat[4]
            self._resting = False
            return beat

    # Begin a note now; True if it was sent.
    async def play(self, note, velocity=96, channel=0):
        return await self._note({"on": note, "v": velocity, "ch": channel})

    # End a note.
    async def release(self, note, channel=0):
        return await self._note({"off": note, "ch": channel})

    # Connect, and come back whenever the connection breaks: run this as a task for as long as the device is on.
    async def run(self):
        wait_ms = 0
        while True:
            began = time.ticks_ms()
            try:
                await self._session()
            except (OSError, asyncio.TimeoutError) as error:
                # Refused as well: a broker that restarts refuses for a moment; the same credential is tried again.
                self.failure = error
            if time.ticks_diff(time.ticks_ms(), began) > 2000:
                wait_ms = 0
            wait_ms = min(wait_ms * 2, 5000) if wait_ms else 50 + random.getrandbits(7)
            await asyncio.sleep_ms(wait_ms)

    # -- inside

    async def _session(self):
        mqtt = self._mqtt
        client_id = "%s_%s" % (self.tenant, self.sub)
        will = (self._presence, "lost 0")
        await mqtt.open(self._host, self._port, client_id, self._user, self._password, will, self._ssl)
        self.failure = None
        self.connects += 1
        tasks = [asyncio.create_task(mqtt.run()), asyncio.create_task(self._keep_time())]
        try:
            await mqtt.subscribe("tenant/%s/device/%s/room" % (self.tenant, self.sub))
            if self.room:
                await mqtt.subscribe(*self._topics())
            await self._ready()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            mqtt.abandon()

    # Say that it is there, by how many µs its clock may be off, and what it plays.
    async def _ready(self):
        said = "ready 0" if self._told is None else "ready 0 %d" % self._told
        await self._mqtt.publish(self._presence, (said + self._plays).encode(), 1, True)

    async def _tell_error(self):
        bound = self.error_us()
        if bound is None or not self._mqtt.connected:
            return
        bound = min(max(bound, 1), 9999999)
        if self._told is not None:
            # What is no news is said again, more rarely: who falls silent is taken for gone.
            news = bound > 2 * self._told or self._told > 2 * bound
            if time.ticks_diff(time.ticks_ms(), self._told_at) < (TELL_MS if news else AGAIN_MS):
                return
        self._told = bound
        self._told_at = time.ticks_ms()
        await self._ready()

    def _base(self):
        return "tenant/%s/music_room/%s/" % (self.tenant, self.room)

    def _topics(self):
        base = self._base()
        topics = [base + "tempo", base + "clock/%s/r" % self.sub]
        if self._on_note:
            topics += [base + "note/+", base + "member/+"]
        return topics

    async def _note(self, message):
        if not (self.room and self.connected):
            return False
        if self.synced:
            message["t"] = self.now()
        try:
            await self._mqtt.publish(self._base() + "note/" + self.sub, json.dumps(message).encode())
        except OSError:
            return False
        return True

    async def _keep_time(self):
        began = time.ticks_ms()
        while True:
            self._moved = False
            for _ in range(BURST):
                await self._ping()
                await asyncio.sleep_ms(STEP_MS)
            self._steer()
            await self._tell_error()
            burst = time.ticks_ms()
            age = time.ticks_diff(burst, began)
            bound = self._filter.bound_at(self.clock.us())
            pace = PACE if bound is not None and bound <= JITTERY_US else JITTERY_PACE
            pause = [every for until, every in pace if until is None or age < until][0] - BURST * STEP_MS
            while time.ticks_diff(time.ticks_ms(), burst) < pause:
                self._expire()
                if self._moved:
                    began = time.ticks_ms()
                    break
                await asyncio.sleep_ms(50)

    async def _ping(self):
        if self.room:
            self._seq = (self._seq + 1) % 256
            payload = "%s %02x 0000000000000000" % (self._nonce, self._seq)
            self._sent[self._seq] = self.clock.us()
            await self._mqtt.publish(self._base() + "clock/%s/q" % self.sub, payload.encode())

    def _steer(self):
        if self._filter.synced:
            local = self.clock.us()
            playing = self.map is not None and self.synced and self.map.running_at(self.now())
            known = self._filter
            skew, bound = known.skew_ppm * 1e-6, known.bound_at(local)
            if self._time.steer(local, known.offset_at(local), skew, bound, playing):
                self._resting = True

    def _message(self, topic, payload, retained):
        local = self.clock.us()
        if topic is None:
            # A subscription was refused: the room has closed, or the assignment was taken back. Try again shortly.
            self._mqtt.abandon()
            return
        try:
            if topic.endswith("/device/%s/room" % self.sub):
                self._assigned(payload.decode())
            elif not self.room or not topic.startswith(self._base()):
                return
            elif topic.endswith("/r"):
                self._reply(payload, local)
            elif topic.endswith("/tempo"):
                message = json.loads(payload)
                if self.map is None or message["rev"] > self.map.rev:
                    self.map = TempoMap(message)
            elif "/note/" in topic:
                self._heard(topic[topic.rfind("/") + 1 :], json.loads(payload), local)
            elif "/member/" in topic and b'"ready"' not in payload:
                self._silence(lambda player, _: player == topic[topic.rfind("/") + 1 :])
        except (ValueError, KeyError, TypeError, IndexError):
            pass  # anybody may send us anything; what cannot be read is no message

    def _reply(self, payload, arrived):
        if len(payload) != 28 or payload[:8].decode() != self._nonce:
            return
        sent = self._sent.pop(int(payload[9:11], 16), None)
        # Numbers come round again after 256 pings.
        if sent is not None and arrived - sent < 5000000:
            t = int(payload[12:])
            self._filter.add(sent, t, t, arrived)
            if not self.synced:
                self._steer()

    def _assigned(self, name):
        room = None if name in ("", "-") else name
        if room != self.room:
            asyncio.create_task(self._move(room))

    async def _move(self, room):
        try:
            if self.room:
                await self._mqtt.unsubscribe(*self._topics())
            self._silence(lambda player, since: True)
            self.room = room
            self.map = self._after = self._looked = None
            self._resting = False
            if room:
                await self._mqtt.subscribe(*self._topics())
        except OSError:
            pass  # the next connection begins with the new room
        self._moved = True

    def _heard(self, player, message, local):
        if player == self.sub:
            return
        notes = message.get("on", message.get("off"))
        for note in notes if isinstance(notes, list) else [notes]:
            if "on" in message:
                self._sounding[(player, note)] = local
            else:
                self._sounding.pop((player, note), None)
        self._on_note(player, message)

    # End what nobody else ends: after 30 s, or when its player has left.
    def _expire(self):
        now = self.clock.us()
        self._silence(lambda player, since: now - since > HANGING_US)

    def _silence(self, when):
        for key in [key for key, since in self._sounding.items() if when(key[0], since)]:
            del self._sounding[key]
            self._on_note(key[0], {"off": key[1]})
