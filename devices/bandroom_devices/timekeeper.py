"""Keeps server time for a device: sends pings in bursts, learns from the replies, steers the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bandroom.music.error_report import ErrorReport
from bandroom.music.ping_plan import STEP_US, PingPlan
from bandroom.music.slew import Settling
from bandroom.wire.messages import ClockPing, ClockReply

from bandroom_devices.exchange import ClockExchange
from bandroom_devices.listeners import Changes
from bandroom_devices.localclock import Flag, LocalClock, sleep_until
from bandroom_devices.servertime import ServerTime


class Timekeeper:
    """``send`` publishes a ping if it can; ``is_playing`` says whether the music runs at a local time; ``tell`` is
    handed the clock's error bound (µs) when that is news.
    """

    def __init__(
        self,
        clock: LocalClock,
        changes: Changes,
        *,
        send: Callable[[ClockPing], Awaitable[object]],
        is_playing: Callable[[int], bool],
        tell: Callable[[int], Awaitable[object]],
    ) -> None:
        self.time = ServerTime()
        self.resyncs = 0
        """How often time was so far off that whoever plays should be silent until the next bar."""
        self._clock = clock
        self._changes = changes
        self._send = send
        self._is_playing = is_playing
        self._tell = tell
        self._report = ErrorReport()
        self._exchange = ClockExchange()
        self._burst_due = Flag()
        self._settled = False  # a whole burst has been heard
        self._settling = Settling()
        self.settled = Flag()
        """Set when the first burst is over."""

    def ask_now(self) -> None:
        """Begin anew with a burst at once: the line is up again, or the room is another."""
        self._burst_due.set()

    def reply(self, message: ClockReply, arrived_us: int) -> None:
        """Learn from a reply that arrived at ``arrived_us``, local time."""
        sample = self._exchange.reply(message, arrived_us)
        if sample is not None:
            self.time.add(sample)
            if not self._settled:
                self._steer()

    async def run(self) -> None:
        """Ask when told to (``ask_now``), and ever more rarely from then on, until cancelled."""
        plan = PingPlan()
        await self._burst_due.wait()
        while True:
            if self._burst_due.is_set():
                self._burst_due.clear()
                plan.start(self._clock.now_us())
            await sleep_until(self._clock, min(plan.next_us or 0, self._clock.now_us() + STEP_US))
            now_us = self._clock.now_us()
            if plan.due(now_us, self.time.steered_bound_us):
                await self._send(self._exchange.ping(self._clock.now_us()))
            elif (plan.next_us or 0) - now_us > STEP_US:
                # The burst is over and its replies are in.
                self.settle()
                self.settled.set()
                await self._tell_error()
                await sleep_until(self._clock, plan.next_us or 0, unless=self._burst_due)

    def settle(self) -> None:
        """Put to use what a burst has told; once the clock is good it is slewed while music plays."""
        self._settled = self._settled or self.time.synced
        self._steer()

    async def _tell_error(self) -> None:
        now_us = self._clock.now_us()
        error_us = self._report.due(now_us, self.time.bound_us(now_us)) if self.time.synced else None
        if error_us is not None:
            await self._tell(error_us)

    def _steer(self) -> None:
        now_us, was_synced = self._clock.now_us(), self.time.synced
        # While the clock is still being found it is set anew, playing or not: nobody has settled into the beat yet.
        found = self._settled and was_synced and self._settling.done(now_us, self.time.bound_us(now_us))
        playing = found and self._is_playing(now_us)
        steady = self.time.steer(now_us, playing=playing)
        self.resyncs += not steady
        if self.time.synced and not (playing and was_synced and steady):
            self._changes.notify()
