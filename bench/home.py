"""A data folder made by hand for benches and tests: keys, clock, and a database full of rooms, without a supervisor."""

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from bandroom.auth.keys import ensure_keys
from bandroom.clock import ServerClock, ensure_clock_file
from bandroom.music.edits import start
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import TempoMap
from bandroom.paths import Home
from bandroom.store import Store
from bandroom.wire.ids import TenantId
from bandroom.wire.tempo import to_message

_INSERT = """INSERT OR REPLACE INTO rooms (tenant, room, join_code, join_key, state, name, info_rev, tempo, tempo_rev,
             created_at, used_at) VALUES (?, ?, ?, 'k', 'open', 'bench', 1, ?, ?, 0, 0)"""


def make(folder: Path) -> tuple[Home, ServerClock]:
    """A data folder with keys, clock and an empty database."""
    home = Home(folder)
    home.create()
    ensure_keys(home)
    clock = ensure_clock_file(home.gate_clock)
    Store.open(home.database).close()
    return home, clock


def tenant_of(index: int) -> TenantId:
    return TenantId(f"school-{index // 100}")


def room_of(index: int) -> str:
    return f"MUSIC-{index:04d}"


def running_map(now_us: int, bpm: float, meter: Meter, rev: int = 1) -> TempoMap:
    """A map whose beat 0 is due `now_us` + 150 ms."""
    still = TempoMap.initial(rev, now_us, bpm, meter)
    return start(still, rev + 1, now_us, "now", count_in=0).map


def add_rooms(home: Home, rooms: Iterable[tuple[str, str, TempoMap]]) -> None:
    """Write open rooms (tenant, room, map) straight into the database."""
    with closing(sqlite3.connect(home.database)) as base, base:
        for tenant, room, tempo_map in rooms:
            base.execute("INSERT OR IGNORE INTO tenants VALUES (?, ?, 0, NULL)", (tenant, tenant))
            text = to_message(tempo_map).encode().decode()
            base.execute(_INSERT, (tenant, room, room, text, tempo_map.rev))


def bench_rooms(
    count: int, now_us: int, *, bpm: float = 120.0, equal: bool = False, seed: int = 1
) -> list[tuple[str, str, TempoMap]]:
    """`count` rooms at `bpm`, their phases equal or spread at random over a beat."""
    rng = random.Random(seed)
    spread_us = 0 if equal else round(60e6 / bpm)
    meter = Meter.parse("4/4")
    return [
        (tenant_of(i), room_of(i), running_map(now_us - (rng.randrange(spread_us) if spread_us else 0), bpm, meter))
        for i in range(count)
    ]
