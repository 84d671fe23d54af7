"""The beat worker: a process that publishes each beat of its share of rooms when it is due.

    python -m bandroom.beats.worker --home DIR --index I --count N

One thread does everything, in order of urgency: send what is due; work out what comes next; then, in small pieces,
read news from the broker and rooms from the record; then sleep until shortly before the next beat, and spin for the
rest, unless beats are so many that it would do nothing else. It holds nothing that it cannot learn again, so it may be
killed at any moment. Prints `{"ready": true}` once it is connected and knows its rooms; ends on SIGTERM.
"""

import argparse
import gc
import json
import math
import os
import select
import signal
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bandroom import alive
from bandroom.beats import spelling
from bandroom.beats.engine import Engine, RoomBeats, RoomKey
from bandroom.beats.lanes import Lanes
from bandroom.beats.meters import Histogram, MetersFile
from bandroom.beats.record import Record
from bandroom.clock import ClockFileError, ServerClock
from bandroom.mqtt.beat_writer import Event, Offline, Online
from bandroom.mqtt.packets import Publish
from bandroom.paths import Home
from bandroom.store import StoreError

SPIN_US = 60
"""How long before a beat to stop sleeping and watch the clock; most sleeps end less late than that."""
CROWDED_HZ = 4000
"""Beyond so many beats a second it no longer watches the clock: it sleeps at least `REST_US`, and what falls due
meanwhile goes out in one write. With ten thousand rooms the next beat is never further off than `SPIN_US`; it would
never sleep at all, and write to the broker twenty thousand times a second."""
REST_US = 200
_LOOK_AGAIN_S = 1.0
_RETRY_RECORD_S = 0.2
_METERS_S = 1.0
_CHORES_AT_LEAST_S = 0.02
_SLICE = 16
_MAX_NEWS = 256
# The kernel lets a sleep of select() run over by a thousandth of its length: long ones are taken in two steps.
_COARSE_US = 20_000
_FINE_US = 10_000


def log(event: str, **values: Any) -> None:
    """A line of JSON on stderr, in the shape that the rest of the service logs in."""
    print(json.dumps({"event": event, "time": time.time(), **values}), file=sys.stderr, flush=True)


class Worker:
    """One worker: `index` (from 0) of `count`, on the data folder `home`."""

    def __init__(self, home: Home, index: int, count: int, *, tell_alive: bool = False, spin_us: int = SPIN_US) -> None:
        self._name = f"tempo-{index}"
        self._index, self._count = index, count
        self._clock = ServerClock.from_file(home.gate_clock)
        self._engine = Engine(spelling.beat_packet)
        self._record = Record(home.database)
        self._lanes = Lanes(home, index)
        self._meters = MetersFile(home.root / "metrics" / f"{self._name}.json")
        self._lateness = Histogram()
        self._news: deque[Event] = deque()
        self._reading: Iterator[tuple[RoomKey, int, str]] | None = None
        self._gone: set[RoomKey] = set()
        self._look_at_s = 0.0
        self._meters_at_s = 0.0
        self._alive_at_s = 0.0 if tell_alive else math.inf
        self._chores_at_s = 0.0
        self._spin_us, self._crowded = spin_us, False
        self._taken_before = 0
        self._stopping = False
        self._meters_fail = False
        self._ready = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._counts = dict.fromkeys(
            ("published", "unsent", "batches", "send_ns", "bad_maps", "readings", "offline"), 0
        )

    def stop(self, number: int = 0, frame: object = None) -> None:
        """End soon: a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Beat until told to stop."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        now_us, engine = self._clock.now_us, self._engine
        try:
            while not self._stopping:
                batch = engine.take_due(now_us())
                if batch:
                    self._send(batch)
                elif engine.unprepared:
                    engine.prepare(_SLICE)
                elif time.monotonic() < (chore_at_s := self._chore_at_s()):
                    self._wait(chore_at_s)
                    continue
                else:
                    self._chores(time.monotonic())
                # However busy the beats are, the connection must be looked after.
                if time.monotonic() >= self._chores_at_s:
                    self._chores(time.monotonic())
        finally:
            signal.set_wakeup_fd(-1)
            self._lanes.close()
            self._record.close()
            self._meters.remove()

    # -- beats

    def _send(self, batch: list[RoomBeats]) -> None:
        began_ns = time.perf_counter_ns()
        sent = self._lanes.send(batch)
        after_us = self._clock.now_us()
        counts = self._counts
        counts["send_ns"] += time.perf_counter_ns() - began_ns
        counts["batches"] += 1
        counts["published"] += len(sent)
        counts["unsent"] += len(batch) - len(sent)
        add = self._lateness.add
        for room in sent:
            add(after_us - room.due_us)

    def _wait(self, chore_at_s: float) -> None:
        """Sleep until something is to be done; the last `SPIN_US` before a beat are spent awake."""
        due_us = self._engine.next_due_us()
        left_us = int((chore_at_s - time.monotonic()) * 1e6)
        if due_us is not None:
            to_beat_us = due_us - self._clock.now_us()
            if self._crowded:
                to_beat_us = max(to_beat_us, REST_US)
            elif to_beat_us <= self._spin_us:
                self._spin(due_us)
                return
            else:
                to_beat_us -= self._spin_us
            left_us = min(left_us, to_beat_us)
        if left_us > _COARSE_US:
            left_us -= _FINE_US
        readable = select.select([self._wake_read, *self._lanes.filenos()], (), (), max(0, left_us) / 1e6)[0]
        if self._wake_read in readable:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 64)
        if readable:
            self._chores_at_s = 0.0
            self._hear(time.monotonic())

    def _spin(self, due_us: int) -> None:
        now_us = self._clock.now_us
        while now_us() < due_us:
            pass

    # -- chores, in small pieces: each call does little

    def _chore_at_s(self) -> float:
        """When there is something else to do than beats, of what no socket tells; 0: there is now."""
        if self._news or self._reading is not None:
            return 0.0
        return min(self._lanes.wake_at_s(), self._look_at_s, self._meters_at_s, self._alive_at_s)

    def _chores(self, now_s: float) -> None:
        self._chores_at_s = now_s + _CHORES_AT_LEAST_S
        if now_s >= self._lanes.wake_at_s() or self._lanes.filenos():
            self._hear(now_s)
        for _ in range(min(_SLICE, len(self._news))):
            self._take_news(self._news.popleft(), now_s)
        if now_s >= self._look_at_s or self._reading is not None:
            self._read_record(now_s)
        if now_s >= self._alive_at_s:
            self._alive_at_s = now_s + alive.EVERY_S
            alive.tell()
        if now_s >= self._meters_at_s:
            taken, since_s = self._engine.counters.taken, now_s - self._meters_at_s + _METERS_S
            self._crowded = taken - self._taken_before > CROWDED_HZ * since_s
            self._taken_before, self._meters_at_s = taken, now_s + _METERS_S
            self._write_meters()

    def _write_meters(self) -> None:
        try:
            self._meters.write(self.meters())
        except OSError as error:  # a full disk costs figures, not beats
            if not self._meters_fail:
                log("figures cannot be written", worker=self._name, reason=str(error))
            self._meters_fail = True
        else:
            self._meters_fail = False

    def _hear(self, now_s: float) -> None:
        # Not more than can be worked off soon: the rest waits in the socket.
        if len(self._news) < _MAX_NEWS:
            self._news.extend(self._lanes.step(now_s))

    def _take_news(self, event: Event, now_s: float) -> None:
        match event:
            case Publish(topic, payload):
                self._take_map(topic, payload)
            case Online():
                log("connected", worker=self._name, connects=self._lanes.first.connects)
                # Subscribed first, read afterwards: so nothing falls between.
                self._reading, self._look_at_s = None, now_s
                self._record.close()
            case Offline(reason):
                self._counts["offline"] += 1
                log("not connected", worker=self._name, reason=reason)

    def _take_map(self, topic: str, payload: bytes) -> None:
        key = spelling.room_of(topic)
        if key is None or not spelling.serves(key, self._index, self._count):
            return
        if not payload:
            self._gone.add(key)
            self._engine.remove(key)
            return
        self._gone.discard(key)
        self._set_map(key, payload)

    def _set_map(self, key: RoomKey, payload: bytes | str) -> None:
        try:
            self._engine.set_map(key, spelling.tempo_map(payload), self._clock.now_us())
        except spelling.BadMap as error:
            self._counts["bad_maps"] += 1
            log("bad tempo map", worker=self._name, tenant=key[0], room=key[1], reason=str(error))

    def _read_record(self, now_s: float) -> None:
        try:
            if self._reading is None:
                self._look_at_s = now_s + _LOOK_AGAIN_S
                if self._record.changed():
                    self._reading = self._record.rooms()
                    self._gone.clear()
                    self._engine.begin_reading()
                return
            for _ in range(_SLICE):
                row = next(self._reading, None)
                if row is None:
                    self._end_reading()
                    return
                key, rev, tempo = row
                ours = spelling.serves(key, self._index, self._count) and key not in self._gone
                if ours and self._engine.wants(key, rev):
                    self._set_map(key, tempo)
        except (StoreError, sqlite3.Error) as error:
            self._reading, self._look_at_s = None, now_s + _RETRY_RECORD_S
            self._record.close()
            log("cannot read the rooms", worker=self._name, reason=str(error))

    def _end_reading(self) -> None:
        self._reading = None
        self._counts["readings"] += 1
        self._engine.end_reading()
        if not self._ready and self._lanes.first.online:
            self._ready = True
            self._lanes.open_others()
            # What lives now lives long: keep it out of the collector's sight.
            gc.collect()
            gc.freeze()
            print(json.dumps({"ready": True, "pid": os.getpid(), "rooms": len(self._engine)}), flush=True)

    # -- meters

    def meters(self) -> dict[str, Any]:
        """What `DIR/metrics/tempo-<n>.json` holds; times in µs, send time in ns, counts since the start."""
        counters = self._engine.counters
        return {
            "worker": self._name,
            "pid": os.getpid(),
            "time_us": self._clock.now_us(),
            "cpu_ns": time.process_time_ns(),
            "connected": self._lanes.first.online,
            "connects": self._lanes.first.connects,
            "lanes": self._lanes.open,
            "lanes_lost": self._lanes.lost,
            "stalls": self._lanes.stalls,
            "rooms": len(self._engine),
            "running": self._engine.running,
            "dropped_late": counters.late,
            "maps": counters.maps,
            "stale_maps": counters.stale_maps,
            **self._counts,
            "lateness_us": self._lateness.as_json(),
        }


def _fine_timer() -> None:
    # By default the kernel may end a sleep 50 µs late, to save wake-ups.
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1000")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bandroom.beats.worker", description="Publish the beats of a share of rooms.")
    parser.add_argument("--home", required=True, help="the data folder")
    parser.add_argument("--index", type=int, default=0, help="which worker this is, from 0")
    parser.add_argument("--count", type=int, default=1, help="how many workers share the rooms")
    parser.add_argument("--alive", action="store_true", help="write signs of life to stdout, for the supervisor")
    parser.add_argument(
        "--spin-us", type=int, default=SPIN_US, help="how long before a beat to stay awake, 0 to 1000 µs (%(default)s)"
    )
    args = parser.parse_args(argv)
    if not 0 <= args.index < args.count:
        parser.error(f"--index is 0 to {args.count - 1} with --count {args.count}, not {args.index}")
    if not 0 <= args.spin_us <= 1000:
        parser.error(f"--spin-us is 0 to 1000, not {args.spin_us}")
    # Nothing in the loop makes reference cycles, and a collection would hold up the beats.
    gc.disable()
    _fine_timer()
    try:
        worker = Worker(Home(args.home), args.index, args.count, tell_alive=args.alive, spin_us=args.spin_us)
    except (ClockFileError, OSError, ValueError) as error:
        # ValueError: a data folder whose path is too long for its socket.
        print(f"bandroom tempo worker: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
