"""A class of the kit's devices against a running stack: what parts 3 and 4 share."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.netns import Net
from bench.players import Players
from bench.relay import Relay
from bench.stack import Stack

TREE = Path(__file__).parents[1]
PROCESSES = 3


def flood(stack: Stack, tenant: str) -> subprocess.Popen[bytes]:
    """Somebody of another school sends without end, to a room of that school."""
    stack.cli("tenants", "create", tenant)
    room = stack.cli("rooms", "create", "--tenant", tenant)["room"]
    who = stack.cli("tokens", "mint", "--tenant", tenant, "--role", "student", "--sub", "s-flood", "--room", room)
    topic = f"tenant/{tenant}/music_room/{room}/note/s-flood"
    address = stack.info.mqtt
    login = json.dumps([who["client_id"], who["username"], who["token"], topic])
    argv = [sys.executable, "-m", "bench.flood", address.host, str(address.port), login]
    return subprocess.Popen([*stack.prefix, *argv], cwd=TREE, stdout=subprocess.DEVNULL)


def play(
    stack: Stack,
    *,
    link: str | None,
    count: int,
    settle_s: float,
    seconds: float,
    seed: int,
    room: dict[str, Any],
    net: Net | None = None,
) -> dict[str, Any]:
    """`count` devices join over `link` (None: straight, beside the server) and are watched; what all of them saw.

    With `net` the devices are in its namespace and every frame passes the link; without, only their MQTT connections
    do, through a relay. `relay` tells how late that was itself.
    """
    cut: Callable[[], dict[str, Any] | None] = lambda: None  # noqa: E731
    with ExitStack() as cleanup:
        host, port = stack.info.mqtt.host, stack.info.mqtt.port
        prefix = list(stack.prefix)
        if link is not None and net is not None:
            net.link(link, seed)
            cleanup.callback(net.cut)
            cut, prefix = net.cut, net.inside(net.devices)
        elif link is not None:
            relay = Relay(link, seed, (host, port))
            cleanup.callback(relay.kill)
            cut, host, port = relay.cut, "127.0.0.1", relay.port
        common = {
            "url": stack.info.http.url,
            "tenant": room["tenant"],
            "code": room["code"],
            "host": host,
            "port": port,
            "offset_us": stack.clock.offset_us,
            "settle_s": settle_s,
            "seconds": seconds,
        }
        parts = [count // PROCESSES + (i < count % PROCESSES) for i in range(PROCESSES)]
        groups = [Players({**common, "count": part, "seed": seed + i}, prefix) for i, part in enumerate(parts) if part]
        for group in groups:
            cleanup.callback(group.kill)
        for group in groups:
            group.start()
        told = [group.result() for group in groups]
        relay_late = cut()
    onsets: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in told:
        for n, pairs in one["onsets"].items():
            onsets[n] += [(pair[0], pair[1]) for pair in pairs]
    return {
        "error_us": [x for one in told for x in one["error_us"]],
        "bound_us": [x for one in told for x in one["bound_us"]],
        "dishonest": sum(one["dishonest"] for one in told),
        "join_ms": [x for one in told for x in one["join_ms"]],
        "onsets": onsets,
        "relay": relay_late,
    }


def spread_us(onsets: dict[str, list[tuple[int, int]]], which: int) -> list[int]:
    """For each beat, between every two devices, how far their onsets lay apart."""
    return [abs(a[which] - b[which]) for devices in onsets.values() for a, b in combinations(devices, 2)]
