"""kill -9 at random points: what was confirmed is there, and nothing that is neither before nor after a command."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from bandroom.rooms import admin
from bandroom.rooms.gate_log import entries_of
from bandroom.store import Store
from bandroom.wire.gate_state import GateState, read_log
from bandroom.wire.ids import Subject

from . import killed
from .conftest import Plane

KILLS = 40
KILLS_OF_A_SOAK = int(os.environ.get("BANDROOM_KILLS", "3000"))
SEED = int(os.environ.get("BANDROOM_SEED", "0")) or random.randrange(10**6)


def _work_until_killed(plane: Plane, seed: int, begin: int, rnd: random.Random) -> list[str]:
    """What a process said until it was killed. Forked, to be quick about it.

    The kill comes anywhere: while it starts (opening the store, writing the gate log anew), or within some command.
    """
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writes, 1)
        try:
            killed.work(plane.folder, plane.keys, seed, begin, 10**9, lambda text: os.write(1, f"{text}\n".encode()))
        finally:
            os._exit(1)
    os.close(writes)
    with os.fdopen(reads) as said:
        lines = [said.readline()] if rnd.random() < 0.8 else []
        time.sleep(rnd.random() ** 2 * 0.05)  # the moment of the kill
        ended, _ = os.waitpid(pid, os.WNOHANG)
        assert not ended, f"seed {seed}: the process died by itself at command {begin} or later"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return lines + said.readlines()


def hold(plane: Plane, seed: int, kills: int) -> int:
    """Kill and start again that many times, look into the store each time; returns how many commands were done."""
    room = plane.create()
    admin.mint_token(plane.control, killed.LINCOLN, Subject("s-ann"), room.room, 60)
    admin.enroll_device(plane.control, killed.LINCOLN, Subject("d-drum"), None)
    last = killed.digest(plane.store)
    plane.close()
    rnd = random.Random(seed)
    done = 0
    for i in range(kills):
        lines = _work_until_killed(plane, seed, done, rnd)
        # The last line may have been cut short by the kill; it was not confirmed then.
        confirmed = [line.split() for line in lines if line.endswith("\n")]
        if confirmed:
            done, last = int(confirmed[-1][0]) + 1, confirmed[-1][1]
        # What the kill left for the gate is whole lines that it can read, up to the last.
        left = (plane.folder / "gate-log").read_bytes()
        assert read_log(left).last_seq >= 0, f"seed {seed}, kill {i}"
        with Store.open(plane.folder / "bandroom.db") as store:
            found = killed.digest(store)
            if found != last:
                # One more was committed, and the kill came before its reply: it is whole, with its answer on record
                # (unless it was refused, and then it changed nothing).
                assert killed.is_done(store, seed, done), f"seed {seed}, kill {i}: neither {done - 1} nor {done}"
                done, last = done + 1, found
            wanted = GateState().apply_all(entries_of(store, killed.START_S))
        plane.open()
        assert plane.gate_state() == wanted, f"seed {seed}, kill {i}"
        plane.close()
    plane.open()
    return done


@pytest.mark.rule("CMD-5")
def test_after_a_kill_the_state_is_one_that_was_confirmed(plane: Plane) -> None:
    """Killed and started again many times, the store holds the last confirmed state, or the one of the command in
    flight, whole; and the gate log written at the start says the same as the store.
    """
    assert hold(plane, SEED, KILLS) > KILLS


@pytest.mark.soak
def test_after_thousands_of_kills_the_state_is_one_that_was_confirmed(plane: Plane) -> None:
    """The same, for long."""
    done = hold(plane, SEED, KILLS_OF_A_SOAK)
    print(f"{KILLS_OF_A_SOAK} kills, seed {SEED}, {done} commands done between them")


def test_the_commands_follow_from_the_seed() -> None:
    """In any order and every process, so that a seed that failed fails again; all kinds of them come up."""
    forwards = [killed.nth(7, n) for n in range(300)]
    assert [killed.nth(7, n) for n in reversed(range(300))] == forwards[::-1]
    assert [killed.nth(8, n) for n in range(300)] != forwards
    assert {asked["cmd"] for asked in forwards} == {asked["cmd"] for asked in killed.COMMANDS}
    assert [asked["cmd"] for asked in forwards[:5]] == ["rename", "stop", "join", "stop", "start"]
