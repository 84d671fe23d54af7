"""A room as its retained topics tell it."""

import pytest
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Member, RoomInfo, Tempo
from bandroom.wire.tempo import to_message
from bandroom_devices.view import RoomView

ANN, TEA = Subject("s-ann"), Subject("t-mia")


def tempo(rev: int) -> Tempo:
    return to_message(TempoMap.initial(rev, 1_700_000_000_000_000, 120, Meter.parse("4/4")))


def member(state: str = "ready") -> Member:
    return Member.decode(f'{{"name":"Ann","kind":"student","state":"{state}","since":1}}'.encode())


@pytest.mark.rule("TEMPO-2")
def test_a_lower_or_equal_revision_of_the_map_is_dropped() -> None:
    """Messages can overtake each other on a reconnect: the highest rev stays."""
    view = RoomView()
    assert view.tempo(tempo(5))
    assert not view.tempo(tempo(4))
    assert not view.tempo(tempo(5))
    assert view.tempo_map is not None
    assert view.tempo_map.rev == 5


def test_a_map_that_contradicts_itself_is_dropped() -> None:
    """Two segments that do not meet: the device keeps what it has."""
    view = RoomView()
    view.tempo(tempo(5))
    bad = Tempo.decode(
        b'{"rev":6,"seg":[{"k":0,"t":1000,"uq":500000},{"k":960,"t":2000,"uq":500000}],'
        b'"met":[{"n":0,"k":0,"bar":1,"num":4,"den":4,"q":960}]}'
    )
    assert not view.tempo(bad)
    assert view.tempo_map is not None
    assert view.tempo_map.rev == 5


def test_a_member_who_is_lost_or_cleared_has_gone_once() -> None:
    """Lost, then cleared a minute later: gone the first time only."""
    view = RoomView()
    assert not view.member(ANN, member())
    assert view.member(ANN, member("lost"))
    assert not view.member(ANN, None)
    assert ANN not in view.members


def test_muting_tells_whose_notes_must_end() -> None:
    """One by name; all of them without the teacher; nobody twice."""
    view = RoomView()
    view.member(ANN, member())
    view.member(TEA, member())
    ben = Subject("s-ben")
    assert view.room(RoomInfo(rev=1, name="A", state="open", muted=(ben,))) == {ben}
    assert view.room(RoomInfo(rev=2, name="A", state="open", muted=(ben,), all_muted=True)) == {ANN}
    assert view.room(RoomInfo(rev=2, name="A", state="closed", muted=(ben,), all_muted=True)) == set()
    assert view.is_closed
