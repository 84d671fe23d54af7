"""How much one address may ask of the tunnel: pure bookkeeping, time is an argument.

A school's pupils share one address, so what they do well together is never counted against them: only
connections that the broker refused are. An address that keeps failing is slowed down, not shut out, so that a
pupil who plays tricks costs classmates a wait and not the lesson.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Limits:
    """What the tunnel allows. Counts are of connections, times in seconds, sizes in bytes."""

    total: int = 5_000
    per_address: int = 1_000
    waiting_per_address: int = 200
    """Connections of one address that the broker has not accepted yet."""
    failures_free: int = 40
    """Refused connections of one address before it is slowed down: a class whose tokens ran out together."""
    failures_per_s: float = 0.5
    """How many refusals a second are forgiven."""
    slowed_per_s: float = 5.0
    """Connections a second that an address may make while it is slowed down."""
    slowed_wait_s: float = 20.0
    """The longest wait before a slowed connection is turned away instead."""
    accept_s: float = 10.0
    """Time from the opened tunnel to the broker's acceptance."""
    send_s: float = 20.0
    """How long one message may wait for a browser that does not read."""
    frame_bytes: int = 16_384
    """Largest WebSocket message from a browser; a packet, which the broker limits to 8 KB, and then some."""
    up_bytes_per_s: float = 65_536.0
    """What one tunnel takes from its browser in the long run: four times what the gate lets a client publish."""
    up_burst_bytes: float = 262_144.0
    """What it takes at once. Beyond that the browser's own socket fills, and nobody else waits for it."""
    addresses: int = 10_000
    """Addresses remembered at most; the one idle longest is forgotten first."""
    forget_s: float = 30.0
    """How often those are forgotten of whom there is nothing to remember: nothing open, all failures forgiven."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is turned away, and in how many seconds another try makes sense."""

    reason: str
    retry_after_s: float


@dataclass(slots=True)
class Pace:
    """A bucket that fills by ``per_s`` up to ``burst`` and may be overdrawn once: then one has to wait."""

    per_s: float
    burst: float
    left: float
    at: float

    def spend(self, amount: float, now: float) -> float:
        """Take ``amount``: seconds to wait before the next."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_s) - amount
        self.at = now
        return max(0.0, -self.left / self.per_s)


@dataclass(slots=True)
class _Address:
    open: int = 0
    waiting: int = 0
    allowance: float = 0.0
    counted_at: float = 0.0
    next_slot: float = 0.0


def address_key(host: str | None) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 household holds."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return "local"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Doorkeeper:
    """Decides who may open a tunnel now, later, or not. Not thread-safe: one event loop owns it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = 0
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._swept_at = 0.0

    @property
    def remembered(self) -> int:
        """How many addresses are remembered."""
        return len(self._addresses)

    def enter(self, key: str, now: float) -> float | Refusal:
        """Count a new connection of ``key``: seconds to wait before it may go on, or why it may not.

        Unless refused it must be followed by ``leave``, and by ``accepted`` or ``failed`` in between.
        """
        self._sweep(now)
        limits, address = self.limits, self._address(key, now)
        if self.open >= limits.total:
            return Refusal("full", 5.0)
        if address.open >= limits.per_address or address.waiting >= limits.waiting_per_address:
            return Refusal("address_full", 5.0)
        wait = 0.0
        if address.allowance < 1.0:
            slot = max(now, address.next_slot)
            wait = slot - now
            if wait > limits.slowed_wait_s:
                return Refusal("address_failing", wait)
            address.next_slot = slot + 1.0 / limits.slowed_per_s
        self.open += 1
        address.open += 1
        address.waiting += 1
        return wait

    def accepted(self, key: str, now: float) -> None:
        """The broker accepted a connection of ``key``."""
        self._address(key, now).waiting -= 1

    def failed(self, key: str, now: float, *, count: bool = True) -> None:
        """A connection of ``key`` ends unaccepted; ``count`` it unless the broker itself was away."""
        address = self._address(key, now)
        address.waiting -= 1
        if count:
            address.allowance = max(0.0, address.allowance - 1.0)

    def leave(self, key: str, now: float) -> None:
        """A connection of ``key`` is gone."""
        self.open -= 1
        self._address(key, now).open -= 1

    def _address(self, key: str, now: float) -> _Address:
        address = self._addresses.get(key)
        if address is None:
            address = _Address(allowance=float(self.limits.failures_free), counted_at=now)
            self._addresses[key] = address
            self._forget()
        self._addresses.move_to_end(key)
        earned = (now - address.counted_at) * self.limits.failures_per_s
        address.allowance = min(float(self.limits.failures_free), address.allowance + earned)
        address.counted_at = now
        return address

    def _sweep(self, now: float) -> None:
        if now - self._swept_at < self.limits.forget_s:
            return
        self._swept_at = now
        free, per_s = self.limits.failures_free, self.limits.failures_per_s
        for key, address in list(self._addresses.items()):
            if address.open == 0 and address.allowance + (now - address.counted_at) * per_s >= free:
                del self._addresses[key]

    def _forget(self) -> None:
        """Keep the memory bounded. An address with open connections stays: its counts must come down again."""
        excess = len(self._addresses) - self.limits.addresses
        if excess > 0:
            idle = (key for key, address in self._addresses.items() if address.open == 0)
            for key in list(islice(idle, excess)):
                del self._addresses[key]
