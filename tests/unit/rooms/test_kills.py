"""kill -9 at random points: what was confirmed is there, and nothing that is neither before nor after a command."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from bandroom.rooms.gate_log import entries_of
from bandroom.store import Store
from bandroom.wire.gate_state import GateState, read_log

from . import killed
from .conftest import Plane

KILLS = 40
KILLS_OF_A_SOAK = int(os.environ.get("BANDROOM_KILLS", "3000"))
SEED = int(os.environ.get("BANDROOM_SEED", "0")) or random.randrange(10**6)


def _work_until_killed(folder: Path, seed: int, begin: int, after_s: float) -> list[str]:
    """What a process said that was killed some time after its first reply. Forked, to be quick about it."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writes, 1)
        try:
            killed.work(folder, seed, begin, 10**9, say=lambda text: os.write(1, f"{text}\n".encode()))
        finally:
            os._exit(1)
    os.close(writes)
    with os.fdopen(reads) as said:
        lines = [said.readline()]
        time.sleep(after_s)  # the moment of the kill, anywhere within some commands
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return lines + said.readlines()


def hold(plane: Plane, tmp_path: Path, seed: int, kills: int) -> None:
    """Kill and start again that many times, and look into the store each time."""
    plane.create()
    plane.close()
    rnd = random.Random(seed)
    done, last = 0, ""
    for i in range(kills):
        lines = _work_until_killed(tmp_path, seed, done, rnd.random() ** 2 * 0.05)
        # The last line may have been cut short by the kill; it was not confirmed then.
        confirmed = [line.split() for line in lines if line.endswith("\n")]
        assert confirmed, f"seed {seed}: the process died by itself"
        done, last = int(confirmed[-1][0]) + 1, confirmed[-1][1]
        with Store.open(tmp_path / "bandroom.db") as store:
            found = killed.digest(store)
            known = store.for_tenant(killed.LINCOLN).answered(killed.MUSIC, "owner", f"n{done}")
            if found != last:
                # One more was committed, and the kill came before its reply: it is whole, with its answer on record
                # (unless it was refused, and then it changed nothing).
                assert known is not None, f"seed {seed}, kill {i}: neither command {done - 1} nor {done}"
                done += 1
            wanted = GateState().apply_all(entries_of(store, killed.START_S))
        log = read_log((tmp_path / "gate-log").read_bytes())
        assert log.last_seq >= 0
        plane.open()
        assert plane.gate_state() == wanted, f"seed {seed}, kill {i}"
        plane.close()
    plane.open()


@pytest.mark.rule("CMD-5")
def test_after_a_kill_the_state_is_one_that_was_confirmed(plane: Plane, tmp_path: Path) -> None:
    """Killed and started again many times, the store holds the last confirmed state, or the one of the command in
    flight, whole; and the gate log written at the start says the same as the store.
    """
    hold(plane, tmp_path, SEED, KILLS)


@pytest.mark.soak
def test_after_thousands_of_kills_the_state_is_one_that_was_confirmed(plane: Plane, tmp_path: Path) -> None:
    """The same, for long."""
    hold(plane, tmp_path, SEED, KILLS_OF_A_SOAK)


def test_a_repeated_run_reaches_the_same_states(plane: Plane, tmp_path: Path) -> None:
    """The commands are a function of the seed, so that the test above compares like with like."""
    assert [killed.nth(7, n) for n in range(20)] == [killed.nth(7, n) for n in range(20)]
