"""The device's own beat schedule."""

from bandroom.music.edits import set_tempo, start
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom_devices.schedule import BeatSchedule

T0 = 1_700_000_000_000_000


def running(bpm: float = 120, count_in: int = 0) -> TempoMap:
    stopped = TempoMap.initial(1, T0, bpm, Meter.parse("4/4"))
    return start(stopped, 2, T0, "now", count_in=count_in).map


def play(schedule: BeatSchedule, until_us: int, now_us: int) -> list[Beat]:
    """Hand out every beat that falls due up to ``until_us``, each exactly at its time."""
    beats: list[Beat] = []
    while (beat := schedule.upcoming(now_us)) is not None and beat.t <= until_us:
        now_us = max(now_us, beat.t)
        schedule.hand_out(beat)
        beats.append(beat)
    return beats


def test_beats_come_in_order_on_the_grid_of_the_map() -> None:
    """Every beat of the map, once, with the map's own times."""
    tempo_map, schedule = running(), BeatSchedule()
    schedule.replace(tempo_map)
    beats = play(schedule, T0 + 5_000_000, T0)
    assert [beat.n for beat in beats] == list(range(len(beats)))
    assert all(beat == tempo_map.beat(beat.n) for beat in beats)
    assert len(beats) >= 9


def test_without_a_map_or_while_it_stands_still_nothing_comes() -> None:
    """No map, a stopped map: no beat."""
    schedule = BeatSchedule()
    assert schedule.upcoming(T0) is None
    schedule.replace(TempoMap.initial(1, T0, 120, Meter.parse("4/4")))
    assert schedule.upcoming(T0 + 10_000_000) is None


def test_a_tempo_change_keeps_the_numbers_running() -> None:
    """After an edit every beat still comes once, at the new map's times."""
    tempo_map, schedule = running(), BeatSchedule()
    schedule.replace(tempo_map)
    first = play(schedule, T0 + 3_000_000, T0)
    faster = set_tempo(tempo_map, 3, T0 + 3_000_000, 180, "beat").map
    schedule.replace(faster)
    rest = play(schedule, T0 + 6_000_000, T0 + 3_000_000)
    numbers = [beat.n for beat in first + rest]
    assert numbers == list(range(len(numbers)))
    assert rest[-1] == faster.beat(rest[-1].n)


def test_a_map_that_came_late_does_not_double_the_beat_it_moves() -> None:
    """Beat 4 was played already when a late map puts it 20 ms further on: it is not played twice."""
    schedule = BeatSchedule()
    schedule.replace(running())
    played = play(schedule, T0 + 2_200_000, T0)[-1]
    moved = running()
    shifted = TempoMap(3, tuple(type(s)(k=s.k, t=s.t + 20_000, uq=s.uq) for s in moved.seg[-1:]), moved.met)
    schedule.replace(shifted)
    following = schedule.upcoming(played.t + 1_000)
    assert following is not None
    assert following.n == played.n + 1


def test_a_start_from_zero_hands_the_numbers_out_again() -> None:
    """After stop and start, beat 0 comes again: it is another beat."""
    schedule = BeatSchedule()
    schedule.replace(running())
    play(schedule, T0 + 3_000_000, T0)
    again = start(
        TempoMap.initial(5, T0 + 4_000_000, 120, Meter.parse("4/4")), 6, T0 + 4_000_000, "now", count_in=0
    ).map
    schedule.replace(again)
    beat = schedule.upcoming(T0 + 4_000_000)
    assert beat is not None
    assert beat.n == 0


def test_a_device_that_slept_goes_on_with_the_present_beat() -> None:
    """Ten seconds asleep: the missed beats are not played back in a burst."""
    tempo_map, schedule = running(), BeatSchedule()
    schedule.replace(tempo_map)
    last = play(schedule, T0 + 2_000_000, T0)[-1]
    now_us = last.t + 10_000_000 + 30_000
    beat = schedule.upcoming(now_us)
    assert beat is not None
    assert beat.t >= now_us - 100_000
    assert beat.n >= last.n + 20
