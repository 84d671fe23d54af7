"""Runs the broker with the gate under valgrind while clients of every kind come and go, and looks for leaks.

    python leaks.py OUT [CONNECTS]      OUT holds bandroom_gate.so; 10,000 connects by default

Exit code 1 when valgrind saw an invalid access anywhere, or memory lost that the gate had asked for.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gatekit import GATE_SOURCE, Broker, GateHome, SigningKey, Will
from raw_mqtt import Refused

ROOM = "tenant/lincoln/music_room/MUSIC-1234"


def visit(broker: Broker, n: int) -> None:
    """One connection, of a kind that depends on `n`; every seventh is refused, every fifth vanishes with a Will."""
    sub = f"s-{n % 500}"
    match n % 7:
        case 0:
            with contextlib.suppress(Refused):
                broker.open(f"lincoln_{sub}", f"lincoln/{sub}", f"not.a.token{n}")
            return
        case 1:
            client = broker.device(sub=f"d-{n % 500}")
        case 2:
            client = broker.teacher(sub=f"t-{n % 50}", version=5, properties=b"\x11\x00\x00\x00\x3c")
        case _:
            client = broker.student(sub=sub, will=Will(f"tenant/lincoln/presence/{sub}"))
            client.subscribe(f"{ROOM}/beat", "#")
            client.publish(f"{ROOM}/note/{sub}")
            client.publish(f"{ROOM}/clock/{sub}/q", b"abcdefgh 00 0000000000000000")
    if n % 5:
        client.disconnect()
    else:
        client.settle()
        client.vanish()


def run(plugin: Path, connects: int) -> list[str]:
    """What valgrind found against the gate; empty: nothing."""
    program, broker_program = (
        shutil.which("valgrind"),
        shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin"),
    )
    assert program, "no valgrind: install the package `valgrind`"
    assert broker_program, "no mosquitto: install the package `mosquitto`"
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        home = GateHome(Path(folder) / "home", SigningKey("teacher,student,viewer"), SigningKey("rooms,tempo"))
        home.log("open lincoln MUSIC-1234")
        report = Path(folder) / "valgrind.txt"
        wrapper = Path(folder) / "broker"
        wrapper.write_text(
            f"#!/bin/sh\nexec {program} --leak-check=full --show-leak-kinds=definite,indirect,possible"
            f' --keep-debuginfo=yes --num-callers=30 --log-file={report} {broker_program} "$@"\n'
        )
        wrapper.chmod(0o755)
        broker = Broker(home, str(wrapper), plugin, "log_type none\n")
        try:
            broker.wait_ready(60)
            for n in range(connects):
                visit(broker, n)
                if n % 100 == 0:
                    home.log(f"mute lincoln MUSIC-1234 s-{n % 500}", f"kick lincoln s-{n % 500}")
                if n % 1000 == 999:
                    home.write_log(["open lincoln MUSIC-1234"])
        finally:
            code = broker.stop()
        text = report.read_text()
    sources = "|".join(path.stem for path in GATE_SOURCE.glob("*.c"))
    ours = re.compile(rf"lost in loss record.*\((?:{sources})\.c:\d+\)", re.DOTALL)
    wrong = re.compile(r"Invalid (?:read|write|free)|uninitialised")
    found = [block for block in re.split(r"==\d+== \n", text) if ours.search(block) or wrong.search(block)]
    if code != 0:
        found.append(f"the broker ended with {code}:\n{text[-3000:]}")
    return found


if __name__ == "__main__":
    results = run(Path(sys.argv[1]) / "bandroom_gate.so", int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
    print("\n".join(results) or "no leak of the gate's, no invalid access")
    sys.exit(bool(results))
