"""Joining: who gets in, as whom, and what those hear who do not."""

import pytest
from bandroom.auth.tokens import verify
from bandroom.rooms import codes, nicknames
from bandroom.rooms.control import Refused
from bandroom.rooms.join import NO_SUCH_ROOM, JoinRequest, NoSuchRoom, check_live, has_right_key, renew
from bandroom.rooms.throttle import FORGIVE_S, FREE, LONGEST_S, Throttle
from bandroom.wire.ids import Role
from hypothesis import given
from hypothesis import strategies as st

from .conftest import LINCOLN, MUSIC, TWIN, Plane


@pytest.mark.rule("JOIN-1")
def test_a_code_becomes_a_pupils_token(music: Plane) -> None:
    """The token is for this tenant and room; the code may be typed carelessly."""
    for typed in ("MUSIC-1234", "music-1234", " music 1234 ", "Music1234"):
        joined = music.join(typed)
        claims = verify(music.keys, joined.minted.token, now_s=music.now_s)
        assert (claims.tenant, claims.role, claims.room, claims.sub) == (
            LINCOLN,
            Role.STUDENT,
            MUSIC,
            joined.member.sub,
        )


def test_the_gate_knows_a_room_before_anybody_can_join_it(plane: Plane) -> None:
    """When create has returned, the log says `open`."""
    plane.create()
    assert (LINCOLN, MUSIC) in plane.gate_state().open_rooms


@pytest.mark.rule("JOIN-2")
def test_unknown_locked_closed_and_wrong_keys_get_one_answer(music: Plane) -> None:
    """Nothing in the answer tells a guesser that a room exists."""
    music.create("TABLE-0001")
    music.do("lock", room="TABLE-0001")
    music.create("CHAIR-0002")
    music.do("close", room="CHAIR-0002")
    asked = [
        {"code": "NOWHERE-0000"},
        {"code": "TABLE-0001"},
        {"code": "CHAIR-0002"},
        {"code": "MUSIC-1234", "key": "wrong"},
        {"code": "MUSIC-1234", "tenant": "nobody"},
        {"code": "MUSIC-1234", "tenant": "lincoln-2"},
        {"code": "not a code"},
        {"code": "MUSIC-1234", "tenant": "+/#"},
        {"code": "\ud800"},
        {"code": "MUSIC-1234", "key": "\ud800"},
    ]
    for request in asked:
        with pytest.raises(NoSuchRoom) as caught:
            music.join(**request)
        assert (caught.value.code, caught.value.text) == ("not_found", NO_SUCH_ROOM)


def test_the_same_code_leads_each_tenant_to_its_own_room(music: Plane) -> None:
    """MUSIC-1234 of two schools at once."""
    music.create("MUSIC-1234", TWIN)
    one, two = music.join(), music.join(tenant="lincoln-2")
    assert (one.room.tenant, two.room.tenant) == (LINCOLN, TWIN)
    assert one.member.sub != two.member.sub


def test_a_browser_that_was_in_comes_back_as_itself(music: Plane) -> None:
    """Subject, name and mute stay; locked rooms let it back in; another room makes it somebody else."""
    first = music.join(nickname="Ann")
    music.do("mute", who="Ann")
    music.do("lock")
    again = music.join(nickname="Someone Else", cookie=first.cookie)
    assert (again.member.sub, again.member.name, again.cookie) == (first.member.sub, "Ann", first.cookie)
    music.create("TABLE-0001")
    other = music.join("TABLE-0001", cookie=first.cookie)
    assert other.member.sub != first.member.sub
    assert other.member.cookie != first.member.cookie


@pytest.mark.parametrize("cookie", ["", "x", "ä" * 22, "a" * 5000, "../" * 7 + "x"])
def test_a_cookie_that_is_none_of_ours_is_replaced(music: Plane, cookie: str) -> None:
    """Whatever a browser sends, it gets a good one."""
    joined = music.join(cookie=cookie)
    assert joined.cookie != cookie
    assert len(joined.cookie) == 22


def test_whoever_was_kicked_comes_in_as_somebody_new_and_still_muted(music: Plane) -> None:
    """The old subject stays refused; a mute comes along with the browser."""
    first = music.join(nickname="Ann")
    music.do("mute", who="Ann")
    claims = verify(music.keys, first.minted.token, now_s=music.now_s)
    code = music.do("kick", who="Ann").code
    with pytest.raises(Refused, match="taken back"):
        check_live(music.control, claims)
    again = music.join(str(code), nickname="Ann", cookie=first.cookie)
    assert again.member.sub != first.member.sub
    assert again.member.name == "Ann"
    assert (LINCOLN, MUSIC, again.member.sub) in music.gate_state().muted
    check_live(music.control, verify(music.keys, again.minted.token, now_s=music.now_s))


def test_a_token_is_renewed_while_the_room_is_open_or_locked(music: Plane) -> None:
    """Same subject and room, a later end; not once the room is closed."""
    joined = music.join()
    claims = verify(music.keys, joined.minted.token, now_s=music.now_s)
    music.do("lock")
    music.advance(3600)
    renewed = verify(music.keys, renew(music.control, claims).token, now_s=music.now_s)
    assert (renewed.sub, renewed.room) == (claims.sub, claims.room)
    assert renewed.expires_at == claims.expires_at + 3600
    music.do("close")
    with pytest.raises(Refused, match="closed"):
        renew(music.control, claims)


def test_two_of_one_name_are_told_apart(music: Plane) -> None:
    """The second Ann becomes Ann 2; generated names never repeat in a room."""
    assert [music.join(nickname="Ann").member.name for _ in range(3)] == ["Ann", "Ann 2", "Ann 3"]
    names = {music.join().member.name for _ in range(50)}
    assert len(names) == 50


@pytest.mark.parametrize("name", ["a\x07b", "\u202eevil", "x" * 25, "a\u200bb", "Z\u0351\u0352\u0353algo", "\x00"])
def test_a_name_that_would_spoil_the_projector_is_refused(music: Plane, name: str) -> None:
    """Control and invisible characters, towers of accents, and long ones, with the reason."""
    with pytest.raises(Refused, match="a name") as caught:
        music.join(nickname=name)
    assert caught.value.code == "bad_request"


@given(st.text(max_size=60))
def test_a_tidy_name_is_one_that_the_wire_takes(text: str) -> None:
    """Whatever was typed: an error, or a name that every message can carry and that tidies to itself."""
    from bandroom.wire.messages import Member

    try:
        name = nicknames.typed(text)
    except nicknames.BadName:
        return
    assert Member(name=name, kind="student", state="ready", since=0).name == name
    assert nicknames.typed(name) == name


def test_a_thousand_friendly_words_make_codes() -> None:
    """All of them fit the form of a code and none stands twice."""
    assert len(codes.words()) == len(set(codes.words())) >= 1000
    for word in codes.words():
        assert 2 <= len(word) <= 8
        assert word.isascii()
        assert word.isalpha()
        assert word.isupper()


def test_a_full_space_of_codes_is_an_error_and_no_endless_search() -> None:
    """When nearly nothing is free, the owner is told."""
    with pytest.raises(codes.CodesExhausted, match="close rooms"):
        codes.new_code(lambda _: False)


def test_a_links_key_is_recognised_without_joining(music: Plane) -> None:
    """So that a class with the link is never slowed down by a guesser at the same address."""
    key = music.room().join_key
    assert has_right_key(music.control, JoinRequest("lincoln", "MUSIC-1234", key))
    assert not has_right_key(music.control, JoinRequest("lincoln", "MUSIC-1234", "wrong"))
    assert not has_right_key(music.control, JoinRequest("lincoln", "MUSIC-1234"))
    assert not has_right_key(music.control, JoinRequest("nobody", "x", key))


def test_failures_slow_one_address_down_and_are_forgiven() -> None:
    """The first cost nothing, then the delay grows to its longest; another address notices nothing."""
    throttle = Throttle()
    now_s = 100.0
    for _ in range(FREE):
        throttle.failed("a", now_s)
    assert throttle.wait_s("a", now_s) == 0
    waits: list[float] = []
    for _ in range(12):
        throttle.failed("a", now_s)
        waits.append(throttle.wait_s("a", now_s))
    assert waits == sorted(waits)
    assert waits[0] <= 1.0
    assert waits[-1] == LONGEST_S
    assert throttle.wait_s("b", now_s) == 0
    assert throttle.wait_s("a", now_s + LONGEST_S) == 0
    throttle.failed("a", now_s + 3600)
    assert throttle.wait_s("a", now_s + 3600) == 0
    for i in range(20_000):
        throttle.failed(f"address {i}", now_s)
    assert len(throttle._records) <= 10_000


def test_an_address_is_forgotten_with_its_failures() -> None:
    """Minutes later, when anybody comes, nothing of it is left in memory."""
    throttle = Throttle()
    for _ in range(30):
        throttle.failed("a", 1000.0)
    throttle.failed("b", 1000.0)
    throttle.wait_s("c", 1000.0 + FORGIVE_S)
    assert set(throttle._records) == {"a"}
    throttle.wait_s("c", 1000.0 + 31 * FORGIVE_S)
    assert not throttle._records
