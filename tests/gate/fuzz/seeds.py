"""Writes the fuzzers' first inputs: one folder a target, and the keys file that the token target is judged by."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gatekit import SigningKey, line_with_checksum

TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjAxMjM0NTY3In0.eyJpc3MiOiJiYW5kcm9vbSJ9.AAAA"
ENTRIES = [
    "open lincoln MUSIC-1234", "close lincoln MUSIC-1234", "assign lincoln d-x -", "assign lincoln d-x MUSIC-1234",
    "mute lincoln MUSIC-1234 s-x", "unmute lincoln MUSIC-1234 s-x", "muteall lincoln MUSIC-1234",
    "unmuteall lincoln MUSIC-1234", "kick lincoln s-x", "revoke lincoln s-x 1 2", "revokejti lincoln a-b_C 2",
    "floor lincoln d-x 2", "limit lincoln subs 1 2", "member lincoln MUSIC-1234 s-x",
]  # fmt: skip


def main(out: Path) -> None:
    now = 1_800_000_000
    claims = {
        "iss": "bandroom", "aud": "bandroom", "sub": "s-x", "tenant": "lincoln", "role": "student",
        "room": "MUSIC-1234",
        "iat": now - 5, "nbf": now - 5, "exp": now + 60, "jti": "x",
    }  # fmt: skip
    keys = f"bandroom-keys 1\n{SigningKey('teacher,student,viewer', '01234567').line}\nmaster 1 {'00' * 32}\n"
    log = "bandroom-gate 1 0123456789abcdef\n" + "".join(
        line_with_checksum(f"{n} {e}") for n, e in enumerate(ENTRIES, 1)
    )
    leaves = [
        "beat", "tempo", "room", "member/s-x", "note/s-x", "note/+", "midi/s-x", "clock/s-x/q", "clock/s-x/r",
        "control/t-x", "control/t-x/reply", "feedback/s-x", "limit/s-x", "#", "+",
    ]  # fmt: skip
    topics = [f"tenant/{t}/music_room/MUSIC-1234/{leaf}" for t in ("lincoln", "other", "+") for leaf in leaves]
    topics += [
        "tenant/lincoln/presence/s-x",
        "tenant/lincoln/device/d-x/room",
        "$share/g/tenant/lincoln/#",
        "$SYS/#",
        "#",
    ]
    seeds = {
        "token": [TOKEN, json.dumps(claims), keys],
        "topic": topics,
        "log": [log, log[:-5], *ENTRIES, "\n".join(ENTRIES) + "\n1", line_with_checksum("1 open lincoln MUSIC-1234")],
        "clock": ["abcdefgh 0f 0000000000000000"],
    }
    (out / "fuzz.keys").write_text(keys)
    for target, inputs in seeds.items():
        folder = out / f"corpus-{target}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(inputs):
            (folder / f"seed-{number}").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
