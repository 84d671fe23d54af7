"""What a connection gives and what can go wrong with it, as values."""

from dataclasses import dataclass

from bandroom.wire.message import Message
from bandroom.wire.topics import Filter, Topic


class NotConnected(ConnectionError):
    """There is no connection just now; it is being tried again in the background."""


class ConnectFailed(ConnectionError):
    """No connection came about in the time given. `refused`: the broker answered, and said no."""

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


class SubscribeRefused(PermissionError):
    """The broker does not let this credential hear these filters."""

    def __init__(self, filters: tuple[Filter, ...]) -> None:
        super().__init__("the broker refused to subscribe to " + ", ".join(f.name for f in filters))
        self.filters = filters


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that arrived. `message` is None where a retained topic was cleared (an empty payload).

    `t_received_ns` is the connection's `clock_ns` at the moment when the packet was read from the socket.
    """

    topic: Topic[Message]
    message: Message | None
    retained: bool
    t_received_ns: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection stands, subscriptions renewed. `session` counts from 1; `refused` could not be renewed."""

    session: int
    refused: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone or could not be made. `refused`: the broker said no to the credential."""

    reason: str
    refused: bool = False


State = Connected | Disconnected


@dataclass(slots=True)
class Counters:
    """What happened to messages and connections since the start."""

    received: int = 0
    undecodable: int = 0
    overflowed: int = 0
    connects: int = 0
    failures: int = 0
