"""The device's beats on a clock that is moved by hand, without any network."""

import asyncio

import pytest
from bandroom.mqtt.client import Incoming
from bandroom.music.edits import set_tempo, start
from bandroom.music.meter import Meter
from bandroom.music.ping_plan import BURST
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom.wire import messages as m
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.tempo import to_message
from bandroom.wire.topics import Room
from bandroom_devices import Device, SkewedClock
from bandroom_devices.core import Core
from bandroom_devices.line import Identity
from bandroom_devices.testing import ManualLocalClock, settle

T0 = 1_700_000_000_000_000
ROOM = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))
ANN = Subject("s-ann")


class Bench:
    """A device in a room that exists only here: true time, and what is handed to the device."""

    def __init__(self, offset_us: int, ppm: float) -> None:
        self.true = ManualLocalClock(0)
        self.ahead_us = 0
        self.clock = SkewedClock(offset_us, ppm, self.true)
        identity = Identity(ROOM.tenant, ANN, "lincoln/s-ann", "secret")
        self.core = Core(self.clock, desk=None, identity=identity, endpoint=None, room=ROOM.room)
        self.device = Device(self.core)

    def server_us(self) -> int:
        return T0 + self.ahead_us + self.true.now_us()

    def hand(self, topic: object, message: m.Message | None) -> None:
        self.core._incoming(Incoming(topic, message, False, self.clock.now_us() * 1000))  # type: ignore[arg-type]

    async def exchange(self, way_us: int = 200) -> None:
        """A burst of pings that all take ``way_us`` each way."""
        for _ in range(BURST):
            ping = self.core.keeper._exchange.ping(self.clock.now_us())
            await self.true.advance(way_us)
            t_us = self.server_us()
            await self.true.advance(way_us)
            self.hand(ROOM.clock_reply(ANN), m.ClockReply(ping.nonce, ping.seq, t_us))
        self.core.keeper.settle()

    def map(self, tempo_map: TempoMap) -> None:
        self.hand(ROOM.tempo(), to_message(tempo_map))


def running(bpm: float = 120) -> TempoMap:
    return start(TempoMap.initial(1, T0, bpm, Meter.parse("4/4")), 2, T0, "now", count_in=0).map


async def follow(bench: Bench, heard: list[tuple[Beat, int]]) -> None:
    async for beat in bench.device.beats():
        heard.append((beat, bench.server_us()))  # noqa: PERF401  (the list is read meanwhile)


@pytest.mark.parametrize(("offset_us", "ppm"), [(0, 0.0), (7_000_000, 50.0), (-3_500_000, -50.0)])
async def test_beats_come_at_their_time_whatever_the_clock(offset_us: int, ppm: float) -> None:
    """A clock seconds off and 50 ppm wrong: every beat comes within 1 ms of true server time, none before."""
    bench, heard = Bench(offset_us, ppm), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    bench.map(running())
    for _ in range(3):
        await bench.true.advance(5_000_000)
        await bench.exchange()
    follower.cancel()
    assert [beat.n for beat, _ in heard] == list(range(len(heard)))
    assert len(heard) >= 29
    assert max(abs(at_us - beat.t) for beat, at_us in heard) <= 1_000


@pytest.mark.rule("BEAT-3")
async def test_late_lost_and_doubled_beat_messages_move_nothing() -> None:
    """Beat messages that come late, twice or never leave the device's beats where the map has them."""
    bench, heard = Bench(0, 0), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    tempo_map = running()
    bench.map(tempo_map)
    for step in range(20):
        await bench.true.advance(170_000)
        beat = tempo_map.beat_at_or_before(bench.server_us())
        if beat is not None and step % 3:
            message = m.Beat(rev=2, n=beat.n, bar=beat.bar, pos=beat.pos, bpm=beat.bpm, t=beat.t, d=beat.d)
            bench.hand(ROOM.beat(), message)
            bench.hand(ROOM.beat(), message)
    follower.cancel()
    assert [beat.n for beat, _ in heard] == list(range(7))
    assert all(0 <= at_us - beat.t <= 10 for beat, at_us in heard)


async def test_a_tempo_change_while_waiting_for_a_beat_is_followed() -> None:
    """The device sleeps towards a slow beat; a new map wakes it and the new grid holds."""
    bench, heard = Bench(1_000_000, 20), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    slow = running(30)
    bench.map(slow)
    await bench.true.advance(500_000)
    fast = set_tempo(slow, 3, bench.server_us(), 240, "now").map
    bench.map(fast)
    await bench.true.advance(3_000_000)
    follower.cancel()
    assert [beat.n for beat, _ in heard] == list(range(len(heard)))
    assert len(heard) >= 10
    assert all(beat == fast.beat(beat.n) for beat, _ in heard[1:])


async def test_beats_end_with_the_room() -> None:
    """A closed room ends the iterator instead of leaving the program waiting for ever."""
    bench, heard = Bench(0, 0), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    bench.map(running())
    await bench.true.advance(2_000_000)
    bench.hand(ROOM.info(), m.RoomInfo(rev=1, name="Music", state="closed"))
    await settle()
    assert follower.done()


async def test_a_device_acts_early_by_its_own_latency() -> None:
    """With ``early_us`` every beat is handed out that much sooner, still in order."""
    bench, heard = Bench(0, 0), list[tuple[Beat, int]]()
    bench.device = Device(bench.core, early_us=30_000)
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    bench.map(running())
    await bench.true.advance(3_000_000)
    follower.cancel()
    assert [beat.n for beat, _ in heard] == list(range(len(heard)))
    assert {round((beat.t - at_us) / 1000) for beat, at_us in heard} == {30}


async def test_without_a_connection_a_note_is_told_to_be_unsent() -> None:
    """Nothing is kept for later: ``play`` says so instead of raising."""
    bench = Bench(0, 0)
    await bench.exchange()
    assert await bench.device.play(60) is False


@pytest.mark.parametrize("bad", [{"notes": (128,)}, {"notes": (-1,)}, {"notes": (60,), "velocity": 0}])
async def test_a_note_that_cannot_be_is_refused_before_it_is_sent(bad: dict[str, object]) -> None:
    """Out of range: ``ValueError``, whether or not there is a connection."""
    bench = Bench(0, 0)
    notes = bad.pop("notes")
    with pytest.raises(ValueError, match="Note"):
        await bench.device.play(*notes, **bad)  # type: ignore[misc, arg-type]


def test_asking_for_the_time_before_it_is_known_says_what_to_do() -> None:
    """No made-up time: an error that names ``synced``."""
    with pytest.raises(RuntimeError, match="synced"):
        Bench(0, 0).device.now_us()


@pytest.mark.parametrize(
    ("username", "room"),
    [("lincoln/d-drum-3/1", "MUSIC-1234"), ("lincoln/s-ann", None), ("lincoln/d-drum", None), ("Lincoln/s-a", "X-1")],
)
def test_a_credential_and_a_room_that_do_not_fit_are_refused_at_once(username: str, room: str | None) -> None:
    """A device takes its assigned room, anybody else names one; bad names never reach the network."""
    with pytest.raises(ValueError, match="incoln"):
        Device.connect("127.0.0.1", 1883, username, "secret", room=room)


def test_secrets_stay_out_of_reprs() -> None:
    """Neither identity nor credential shows its password."""
    bench = Bench(0, 0)
    assert "secret" not in repr(bench.core.who)
    assert "secret" not in repr(bench.core.who.credential(0))


async def test_a_member_whom_nobody_tells_of_after_a_reconnect_has_gone() -> None:
    """Two members before; the line breaks, and afterwards only one is told of: ten seconds later the other is gone."""
    bench = Bench(0, 0)
    member = m.Member(name="Ben", kind="student", state="ready", since=T0)
    ben, cleo = Subject("s-ben"), Subject("s-cleo")
    for subject in (ben, cleo):
        bench.hand(ROOM.member(subject), member)
    dropping = asyncio.create_task(bench.core._drop_ghosts())
    await bench.core._up()
    bench.hand(ROOM.member(ben), member)
    bench.hand(ROOM.note(cleo), m.Note(on=60))
    await bench.true.advance(9_000_000)
    assert set(bench.device.members) == {ben, cleo}
    await bench.true.advance(2_000_000)
    assert set(bench.device.members) == {ben}
    dropping.cancel()


@pytest.mark.parametrize(("asleep_us", "first_pos"), [(3_300_000, 1), (700_000, 3)])
async def test_after_a_sleep_of_the_machine_it_comes_back_at_a_bar(asleep_us: int, first_pos: int) -> None:
    """Beats missed in a sleep of seconds are not replayed, and the first one after it begins a bar; after a stall of
    less than a second it is the next one."""
    bench, heard = Bench(0, 0), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    bench.map(running())
    await bench.true.advance(1_950_000 if first_pos == 1 else 2_300_000)
    before = len(heard)
    await bench.true.suspend(asleep_us)
    woke_us = bench.server_us()
    await bench.true.advance(4_000_000)
    follower.cancel()
    first, _ = heard[before]
    assert first.t >= woke_us - 100_000
    assert first.pos == first_pos
    assert all(0 <= at_us - beat.t <= 100_000 for beat, at_us in heard)
    assert [beat.n for beat, _ in heard[before:]] == list(range(first.n, first.n + len(heard) - before))


async def test_over_a_bad_network_the_clock_is_set_until_it_is_good() -> None:
    """20 ms wrong after a first burst that took 45 ms one way: with the next, quick one it is right at once and not
    after four seconds of slewing; from then on it is slewed."""
    bench = Bench(0, 0)
    bench.map(running())
    for _ in range(BURST):
        ping = bench.core.keeper._exchange.ping(bench.clock.now_us())
        await bench.true.advance(45_000)
        t_us = bench.server_us()
        await bench.true.advance(5_000)
        bench.hand(ROOM.clock_reply(ANN), m.ClockReply(ping.nonce, ping.seq, t_us))
    bench.core.keeper.settle()
    assert abs(bench.device.now_us() - bench.server_us()) == pytest.approx(20_000, abs=200)
    await bench.true.advance(700_000)
    await bench.exchange(200)
    assert abs(bench.device.now_us() - bench.server_us()) <= 100
    bench.ahead_us = 20_000
    await bench.exchange(200)
    assert abs(bench.device.now_us() - bench.server_us()) > 19_000


async def test_the_error_that_it_tells_holds_while_it_slews() -> None:
    """Server time turns out to be 20 ms elsewhere: until the clock is there, what the device says of its own error
    counts what is still to be slewed; once it is there that is small again."""
    bench = Bench(0, 0)
    bench.map(running())
    for _ in range(2):
        await bench.exchange()
        await bench.true.advance(1_000_000)
    bench.ahead_us = 20_000
    await bench.exchange()
    errors = list[int]()
    for _ in range(7):
        off_us, told_us = abs(bench.device.now_us() - bench.server_us()), bench.device.error_us
        assert told_us is not None
        assert off_us <= told_us <= off_us + 2_000
        errors.append(off_us)
        await bench.true.advance(1_000_000)
    assert errors[0] > 19_000
    assert errors[1] > 10_000
    assert errors[-1] <= 100


async def test_a_clock_that_was_far_off_comes_in_again_at_a_bar() -> None:
    """The server's clock stepped by 1.3 s (another machine took over): no beat is played until the next bar."""
    bench, heard = Bench(0, 0), list[tuple[Beat, int]]()
    follower = asyncio.create_task(follow(bench, heard))
    await bench.exchange()
    bench.map(running())
    await bench.true.advance(2_300_000)
    before = len(heard)
    bench.ahead_us = 1_300_000
    await bench.exchange()
    await bench.true.advance(4_000_000)
    follower.cancel()
    assert bench.core.keeper.resyncs == 1
    assert heard[before][0].pos == 1
    assert all(0 <= at_us - beat.t < 1_000 for beat, at_us in heard[before:])
