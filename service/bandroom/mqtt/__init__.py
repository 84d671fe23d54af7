"""Talking MQTT: the one client that everybody uses, and the fast path for beats.

Names are brought in when they are asked for: the beat worker needs the packets and not the client, and its
start-up is part of how long a room stays silent after a crash.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bandroom.mqtt.backoff import Backoff
    from bandroom.mqtt.client import Connection, Will, connect
    from bandroom.mqtt.credential import Credential
    from bandroom.mqtt.endpoint import Endpoint, Tcp, UnixSocket, WebSocket
    from bandroom.mqtt.events import (
        Connected,
        ConnectFailed,
        Disconnected,
        Incoming,
        NotConnected,
        State,
        SubscribeRefused,
    )

__all__ = [
    "Backoff",
    "ConnectFailed",
    "Connected",
    "Connection",
    "Credential",
    "Disconnected",
    "Endpoint",
    "Incoming",
    "NotConnected",
    "State",
    "SubscribeRefused",
    "Tcp",
    "UnixSocket",
    "WebSocket",
    "Will",
    "connect",
]

_HOMES = {
    "Backoff": "backoff",
    "Credential": "credential",
    **dict.fromkeys(("Endpoint", "Tcp", "UnixSocket", "WebSocket"), "endpoint"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'client')}"), name)
