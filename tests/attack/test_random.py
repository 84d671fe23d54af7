"""Two schools at random against the broker, with the Python policy as the oracle of everything that happens.

CONNECT, SUBSCRIBE, PUBLISH, Wills, cut connections, takeovers and gate log entries in any order (two_schools.py). The
number of steps is `BANDROOM_RANDOM_STEPS`, 10,000 unless set; `make soak` runs a million (`BANDROOM_SOAK_STEPS`) or an
hour (`BANDROOM_SOAK_SECONDS`), and says how far it came. `BANDROOM_RANDOM_SEED` repeats a run.
"""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Iterator

import pytest
from arena import running
from gatekit import Leg
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from two_schools import Stage, TwoSchools

STEPS = int(os.environ.get("BANDROOM_RANDOM_STEPS", "10000"))
STEPS_AN_EXAMPLE = 100
SOAK_STEPS = int(os.environ.get("BANDROOM_SOAK_STEPS", "1000000"))
SOAK_S = float(os.environ.get("BANDROOM_SOAK_SECONDS", "3600"))
SOAK_PATIENCE_S = 60.0
"""A soak may run beside everything else: what it asks is what is heard, not how soon."""
# To shrink a failure takes minutes on a real broker: the steps that led to it are printed as they are unless asked.
PHASES = [Phase.generate, *([Phase.shrink] if os.environ.get("BANDROOM_RANDOM_SHRINK") else [])]


@pytest.fixture(scope="module")
def random_broker(leg: Leg) -> Iterator[None]:
    """A broker of this module's own, and the service's two connections to it."""
    with running(leg, []) as broker:
        Stage.broker, Stage.rooms = broker, broker.service(keepalive=0)
        Stage.tempo = broker.service("tempo-0", keepalive=0)
        assert Stage.rooms.subscribe("tenant/#") == [0]
        yield


def run(steps: int, at_most_s: float) -> str:
    """So many steps, in examples of at most a hundred; fewer where the machine is too busy for that, and it says so."""
    first = int(os.environ.get("BANDROOM_RANDOM_SEED") or secrets.randbits(32))
    chosen = settings(
        max_examples=25,  # the first of each round is the simplest there is: nothing much
        stateful_step_count=STEPS_AN_EXAMPLE,
        deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    begin_steps, begin_deliveries, begin_s, rounds = Stage.steps, Stage.deliveries, time.monotonic(), 0
    while Stage.steps - begin_steps < steps and time.monotonic() - begin_s < at_most_s:
        try:
            run_state_machine_as_test(seed(first + rounds)(TwoSchools), settings=chosen)
        except BaseException as error:
            error.add_note(f"again with BANDROOM_RANDOM_SEED={first + rounds}")
            raise
        rounds += 1
    done, took_s = Stage.steps - begin_steps, time.monotonic() - begin_s
    heard = Stage.deliveries - begin_deliveries
    said = f"{done:,} of {steps:,} steps and {heard:,} messages heard in {took_s:.0f} s, seed {first}"
    if done < steps:
        warnings.warn(said, stacklevel=2)
    assert heard > done // 20, said
    return said


@pytest.mark.rule("ACL-1")
@pytest.mark.rule("ACL-10")
@pytest.mark.rule("ACL-17")
@pytest.mark.rule("REV-6")
@pytest.mark.rule("REV-7")
@pytest.mark.usefixtures("random_broker")
def test_two_schools_at_random() -> None:
    """Whatever two schools do, in whatever order, everybody hears what the policy says and nothing else."""
    run(STEPS, 90)


@pytest.mark.soak
@pytest.mark.parametrize("leg", ["installed"], indirect=True)
@pytest.mark.usefixtures("random_broker")
def test_two_schools_at_random_for_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, a million steps or an hour."""
    monkeypatch.setattr(Stage, "patience_s", SOAK_PATIENCE_S)
    Stage.rooms.patience = Stage.tempo.patience = SOAK_PATIENCE_S
    said = run(SOAK_STEPS, SOAK_S)
    with capsys.disabled():
        print(f"\ntwo schools at random: {said}")
