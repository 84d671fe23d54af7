"""`make bench ARGS=rooms`: the control plane with many open rooms.

Commands a second and their time, joins, the way from a join to the first beat, memory by room and member, and how
long it takes until all rooms beat again after service and worker were killed: with the same numbers, on the same grid,
as a listener in some of them hears it. Over the real HTTP door, one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from bandroom.mqtt import Connection, Credential, Tcp, connect
from bandroom.music.tempo_map import TempoMap
from bandroom.wire.ids import RoomId, TenantId
from bandroom.wire.messages import Beat, Tempo
from bandroom.wire.tempo import from_message
from bandroom.wire.topics import Filter, Leaf

from bench import report
from bench.stack import Stack, running

TENANT = "bench"
_SPOKEN_BPM = 240


def owner(stack: Stack) -> httpx.Client:
    headers = {"Authorization": f"Bearer {stack.home.owner_token.read_text().strip()}"}
    return httpx.Client(base_url=stack.info.http.url, headers=headers, timeout=60)


def spread(
    stack: Stack, count: int, hands: int, work: Callable[[httpx.Client, int], None]
) -> tuple[float, list[float]]:
    """Do ``work`` ``count`` times over ``hands`` connections: how many a second, and the seconds that each took."""
    took_s: list[float] = []

    def one_hand(hand: int) -> None:
        with owner(stack) as http:
            for i in range(hand, count, hands):
                began_s = time.perf_counter()
                work(http, i)
                took_s.append(time.perf_counter() - began_s)

    began_s = time.perf_counter()
    with ThreadPoolExecutor(hands) as pool:
        list(pool.map(one_hand, range(hands)))
    return count / (time.perf_counter() - began_s), took_s


def rss_kb(stack: Stack) -> dict[str, float]:
    return {
        part: psutil.Process(stack.pid_of(part)).memory_info().rss / 1024 for part in ("service", "broker", "tempo")
    }


def gained(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    return {part: round((after[part] - before[part]) / count, 2) for part in before}


async def first_beat_s(stack: Stack, http: httpx.Client, code: str) -> float:
    """From calling join to hearing a beat, a browser's way without the page."""
    began_s = time.perf_counter()
    http.cookies.clear()
    answer = await asyncio.to_thread(http.post, "/api/join", json={"tenant": TENANT, "code": code})
    joined = answer.raise_for_status().json()
    credential = Credential.fixed(joined["username"], joined["client_id"], joined["token"])
    mqtt = stack.info.mqtt
    async with connect(Tcp(mqtt.host, mqtt.port), credential, will=None) as connection:
        await connection.subscribe(Filter(Leaf.BEAT, TenantId(TENANT), RoomId(joined["room"])))
        async for _ in connection.messages:
            return time.perf_counter() - began_s
    raise RuntimeError("the connection ended")


def all_beat_again_s(stack: Stack, http: httpx.Client, rooms: int, *parts: str) -> float:
    """Kill parts; seconds until the worker says that it beats all rooms and the service is ready.

    A worker says so once a second, so that is how exact the figure is.
    """
    old = {part: stack.pid_of(part) for part in parts}
    began_s = time.perf_counter()
    for pid in old.values():
        os.kill(pid, signal.SIGKILL)
    for part, pid in old.items():
        stack.wait_new(part, pid)
    wanted = f'bandroom_worker_running{{worker="tempo-0"}} {float(rooms)}'
    while time.perf_counter() - began_s < 60:
        try:
            if http.get("/readyz").status_code == 200 and wanted in http.get("/metrics").text:
                return time.perf_counter() - began_s
        except httpx.HTTPError:
            pass  # not listening yet
        time.sleep(0.02)
    raise RuntimeError("not all rooms came back within 60 s")


class Listener:
    """Hears the beats of some rooms, in a thread of its own, and holds them against the rooms' maps."""

    def __init__(self, stack: Stack, http: httpx.Client, codes: list[str]) -> None:
        self._stack, self._codes = stack, codes
        self._access = http.post(f"/api/tenants/{TENANT}/tokens", json={"sub": "t-listener"}).raise_for_status().json()
        self._loop = asyncio.new_event_loop()
        self._ready, self._done = threading.Event(), asyncio.Event()
        self.maps: dict[RoomId, TempoMap] = {}
        self.heard: dict[RoomId, list[tuple[int, Beat]]] = {RoomId(code): [] for code in codes}
        """For each room: when a beat came in (local clock, ns), and the beat."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        self._thread.start()
        self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    async def _run(self) -> None:
        mqtt, access = self._stack.info.mqtt, self._access
        credential = Credential.fixed(access["username"], access["client_id"], access["token"])
        async with connect(Tcp(mqtt.host, mqtt.port), credential, will=None, max_queued=100_000) as connection:
            for leaf in (Leaf.TEMPO, Leaf.BEAT):
                for code in self._codes:
                    await connection.subscribe(Filter(leaf, TenantId(TENANT), RoomId(code)))
            hearing = asyncio.ensure_future(self._hear(connection))
            self._ready.set()
            await self._done.wait()
            hearing.cancel()

    async def _hear(self, connection: Connection) -> None:
        async for incoming in connection.messages:
            room = incoming.topic.room
            if room is None:
                continue
            if isinstance(incoming.message, Tempo):
                self.maps[room] = from_message(incoming.message)
            elif isinstance(incoming.message, Beat):
                self.heard[room].append((incoming.t_received_ns, incoming.message))

    def since(self, mark_ns: int) -> dict[str, float]:
        """Of what came in since a mark: beats off the grid, out of order, left out; a room's longest silence (s)."""
        found = {"rooms": len(self.heard), "beats": 0, "off_grid": 0, "out_of_order": 0, "left_out": 0}
        silence_s = 0.0
        for room, all_heard in self.heard.items():
            heard = [each for each in all_heard if each[0] >= mark_ns]
            found["beats"] += len(heard)
            for _, beat in heard:
                due = self.maps[room].beat(beat.n)
                found["off_grid"] += due is None or abs(due.t - beat.t) > 1
            for (came_ns, one), (next_ns, other) in pairwise(heard):
                found["out_of_order"] += other.n <= one.n
                found["left_out"] += max(0, other.n - one.n - 1)
                silence_s = max(silence_s, (next_ns - came_ns) / 1e9)
        return {**found, "longest_silence_s": round(silence_s, 2)}


GOAL_S = 3.0


def goals(found: dict[str, Any]) -> list[str]:
    """What was aimed at, and whether it was reached."""
    again_s = max(found["after_kill_of_both_s"])
    heard = found["in_phase"]
    return [
        f"{'met   ' if again_s <= GOAL_S else 'MISSED'} all {found['rooms']} rooms beat again within {GOAL_S:g} s after"
        f" service and worker were killed: {again_s:g} s",
        f"{'met   ' if not heard['off_grid'] and not heard['out_of_order'] else 'MISSED'} in phase: of {heard['beats']}"
        f" beats in {heard['rooms']} rooms over {heard['kills']} kills, {heard['off_grid']} off the grid,"
        f" {heard['out_of_order']} out of order ({heard['left_out']} left out,"
        f" longest silence {heard['longest_silence_s']:g} s)",
    ]


def run(rooms: int, commands: int, joins: int, hands: int) -> dict[str, Any]:
    codes = [f"BENCH-{i:04d}" for i in range(rooms)]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as stack, owner(stack) as http:
        http.post("/api/tenants", json={"tenant": TENANT, "max_rooms": rooms}).raise_for_status()
        path = f"/api/tenants/{TENANT}/rooms"
        found: dict[str, Any] = {"machine": report.machine(), "rooms": rooms, "connections": hands}
        empty = rss_kb(stack)

        def create(client: httpx.Client, i: int) -> None:
            client.post(path, json={"code": codes[i], "bpm": _SPOKEN_BPM, "start": True}).raise_for_status()

        found["rooms_per_s"], took_s = spread(stack, rooms, hands, create)
        found["create_ms"] = report.summary(took_s, 1000)
        full = rss_kb(stack)
        found["kb_per_room"] = gained(empty, full, rooms)

        def command(client: httpx.Client, i: int) -> None:
            body = {"cmd": "set_tempo", "bpm": 200 + i % 100}
            client.post(f"{path}/{codes[i % rooms]}/commands", json=body).raise_for_status()

        found["commands_per_s"], took_s = spread(stack, commands, hands, command)
        found["command_ms"] = report.summary(took_s, 1000)

        def join(client: httpx.Client, i: int) -> None:
            client.cookies.clear()
            client.post("/api/join", json={"tenant": TENANT, "code": codes[i % rooms]}).raise_for_status()

        found["joins_per_s"], took_s = spread(stack, joins, hands, join)
        found["join_ms"] = report.summary(took_s, 1000)
        found["kb_per_member"] = gained(full, rss_kb(stack), joins)
        beats = [asyncio.run(first_beat_s(stack, http, codes[i % rooms])) for i in range(50)]
        found["join_to_first_beat_ms"] = report.summary(beats, 1000)
        with Listener(stack, http, codes[:: max(1, rooms // 40)][:40]) as listener:
            mark_ns = time.monotonic_ns()
            for name, parts in (("worker", ("tempo",)), ("both", ("tempo", "service"))):
                again_s = [round(all_beat_again_s(stack, http, rooms, *parts), 2) for _ in range(3)]
                found[f"after_kill_of_{name}_s"] = again_s
            time.sleep(1)
            found["in_phase"] = {"kills": 6, **listener.since(mark_ns)}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench rooms", description=__doc__)
    parser.add_argument("--rooms", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=3000)
    parser.add_argument("--joins", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    args = parser.parse_args()
    if not 1 <= args.rooms <= 10_000:
        parser.error(f"--rooms is 1 to 10000, not {args.rooms}")
    found = run(args.rooms, args.commands, args.joins, args.connections)
    for name, value in found.items():
        print(f"{name:24} {value if not isinstance(value, float) else round(value, 1)}")
    found["goals"] = goals(found)
    print("\n".join(found["goals"]))
    report.save("rooms", found)


if __name__ == "__main__":
    main()
