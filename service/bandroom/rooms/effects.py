"""What is to be done outside the store once a change is durable: in order, by the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bandroom.wire.gate_log import Entry
from bandroom.wire.message import Message
from bandroom.wire.topics import Topic


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a message."""

    topic: Topic[Any]
    message: Message


@dataclass(frozen=True, slots=True)
class Clear:
    """Clear a retained topic."""

    topic: Topic[Any]


@dataclass(frozen=True, slots=True)
class TellGate:
    """Append to the gate log, after what stands before it was published; ``anew``: then compact it."""

    entries: tuple[Entry, ...]
    anew: bool = False


Effect = Publish | Clear | TellGate
