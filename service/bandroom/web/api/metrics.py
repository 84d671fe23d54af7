"""/metrics for Prometheus: rooms, beats, lateness, drops, joins, the gate's counters, the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from bandroom.certificate import CertificateStatus
from bandroom.web.deps import Site, TheOwner, TheSite
from bandroom.web.errors import responses

router = APIRouter(tags=["health"])
STALE_US = 3_000_000
"""A worker that has not written its figures for so long (µs) hangs; soon after, the supervisor replaces it."""


@router.get("/metrics", responses=responses(401, 403), response_class=Response)
async def metrics(_: TheOwner, site: TheSite) -> Response:
    """Figures for Prometheus, for the bearer of the owner's token."""
    rooms = await site.service.call(_rooms, site)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot([*rooms, *_gate(site), *_workers(site), *_certificate(site), *_own(site)]))
    text = generate_latest(registry) + generate_latest(site.service.figures.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Snapshot(Collector):
    """Figures that were read for this one answer."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bandroom_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"bandroom_{name}", text, value=value)


def _rooms(site: Site) -> list[Metric]:
    """In the writer's thread: it owns store and roster."""
    control = site.service.control
    rooms = GaugeMetricFamily("bandroom_rooms", "Rooms by tenant and state.", labels=["tenant", "state"])
    for tenant, state, count in control.store.room_counts():
        rooms.add_metric([tenant, state.value], count)
    present = GaugeMetricFamily("bandroom_rooms_in_use", "Rooms with somebody there, by tenant.", labels=["tenant"])
    for tenant, count in Counter(tenant for tenant, _ in control.roster.occupied()).items():
        present.add_metric([tenant], count)
    return [
        rooms,
        present,
        _gauge("present", "Subjects on the roster.", control.roster.size),
        _gauge("store_bytes", "Size of the database and its log.", _size(site.service.home.database)),
    ]


def _size(database: Path) -> int:
    files = (database, database.with_name(database.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _own(site: Site) -> list[Metric]:
    outbox = site.service.outbox
    found: list[Metric] = [
        _gauge("broker_connected", "Whether the service is connected to the broker.", site.service.connected.is_set()),
        _counter("published", "Messages the service published.", outbox.counters.published),
        _counter("unpublished", "Messages for which there was no broker.", outbox.counters.dropped),
    ]
    if site.tunnel is not None:
        for name, value in site.tunnel.figures().items():
            kind = _gauge if name == "open" else _counter
            found.append(kind(f"tunnel_{name}", f"The /mqtt tunnel: {name.replace('_', ' ')}.", value))
    if site.service.connection is not None:
        for name in ("received", "undecodable", "overflowed", "connects", "failures"):
            value: int = getattr(site.service.connection.counters, name)
            found.append(_counter(f"mqtt_{name}", f"The service's MQTT connection: {name}.", value))
    return found


def read_gate(status: Path) -> dict[str, str]:
    """The gate's report by name; empty while there is none or it is being written."""
    try:
        lines = status.read_text("ascii", "replace").rstrip().split("\n")
    except OSError:
        return {}
    if len(lines) < 2 or lines[0].strip() != lines[-1].strip():
        return {}
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def _gate(site: Site) -> list[Metric]:
    report = read_gate(site.service.home.gate_status)
    found: list[Metric] = []
    for name, value in report.items():
        if value.isdigit() and name not in ("status", "masters"):  # its own number, and a key's
            kind = _gauge if name == "connections" else _counter
            found.append(kind(f"gate_{name}", f"The gate: {name.replace('_', ' ')}.", int(value)))
    file_id, seq = site.service.control.gate.position
    match report.get("log", "").split():
        case [read_id, read_seq] if read_seq.isdigit():
            behind = seq - int(read_seq) if read_id == file_id else seq + 1
            found.append(_gauge("gate_behind", "Lines of its log that the gate has not read.", behind))
        case _:
            pass
    return found


def worker_figures(site: Site) -> dict[str, dict[str, Any]]:
    """What each tempo worker last wrote about itself, by its name; {} for one that wrote nothing (readable)."""
    found: dict[str, dict[str, Any]] = {}
    for n in range(site.state.tempo_workers):
        path = site.service.home.root / "metrics" / f"tempo-{n}.json"
        try:
            found[f"tempo-{n}"] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            found[f"tempo-{n}"] = {}
    return found


def _workers(site: Site) -> list[Metric]:
    lateness = HistogramMetricFamily(
        "bandroom_beat_lateness_seconds", "How late beats were published.", labels=["worker"]
    )
    gauges = {
        name: GaugeMetricFamily(f"bandroom_worker_{name}", text, labels=["worker"])
        for name, text in {
            "rooms": "Rooms of a worker's share.",
            "running": "Rooms whose beat is going.",
            "connected": "Whether the worker is connected to the broker.",
        }.items()
    }
    counters = {
        figure: (CounterMetricFamily(f"bandroom_{name}", text, labels=["worker"]), unit)
        for figure, name, text, unit in (
            ("dropped_late", "beats_dropped_late", "Beats that were too late to send.", 1.0),
            ("unsent", "beats_unsent", "Beats that no broker was there to take.", 1.0),
            ("send_ns", "beats_write_seconds", "Time spent on writing beats to the broker.", 1e-9),
            ("stalls", "worker_stalls", "Writes given up because the broker did not read.", 1.0),
            ("lanes_lost", "worker_lanes_lost", "Connections for beats that were lost and made again.", 1.0),
        )
    }
    beats = CounterMetricFamily("bandroom_beats", "Beats published.", labels=["worker"])
    for worker, figures in worker_figures(site).items():
        if not figures:
            continue
        for name, family in gauges.items():
            family.add_metric([worker], float(figures.get(name, 0)))
        for figure, (family, unit) in counters.items():
            family.add_metric([worker], float(figures.get(figure, 0)) * unit)
        told = figures.get("lateness_us", {})
        counts, bounds = told.get("counts", []), told.get("bounds", [])
        if len(counts) == len(bounds) + 1:
            total, buckets = 0, list[tuple[str, float]]()
            for bound, count in zip([*(f"{b / 1e6:g}" for b in bounds), "+Inf"], counts, strict=True):
                total += count
                buckets.append((bound, total))
            lateness.add_metric([worker], buckets, told.get("sum", 0) / 1e6)
            beats.add_metric([worker], total)
    return [lateness, *gauges.values(), *(family for family, _ in counters.values()), beats]


def certificate_state(site: Site) -> tuple[str, bool]:
    """Of the certificate in words, and whether clients can use it: "none", "ok", or what is wrong."""
    if site.state.tls is None:
        return "none", True
    status, now = CertificateStatus.read(site.service.home), datetime.now(UTC)
    if status is None:
        return "its status cannot be read", True
    return status.trouble(now) or "ok", not status.has_ended(now)


def _certificate(site: Site) -> list[Metric]:
    status = CertificateStatus.read(site.service.home) if site.state.tls is not None else None
    if status is None:
        return []
    text = "Whether the files given are not in use, because something is wrong with them."
    return [
        _gauge(
            "certificate_ends_seconds", "When the certificate in use ends, since the epoch.", status.ends.timestamp()
        ),
        _gauge("certificate_refused", text, bool(status.problem)),
    ]


def stalled_workers(site: Site, *, starting: bool = False) -> str | None:
    """Which workers do not beat, in words; None if all do. While ``starting`` one may be missing, or still connect."""
    now_us = site.service.control.now_us()
    bad = [
        name
        for name, figures in worker_figures(site).items()
        if (now_us - int(figures.get("time_us", 0)) > STALE_US if figures else not starting)
        or not (starting or figures.get("connected"))
    ]
    return f"{', '.join(bad)}: no sign of life, or not connected to the broker" if bad else None
