"""What the control plane counts of itself. One registry a service, so that two in one process do not mix."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Figures:
    """Counters and histograms, made once a service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.commands = Counter(
            "bandroom_commands", "Commands handled, by kind and outcome.", ["cmd", "outcome"], registry=self.registry
        )
        self.command_seconds = Histogram(
            "bandroom_command_seconds",
            "From a command's arrival until it is durable.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.joins = Counter("bandroom_joins", "Join calls, by outcome.", ["outcome"], registry=self.registry)
        self.dropped = Counter(
            "bandroom_messages_dropped",
            "Messages not handled, by reason.",
            ["why"],
            registry=self.registry,
        )
