"""What is decided before the first part starts: ports, addresses, certificate, the broker's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from bandroom.certificate import BadCertificate, read_pair
from bandroom.clock import ensure_clock_file
from bandroom.paths import Home
from bandroom.runstate import MqttAddress, RunState, TlsAddress, http_url
from bandroom.settings import BadSettings, Settings
from bandroom.supervisor import broker, certificate, gate, lock
from bandroom.supervisor.certificate import TlsFiles
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.ports import Reserved, lan_address, listen, reserve


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before the first part starts."""

    home: Home
    state: RunState
    broker_argv: tuple[str, ...] | None
    """None: the broker runs elsewhere."""
    http: Reserved
    mqtt: Reserved | None
    """Held so that the port stays ours while the broker restarts."""
    tls: Tls | None
    notes: tuple[str, ...]
    """What the user should know: a port that is not the usual one."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The encrypted listeners."""

    files: TlsFiles
    address: TlsAddress
    https: Reserved
    mqtts: Reserved | None
    """Held, as the plain one is; None where the broker runs elsewhere."""


def prepare(settings: Settings, home: Home) -> Plan:
    """Make the folder ready (its lock must be held): keys, clock, gate, ports, configuration.

    Raises ``StartError``, ``BadSettings``, ``OSError``.
    """
    # Only here: keys need the server's dependencies, and a missing one should say so by its own name.
    from bandroom.auth.keys import BadKeys, ensure_keys

    lock.clear_leftovers(home)
    try:
        ensure_keys(home)
    except BadKeys as error:
        raise StartError(str(error)) from error
    ensure_clock_file(home.gate_clock)
    broker.ensure_gate_log(home)
    if settings.external_broker:
        argv, library = None, gate.external_gate()
    else:
        argv, library = (gate.find_broker(), "-c", str(home.broker_conf)), gate.find_gate(home)

    asked = settings.model_fields_set
    mqtt_host, http_host = settings.mqtt_host, settings.http_host
    tls, notes = _tls(settings, home, ours=argv is not None)
    # With a certificate nothing travels in the clear but on this machine, unless an address was named.
    if settings.lan and tls is None:
        address = lan_address()
        mqtt_host = mqtt_host if "mqtt_host" in asked else address
        http_host = http_host if "http_host" in asked else address
    http = listen("the web", http_host, settings.http_port, asked_for="http_port" in asked)
    notes += _other_port("the web address", settings.http_port, http.port)
    mqtt = None
    mqtt_port = settings.mqtt_port
    if argv is not None:
        mqtt = reserve("MQTT", settings.mqtt_listen or mqtt_host, mqtt_port, asked_for="mqtt_port" in asked)
        notes += _other_port("MQTT", mqtt_port, mqtt.port)
        mqtt_port = mqtt.port
    elif mqtt_port == 0:
        raise StartError("with an external broker --mqtt-port must be the one that it listens on, not 0")
    public_url = settings.public_url or (tls.address.url if tls else http_url(http.host, http.port))
    state = RunState(
        mqtt=MqttAddress(host=mqtt_host, port=mqtt_port),
        http_host=http.host,
        http_port=http.port,
        public_url=public_url,
        lan=settings.lan,
        tempo_workers=settings.tempo_workers,
        mqtt_public_host="" if argv else urlsplit(public_url).hostname or "",
        tls=tls.address if tls else None,
    )
    state.write(home)
    listener = MqttAddress(host=settings.mqtt_listen or mqtt_host, port=mqtt_port)
    mqtts = MqttAddress(host=tls.address.host, port=tls.address.mqtts_port) if tls else None
    broker.write_conf(home, gate.broker_data() / "mosquitto.conf", library, listener, mqtts)
    return Plan(home, state, argv, http, mqtt, tls, notes)


def _tls(settings: Settings, home: Home, *, ours: bool) -> tuple[Tls | None, tuple[str, ...]]:
    """The encrypted listeners, their certificate checked and in use; and what the user should know of them."""
    given = settings.tls_files
    if given is None:
        certificate.forget(home)
        return None, ()
    asked = settings.model_fields_set
    files = TlsFiles(*given)
    host = settings.tls_host or (lan_address() if settings.lan else "127.0.0.1")
    try:
        pair = read_pair(files.certificate, files.key)
        name = _name_in(settings.public_url) if settings.public_url else certificate.host_of(pair, host)
        certificate.must_cover(pair, name)
        certificate.install(home, pair)
    except BadCertificate as error:
        raise StartError(str(error)) from error
    https = listen("HTTPS", host, settings.https_port, asked_for="https_port" in asked)
    notes = _other_port("HTTPS", settings.https_port, https.port)
    mqtts, mqtts_port = None, settings.mqtts_port
    if ours:
        mqtts = reserve("MQTT over TLS", host, mqtts_port, asked_for="mqtts_port" in asked)
        notes += _other_port("MQTT over TLS", mqtts_port, mqtts.port)
        mqtts_port = mqtts.port
    elif mqtts_port == 0:
        raise StartError("with an external broker --mqtts-port must be the one that it listens on, not 0")
    address = TlsAddress(host=host, https_port=https.port, mqtts_port=mqtts_port, name=name)
    return Tls(files, address, https, mqtts), notes


def _name_in(public_url: str) -> str:
    parts = urlsplit(public_url)
    if parts.scheme != "https":
        raise BadSettings(f"public_url cannot be {public_url!r}: with a certificate links begin with https://")
    return parts.hostname or ""


def _other_port(what: str, wanted: int, got: int) -> tuple[str, ...]:
    """A note if ``wanted`` was taken."""
    if wanted in (0, got):
        return ()
    return (f"Port {wanted} is taken by another program; {what} is on {got} this time.",)
