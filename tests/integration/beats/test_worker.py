"""The worker process against a real broker: what it does when told, and what happens to the beat when it is hurt."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from bandroom.beats import spelling
from bandroom.beats.lanes import LANES
from bandroom.mqtt import Credential, Tcp, connect
from bandroom.music.edits import set_tempo, stop
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap
from bandroom.testing import wait_until_async

if TYPE_CHECKING:
    from conftest import Heard, Site

FOUR = Meter.parse("4/4")
ROOM = "MUSIC-1234"
KEY = ("lincoln", ROOM)
REPLAYED_US = 1_000_000  # arrival on a busy machine is well below it; a beat kept through an outage, above


def going(site: "Site", bpm: float = 400.0) -> TempoMap:
    from bench.home import running_map

    return running_map(site.clock.now_us(), bpm, FOUR)


def of(heard: "list[Heard]", key: tuple[str, str] = KEY) -> "list[Heard]":
    return [each for each in heard if each.room == key]


def check(heard: "Iterable[Heard]", tempo_map: TempoMap) -> None:
    """Each beat is the map's, came not early, was not replayed, and none came twice."""
    heard = list(heard)
    for each in heard:
        due = tempo_map.beat(each.beat.n)
        assert due is not None
        assert (each.beat.t, each.beat.bar, each.beat.pos, each.beat.d) == (due.t, due.bar, due.pos, due.d)
        assert each.at_us >= each.beat.t
        assert each.at_us - each.beat.t < REPLAYED_US
    for before, after in pairwise(heard):
        assert after.beat.n > before.beat.n


async def count(heard: "list[Heard]", wanted: int, key: tuple[str, str] = KEY) -> None:
    await wait_until_async(lambda: len(of(heard, key)) >= wanted, what=f"{wanted} beats of {key}")


async def test_it_beats_on_the_map_s_grid(site: "Site") -> None:
    """Rooms on record when it starts are beaten: consecutive numbers, each at its time."""
    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    async with site.ear() as (_, heard), site.worker():
        await count(heard, 8)
    check(of(heard), tempo_map)
    assert [each.beat.n for each in of(heard)] == list(range(of(heard)[0].beat.n, of(heard)[-1].beat.n + 1))


async def test_two_tenants_with_one_code_have_a_tempo_each(site: "Site") -> None:
    """MUSIC-1234 in two schools at once: each beats at its own tempo, on its own topic."""
    fast, slow = going(site, 400), going(site, 200)
    site.set_map("lincoln", ROOM, fast)
    site.set_map("adams", ROOM, slow)
    async with site.ear() as (_, heard), site.worker():
        await count(heard, 5, ("adams", ROOM))
    check(of(heard, ("lincoln", ROOM)), fast)
    check(of(heard, ("adams", ROOM)), slow)
    assert {each.beat.d for each in of(heard, ("lincoln", ROOM))} == {150_000}
    assert {each.beat.d for each in of(heard, ("adams", ROOM))} == {300_000}


@pytest.mark.rule("TEMPO-2")
async def test_a_change_is_followed_from_the_message_and_from_the_record(site: "Site") -> None:
    """News comes by `tempo`; where that was missed, from the record; a lower revision changes nothing."""
    first = going(site, 300)
    site.set_map(*KEY, first)
    async with site.ear() as (connection, heard), site.worker():
        await count(heard, 3)
        second = set_tempo(first, first.rev + 1, site.clock.now_us(), 400, "beat").map
        await site.publish_map(connection, *KEY, second)
        await wait_until_async(lambda: of(heard)[-1].beat.rev == second.rev, what="the message was followed")
        await site.publish_map(connection, *KEY, first)
        third = set_tempo(second, second.rev + 1, site.clock.now_us(), 350, "beat").map
        site.set_map(*KEY, third)
        await wait_until_async(lambda: of(heard)[-1].beat.rev == third.rev, what="the record was read again")
        site.set_map(*KEY, stop(third, third.rev + 1, site.clock.now_us()).map)
        await wait_until_async(lambda: site.meters()["running"] == 0, what="the room stopped")
    revs = [each.beat.rev for each in of(heard)]
    assert revs == sorted(revs)
    numbers = [each.beat.n for each in of(heard)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_kill_9_keeps_numbers_and_grid(site: "Site") -> None:
    """A worker killed and replaced: the same grid and numbers, none doubled, none late, none out of order."""
    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    async with site.ear() as (_, heard):
        async with site.worker() as process:
            await count(heard, 5)
            process.kill()
            await asyncio.to_thread(process.wait)
        killed_us = site.clock.now_us()
        before = len(of(heard))
        async with site.worker():
            await count(heard, before + 5)
    check(of(heard), tempo_map)
    after = [each.beat for each in of(heard) if each.beat.t > killed_us]
    assert [beat.n for beat in after] == list(range(after[0].n, after[0].n + len(after)))


@pytest.mark.rule("BEAT-2")
async def test_a_worker_that_was_stopped_drops_and_does_not_replay(site: "Site") -> None:
    """SIGSTOP for three seconds: what fell due meanwhile is dropped and counted, then it is on the grid at once."""
    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    async with site.ear() as (_, heard), site.worker() as process:
        await count(heard, 5)
        process.send_signal(signal.SIGSTOP)
        paused_us = site.clock.now_us()
        await wait_until_async(lambda: site.clock.now_us() > paused_us + 3_000_000, timeout_s=5)
        process.send_signal(signal.SIGCONT)
        before = len(of(heard))
        await count(heard, before + 5)
        await wait_until_async(lambda: site.meters()["dropped_late"] >= 18, what="the drops were counted")
        assert site.meters()["dropped_late"] <= 22
    check(of(heard), tempo_map)


async def test_a_broker_that_was_killed_gets_no_replay(site: "Site") -> None:
    """Kill -9 of the broker: the worker comes back by itself; beats that fell due meanwhile are lost and counted."""
    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    async with site.ear() as (connection, heard), site.worker():
        await count(heard, 5)
        site.broker.kill()
        await wait_until_async(lambda: not connection.connected, what="the ear noticed")
        await wait_until_async(lambda: site.meters()["unsent"] >= 3, what="unsent beats were counted")
        site.broker.restart()
        await connection.wait_connected()
        before = len(of(heard))
        await count(heard, before + 5)
        await wait_until_async(lambda: site.meters()["connects"] == 2, what="the second connection was counted")
    check(of(heard), tempo_map)


async def test_a_broker_that_hangs_stops_nothing_for_good(site: "Site") -> None:
    """SIGSTOP of the broker: the worker neither hangs nor sends afterwards what has become late by its own doing."""
    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    async with site.ear() as (_, heard), site.worker() as process:
        await count(heard, 3)
        site.broker.pause()
        paused_us = site.clock.now_us()
        await wait_until_async(lambda: site.clock.now_us() > paused_us + 1_000_000, timeout_s=5)
        site.broker.resume()
        before = len(of(heard))
        await count(heard, before + 12)
        assert process.poll() is None
    numbers = [each.beat.n for each in of(heard)]
    assert numbers == sorted(set(numbers))


async def test_rooms_are_shared_and_a_lost_share_is_served_again(site: "Site") -> None:
    """Two workers: every room has one, each beats only its own; a killed one's rooms go to its successor, and those of
    the other one lack no beat but what it counts as dropped."""
    tempo_map = going(site, 300)
    rooms = [("lincoln", f"MUSIC-{i:04d}") for i in range(20)]
    for key in rooms:
        site.set_map(*key, tempo_map)
    async with site.ear() as (_, heard), site.worker(1, 2):
        async with site.worker(0, 2) as first:
            await wait_until_async(lambda: {each.room for each in heard} == set(rooms), what="all rooms beat")
            first.kill()
            await asyncio.to_thread(first.wait)
        at = len(heard)
        async with site.worker(0, 2):
            await wait_until_async(
                lambda: {each.room for each in heard[at:]} == set(rooms), what="all rooms beat again"
            )
            await wait_until_async(lambda: site.meters(0)["rooms"] > 0, what="meters of the successor")
            assert site.meters(0)["rooms"] + site.meters(1)["rooms"] == 20
            assert 4 <= site.meters(0)["rooms"] <= 16
            at_us = site.clock.now_us()
            so_far = list(heard)
            await wait_until_async(lambda: site.meters(1)["time_us"] > at_us, what="meters of the other one")
            left_out = site.meters(1)["dropped_late"]
    others = [key for key in rooms if spelling.serves(key, 1, 2)]
    numbers = [[each.beat.n for each in of(so_far, key)] for key in others]
    assert sum(told[-1] - told[0] + 1 - len(told) for told in numbers) <= left_out
    for key in rooms:
        check(of(heard, key), tempo_map)


async def test_beats_in_thousands_go_out_together(site: "Site") -> None:
    """Five thousand beats a second at as many moments: fewer turns than beats, and none is left out for it."""
    from bench.home import add_rooms, bench_rooms

    add_rooms(site.home, bench_rooms(750, site.clock.now_us(), bpm=400))
    async with site.worker():
        await wait_until_async(lambda: site.meters()["running"] == 750, what="all rooms run")
        began = site.meters()
        await wait_until_async(lambda: site.meters()["published"] >= began["published"] + 15_000, what="three seconds")
        now = site.meters()
    assert now["published"] - began["published"] > 1.3 * (now["batches"] - began["batches"])
    assert now["unsent"] == 0
    # On a busy machine a moment's beats may be dropped for their lateness; most are not.
    assert now["dropped_late"] < 1500


async def test_beats_go_by_many_connections_and_lose_nothing_with_one(site: "Site") -> None:
    """A room's beats go by one of eight; where that is lost they go by the first, and it is made again. Nothing is lost
    but what was in it just then.
    """
    tempo_map = going(site, 100)
    rooms = [("lincoln", f"LANE-{number:04}") for number in range(24)]
    for key in rooms:
        site.set_map(*key, tempo_map)
    async with site.ear() as (_, heard), site.worker():
        await wait_until_async(lambda: site.meters()["lanes"] == LANES, what="all lanes are open")
        await count(heard, 1, rooms[-1])
        from_us = site.clock.now_us()
        for digit in range(LANES - 1):  # a bare broker asks nobody who they are: whoever has the id has its place
            who = Credential.fixed("x", f"bandroom_tempo-0_{digit}", "x")
            async with connect(Tcp("127.0.0.1", site.broker.port), who, will=None):
                pass
        before = len(of(heard, rooms[-1]))
        await wait_until_async(lambda: site.meters()["lanes_lost"] >= LANES - 1, what="the lanes were lost")
        until_us = site.clock.now_us()
        await wait_until_async(lambda: site.meters()["lanes"] == LANES, what="they were made again")
        await count(heard, before + 2, rooms[-1])
        assert site.meters()["connects"] == 1
    for key in rooms:
        check(of(heard, key), tempo_map)
        numbers = {each.beat.n for each in of(heard, key)}
        for n in set(range(min(numbers), max(numbers))) - numbers:
            lost = tempo_map.beat(n)
            assert lost, n
            assert from_us - 100_000 < lost.t < until_us, "only what was on its way in a connection that was cut"


@pytest.mark.rule("MSG-1")
async def test_bad_maps_are_counted_and_hurt_nobody(site: "Site") -> None:
    """Rubbish on record or on `tempo`: a count; the other rooms and the worker go on."""
    import aiomqtt

    tempo_map = going(site)
    site.set_map(*KEY, tempo_map)
    rubbish = [b"\xff", b"{}", b"[" * 8000, b'{"rev":1e30,"seg":[],"met":[]}', b"null", b'{"rev":-1}', b"9" * 5000]
    async with (
        site.ear() as (_, heard),
        aiomqtt.Client("127.0.0.1", site.broker.port) as client,
        site.worker() as process,
    ):
        await count(heard, 2)
        for payload in rubbish:
            await client.publish("tenant/lincoln/music_room/MUSIC-1234/tempo", payload, qos=1)
        for topic in ("tenant/LINCOLN/music_room/MUSIC-1234/tempo", "tenant/x/music_room/nope/tempo"):
            await client.publish(topic, tempo_json(tempo_map), qos=1)
        await wait_until_async(lambda: site.meters()["bad_maps"] == len(rubbish), what="all were counted")
        await count(heard, len(of(heard)) + 5)
        assert site.meters()["rooms"] == 1
        assert process.poll() is None
    check(of(heard), tempo_map)


def tempo_json(tempo_map: TempoMap) -> bytes:
    from bandroom.wire.tempo import to_message

    return to_message(tempo_map).encode()


async def test_it_ends_on_sigterm_and_leaves_nothing(site: "Site") -> None:
    """SIGTERM: exit code 0 within a second, and no meters of a worker that is gone."""
    site.set_map(*KEY, going(site))
    async with site.worker() as process:
        meters = site.home.root / "metrics" / "tempo-0.json"
        await wait_until_async(meters.exists)
        assert stat.S_IMODE(os.stat(meters).st_mode) == 0o600
        figures: dict[str, Any] = json.loads(meters.read_text())
        assert figures["worker"] == "tempo-0"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=2) == 0
    assert list(meters.parent.iterdir()) == []


@pytest.mark.parametrize("args", [["--index", "2", "--count", "2"], ["--index", "-1"], ["--spin-us", "1001"], []])
def test_wrong_arguments_say_what_is_wrong(args: list[str], tmp_path: Any) -> None:
    """A wrong share is refused with code 2 before anything is opened."""
    argv = [sys.executable, "-m", "bandroom.beats.worker", *args]
    if args:
        argv += ["--home", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert any(word in done.stderr for word in ("--index is 0 to", "--spin-us is 0 to", "required: --home"))


def test_a_folder_that_was_never_started_is_named(tmp_path: Any) -> None:
    """Without a clock file there is no time to beat in: one line that says so, exit code 1, no traceback."""
    argv = [sys.executable, "-m", "bandroom.beats.worker", "--home", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "gate" / "clock") in done.stderr
    assert "Traceback" not in done.stderr
