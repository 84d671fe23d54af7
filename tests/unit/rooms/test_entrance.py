"""Joins that come together: one commit, and each with an answer of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from bandroom.auth.tokens import verify
from bandroom.rooms.control import Control, Refused
from bandroom.rooms.entrance import AT_ONCE, Entrance
from bandroom.rooms.join import Joined, JoinRequest, NoSuchRoom, Seat, seat_all
from bandroom.store import Store, Unavailable

from .conftest import LINCOLN, MUSIC, Plane

P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """A thread that runs the control plane's functions, as the service has one, and counts the calls."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.calls = 0
        self._thread = ThreadPoolExecutor(1)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))


def of(code: str = "MUSIC-1234", **asked: str) -> JoinRequest:
    return JoinRequest("lincoln", code, **asked)


async def test_a_class_that_joins_at_once_shares_commits(music: Plane) -> None:
    """Thirty at once take three turns of the writer; all are in, under names and subjects of their own."""
    writer = Writer(music.control)
    entrance = Entrance(writer)
    joined = await asyncio.gather(*(entrance.join(of(nickname="Ann")) for _ in range(30)))
    assert writer.calls <= 30 // AT_ONCE + 2
    assert len({each.member.sub for each in joined}) == 30
    assert {each.member.name for each in joined} == {"Ann", *(f"Ann {n}" for n in range(2, 31))}
    assert {verify(music.keys, each.minted.token, now_s=music.now_s).sub for each in joined} == {
        each.member.sub for each in joined
    }


async def test_what_one_did_wrong_is_told_to_that_one_alone(music: Plane) -> None:
    """A wrong code, a wrong key and a name that spoils the projector among good joins."""
    entrance = Entrance(Writer(music.control))
    asked = [of(), of("NOWHERE-0000"), of(key="wrong"), of(nickname="a\x07b"), of(nickname="Ben")]
    answers = await asyncio.gather(*(entrance.join(each) for each in asked), return_exceptions=True)
    assert [type(each) for each in answers] == [Joined, NoSuchRoom, NoSuchRoom, Refused, Joined]


def test_every_seat_is_durable_before_its_reply(music: Plane) -> None:
    """When the call returns, another reader of the file finds all of them."""
    seats = seat_all(music.control, [of(), of("NOWHERE-0000"), of()])
    with Store.open(music.folder / "bandroom.db", readonly=True) as store:
        on_disk = {member.sub for member in store.for_tenant(LINCOLN).members(MUSIC)}
    assert on_disk == {seat.member.sub for seat in seats if isinstance(seat, Seat)}
    assert len(on_disk) == 2


def test_one_browser_twice_in_one_commit_is_one_pupil(music: Plane) -> None:
    """A double click: the second request finds the seat of the first."""
    cookie = "c" * 22
    one, two = seat_all(music.control, [of(cookie=cookie), of(cookie=cookie)])
    assert isinstance(one, Seat)
    assert isinstance(two, Seat)
    assert one.member == two.member


def test_one_who_was_kicked_comes_back_muted_beside_others(music: Plane) -> None:
    """The gate hears of the mute; those of the same turn have their seats whatever becomes of it."""
    first = music.join(nickname="Ann")
    music.do("mute", who="Ann")
    code = str(music.do("kick", who="Ann").code)
    ben, again, cleo = seat_all(music.control, [of(code), of(code, cookie=first.cookie), of(code)])
    assert isinstance(again, Seat)
    assert (LINCOLN, MUSIC, again.member.sub) in music.gate_state().muted
    music.gate.close()
    music.do("kick", who=str(again.member.sub))
    code = str(music.room().join_code)
    answers = seat_all(music.control, [of(code), of(code, cookie=first.cookie), of(code)])
    assert [type(each) for each in (ben, cleo, *answers)] == [Seat, Seat, Seat, Unavailable, Seat]


async def test_a_disk_that_cannot_be_written_is_told_to_each_and_the_next_may_come_in(
    plane: Plane, tmp_path: Path
) -> None:
    """All of a turn hear it; the entrance goes on working."""
    plane.create()
    entrance = Entrance(Writer(plane.control))
    plane.store.connection.raw.execute("PRAGMA query_only = ON")
    answers = await asyncio.gather(*(entrance.join(of()) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in answers] == [Unavailable] * 3
    plane.store.connection.raw.execute("PRAGMA query_only = OFF")
    assert (await entrance.join(of())).room.room == MUSIC


async def test_one_who_hangs_up_takes_nobody_along(music: Plane) -> None:
    """A request that is cancelled while it waits leaves the others their seats."""
    entrance = Entrance(Writer(music.control))
    gone = asyncio.create_task(entrance.join(of()))
    stays = asyncio.create_task(entrance.join(of()))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).room.room == MUSIC
    with pytest.raises(asyncio.CancelledError):
        await gone
