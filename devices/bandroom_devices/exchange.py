"""Clock exchanges: which pings are on their way, and what their replies tell. Pure: time is an argument."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

from bandroom.wire.messages import ClockPing, ClockReply

_FORGET_US = 5_000_000  # an older reply says too little about the offset to be worth the risk of a wrapped number
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Sample:
    """One exchange: sent at ``t1`` (local µs), passed the server at ``t2`` to ``t3``, arrived at ``t4`` (local)."""

    t1: int
    t2: int
    t3: int
    t4: int

    @property
    def round_trip_us(self) -> int:
        """How long the exchange took on its way."""
        return (self.t4 - self.t1) - (self.t3 - self.t2)


def fresh_nonce() -> str:
    """Eight characters that tell this device's replies from older ones."""
    return "".join(secrets.choice(_LETTERS) for _ in range(8))


class ClockExchange:
    """Numbers pings and matches replies. Own send times are kept here: the wire carries none."""

    def __init__(self, nonce: Callable[[], str] = fresh_nonce) -> None:
        self._nonce = nonce()
        self._seq = 0
        self._sent: dict[int, int] = {}

    def ping(self, now_us: int) -> ClockPing:
        """The next ping, to be sent at once."""
        self._seq = (self._seq + 1) % 256
        self._sent[self._seq] = now_us
        return ClockPing(self._nonce, self._seq)

    def reply(self, reply: ClockReply, arrived_us: int) -> Sample | None:
        """What ``reply`` tells; None for a stranger's, a doubled or a very late one."""
        if reply.nonce != self._nonce:
            return None
        sent_us = self._sent.pop(reply.seq, None)
        if sent_us is None or not 0 <= arrived_us - sent_us <= _FORGET_US:
            return None
        return Sample(sent_us, reply.t, reply.t, arrived_us)
