"""The roster: presence made into members, without ghosts."""

import pytest
from bandroom.rooms.effects import Clear, Effect, Publish
from bandroom.rooms.roster import GONE_US, UNHEARD_US, Place, Roster
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import Member, Presence
from hypothesis import given
from hypothesis import strategies as st

LINCOLN, MUSIC, ANN = TenantId("lincoln"), RoomId("MUSIC-1234"), Subject("s-ann")
NAME = "tenant/lincoln/music_room/MUSIC-1234/member/s-ann"
PRESENCE = "tenant/lincoln/presence/s-ann"


def a_roster() -> Roster:
    return Roster(lambda tenant, sub: Place(MUSIC, "Ann", "student") if sub == ANN else None)


def shown(effects: list[Effect]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for effect in effects:
        match effect:
            case Publish(topic, Member() as member):
                found.append((topic.name, member.state))
            case Publish(topic, message):
                found.append((topic.name, message.encode().decode()))
            case Clear(topic):
                found.append((topic.name, None))
            case _:
                raise AssertionError(effect)
    return found


def hear(roster: Roster, said: Presence | None, now_us: int = 0) -> list[tuple[str, str | None]]:
    return shown(list(roster.hear(LINCOLN, ANN, said, now_us)))


def test_who_is_ready_is_shown_once() -> None:
    """A repeated `ready`, and our own echo, publish nothing new."""
    roster = a_roster()
    assert hear(roster, Presence("ready", 0)) == [(NAME, "ready")]
    assert hear(roster, Presence("ready", 0), 5) == []


@pytest.mark.rule("PRES-4")
def test_the_roster_carries_how_far_off_a_clock_may_be() -> None:
    """`err` in ms follows each report, is not there before one and not of those who are gone; the worst is told."""
    roster = a_roster()

    def err(said: Presence) -> list[float | None]:
        effects = roster.hear(LINCOLN, ANN, said, 0)
        return [e.message.err for e in effects if isinstance(e, Publish) and isinstance(e.message, Member)]

    assert err(Presence("ready", 0)) == [None]
    assert roster.worst_errors_ms(LINCOLN) == {}
    assert err(Presence("ready", 0, 850)) == [0.85]
    assert err(Presence("ready", 0, 850)) == []
    assert err(Presence("ready", 1, 3_200)) == [3.2]
    assert roster.worst_errors_ms(LINCOLN) == {MUSIC: 3.2}
    assert roster.worst_errors_ms(TenantId("other")) == {}
    assert hear(roster, Presence("lost", 0)) == [(PRESENCE, "ready 1 3200")]
    assert err(Presence("lost", 1)) == [None]
    assert roster.worst_errors_ms(LINCOLN) == {}


@pytest.mark.rule("PRES-6")
def test_the_roster_carries_what_is_played() -> None:
    """What a client says counts, and changes with each word of it; where it says nothing, what is on record. It stays
    with who is lost, and an older connection's end does not take it away.
    """
    place = Place(MUSIC, "Ann", "device", "bells")
    roster = Roster(lambda tenant, sub: place)

    def plays(said: Presence) -> list[str | None]:
        effects = roster.hear(LINCOLN, ANN, said, 0)
        return [e.message.instrument for e in effects if isinstance(e, Publish) and isinstance(e.message, Member)]

    assert plays(Presence("ready", 0)) == ["bells"]
    assert plays(Presence("ready", 0, None, "drums")) == ["drums"]
    assert plays(Presence("ready", 0, None, "drums")) == []
    assert plays(Presence("ready", 1, 850, "harp")) == ["harp"]
    assert hear(roster, Presence("lost", 0)) == [(PRESENCE, "ready 1 850 harp")]
    assert plays(Presence("lost", 1)) == ["harp"]
    assert plays(Presence("ready", 1)) == ["bells"]
    place = Place(MUSIC, "Ann", "device")
    (cleared,) = roster.refresh(LINCOLN, ANN)
    assert isinstance(cleared, Publish)
    assert isinstance(cleared.message, Member)
    assert cleared.message.instrument is None
    assert b"instrument" not in cleared.message.encode()


def test_who_is_lost_stays_a_minute_and_comes_back_with_the_time_of_coming() -> None:
    """A short loss keeps the line; after a minute line and presence are cleared."""
    roster = a_roster()
    hear(roster, Presence("ready", 0), 1_000_000)
    assert hear(roster, Presence("lost", 0), 2_000_000) == [(NAME, "lost")]
    assert list(roster.tick(2_000_000 + GONE_US - 1)) == []
    (back,) = roster.hear(LINCOLN, ANN, Presence("ready", 0), 3_000_000)
    assert isinstance(back, Publish)
    assert isinstance(back.message, Member)
    assert back.message.since == 1_000_000
    hear(roster, Presence("disconnected", 0), 4_000_000)
    assert shown(list(roster.tick(4_000_000 + GONE_US))) == [(NAME, None), (PRESENCE, None)]
    assert roster.present(LINCOLN, MUSIC) == []


@pytest.mark.rule("PRES-2")
def test_the_loss_of_an_older_connection_puts_nobody_out() -> None:
    """Renewing a token: `ready 1`, then `lost 0`. The retained topic is set right again."""
    roster = a_roster()
    hear(roster, Presence("ready", 0))
    assert hear(roster, Presence("ready", 1)) == []
    assert hear(roster, Presence("lost", 0)) == [(PRESENCE, "ready 1")]
    assert hear(roster, Presence("lost", 1)) == [(NAME, "lost")]


def test_a_ghost_whose_will_never_came_is_cleared() -> None:
    """After a loss of the broker, who does not say again that it is there becomes lost, then goes."""
    roster = a_roster()
    hear(roster, Presence("ready", 0))
    roster.broker_lost(1_000)
    assert shown(list(roster.tick(1_000 + UNHEARD_US))) == [(NAME, "lost")]
    assert shown(list(roster.tick(1_000 + UNHEARD_US + GONE_US))) == [(NAME, None), (PRESENCE, None)]
    hear(roster, Presence("ready", 0))
    roster.broker_lost(1_000)
    hear(roster, Presence("ready", 0), 2_000)
    assert list(roster.tick(10 * UNHEARD_US)) == []


def ticks(roster: Roster, begin_s: int, end_s: int) -> list[tuple[str, str | None]]:
    """A tick each second, as the service's."""
    return [each for t in range(begin_s, end_s) for each in shown(list(roster.tick(t * 1_000_000)))]


@pytest.mark.rule("PRES-5")
def test_who_falls_silent_is_lost_and_then_cleared() -> None:
    """With no Will, the broker there: 75 s after its last word lost, a minute later gone; a word brings it back."""
    roster = a_roster()
    hear(roster, Presence("ready", 0, 850))
    assert ticks(roster, 0, 30) == []
    assert hear(roster, Presence("ready", 0, 850), 30_000_000) == []
    assert ticks(roster, 30, 105) == []
    assert ticks(roster, 105, 106) == [(NAME, "lost")]
    assert hear(roster, Presence("ready", 0, 850), 110_000_000) == [(NAME, "ready")]
    assert ticks(roster, 106, 185) == []
    assert ticks(roster, 185, 186) == [(NAME, "lost")]
    assert ticks(roster, 186, 245) == []
    assert ticks(roster, 245, 246) == [(NAME, None), (PRESENCE, None)]


@pytest.mark.rule("PRES-5")
def test_a_board_that_never_speaks_twice_stays() -> None:
    """One that has not told of its clock owes no word: its Will tells when it goes."""
    roster = a_roster()
    hear(roster, Presence("ready", 0))
    assert ticks(roster, 0, 4000) == []


@pytest.mark.rule("PRES-5")
def test_nobody_is_lost_because_we_could_not_hear() -> None:
    """The machine slept, the service hung, the broker was away: the 75 s count from when they could be heard again."""
    roster = a_roster()
    hear(roster, Presence("ready", 0, 850))
    ticks(roster, 0, 60)
    # Asleep for an hour; the first tick comes before what waits in the queue is read.
    assert ticks(roster, 3660, 3661 + 14) == []
    hear(roster, Presence("ready", 0, 850), 3_675_000_000)
    assert ticks(roster, 3675, 3700) == []
    roster.broker_lost(3_700_000_000)
    assert ticks(roster, 3700, 3759) == []
    hear(roster, Presence("ready", 0, 850), 3_759_000_000)
    assert ticks(roster, 3759, 3834) == []
    assert ticks(roster, 3834, 3835) == [(NAME, "lost")]


def test_a_retained_line_of_nobody_is_cleared() -> None:
    """What a crash left in the broker goes, unless its subject turns up."""
    roster = a_roster()
    roster.stray(LINCOLN, MUSIC, ANN, 0)
    roster.stray(LINCOLN, MUSIC, Subject("s-ghost"), 0)
    hear(roster, Presence("ready", 0))
    assert shown(list(roster.tick(GONE_US))) == [(NAME.replace("s-ann", "s-ghost"), None)]


def test_whoever_is_in_no_room_is_on_no_roster() -> None:
    """Teachers, unassigned devices, members of closed rooms."""
    roster = a_roster()
    assert list(roster.hear(LINCOLN, Subject("t-smith"), Presence("ready", 0), 0)) == []
    assert roster.occupied() == set()


def test_a_screen_alone_does_not_keep_a_room_in_use() -> None:
    """A projector that is left on overnight is on the roster, and the room counts as empty all the same."""
    roster = Roster(lambda _, sub: Place(MUSIC, sub, "viewer" if sub.startswith("v-") else "student"))
    list(roster.hear(LINCOLN, Subject("v-music-1234"), Presence("ready", 0), 0))
    assert (roster.occupied(), len(roster.present(LINCOLN, MUSIC))) == (set(), 1)
    list(roster.hear(LINCOLN, ANN, Presence("ready", 0), 0))
    assert roster.occupied() == {(LINCOLN, MUSIC)}


@given(st.lists(st.tuples(st.sampled_from(["ready", "lost", "disconnected", "cleared", "tick"]), st.integers(0, 2))))
def test_the_line_tells_the_last_thing_said_of_the_newest_connection(steps: list[tuple[str, int]]) -> None:
    """Whatever comes in whatever order: what is retained equals what a reader of the rules would expect."""
    roster, retained, now_us = a_roster(), dict[str, str](), 0
    newest: int | None = None
    state: str | None = None
    for what, digit in steps:
        now_us += 1_000_000
        if what == "tick":
            now_us += GONE_US
            effects = list(roster.tick(now_us))
            if state in ("lost", "disconnected"):
                newest = state = None
        elif what == "cleared":
            effects = list(roster.hear(LINCOLN, ANN, None, now_us))
            state = "disconnected" if state == "ready" else state
        else:
            effects = list(roster.hear(LINCOLN, ANN, Presence(what, digit), now_us))  # type: ignore[arg-type]
            if what == "ready":
                newest, state = digit, "ready"
            elif newest is None:
                newest, state = digit, what
            elif digit == newest:
                state = what
        for name, value in shown(effects):
            if value is None:
                retained.pop(name, None)
            elif name == NAME:
                retained[name] = value
        assert retained.get(NAME) == state
