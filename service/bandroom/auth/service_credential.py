"""The credential of the service's own parts at the broker's Unix socket: a fresh token of a minute at each connect."""

from __future__ import annotations

import time

from bandroom.auth.keys import load_keys
from bandroom.auth.tokens import mint_service
from bandroom.mqtt.credential import Credential
from bandroom.paths import Home
from bandroom.wire.ids import SERVICE_NAME, Role


def service_credential(home: Home, role: Role, n: int | None = None) -> Credential:
    """For ``Role.ROOMS``, or for ``Role.TEMPO`` with the worker's number ``n`` (from 0).

    Keys are read at each connect, so that a rotated key is used at once.
    """
    if role not in (Role.ROOMS, Role.TEMPO) or (n is None) != (role is Role.ROOMS):
        raise ValueError(f"{role} with number {n} is no part of the service")
    sub = "rooms" if n is None else f"tempo-{n}"
    return Credential(
        f"{SERVICE_NAME}/{sub}",
        f"{SERVICE_NAME}_{sub}",
        lambda: mint_service(load_keys(home), role, sub, now_s=int(time.time())),
    )
