"""The broker's configuration, its gate's first files, and how to see that it is ready."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from pathlib import Path

from bandroom.paths import Home, write_private
from bandroom.runstate import MqttAddress
from bandroom.supervisor.errors import StartError

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_LOOK_EVERY_S = 0.02
_ANSWERS_WITHIN_S = 2.0
# MQTT 3.1.1 CONNECT: clean session, keepalive 10 s, client id "up", no user name: the gate refuses it.
_ANONYMOUS = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02up"


def render(template: str, values: dict[str, str]) -> str:
    """The template with its @NAMES@ filled in; a line that is only an empty value disappears.

    Raises ``StartError`` for a value that would end its line, and ``KeyError`` for a name without a value.
    """
    for name, value in values.items():
        if "\n" in value or "\r" in value:
            raise StartError(f"{name.lower()} cannot hold a line break: {value!r}")
    lines = [(line, _PLACEHOLDER.sub(lambda match: values[match[1]], line)) for line in template.splitlines()]
    return "".join(f"{filled}\n" for line, filled in lines if filled or not line)


def write_conf(home: Home, template: Path, gate: Path, mqtt: MqttAddress, mqtts: MqttAddress | None = None) -> None:
    """Write DIR/broker/mosquitto.conf; ``mqtt`` is what to listen on, ``mqtts`` the same with TLS."""
    values = {
        "MQTT_PORT": str(mqtt.port),
        "MQTT_HOST": mqtt.host,
        "SOCKET": str(home.broker_socket),
        # Started by root, mosquitto would change to a user of its own, who cannot read the data folder. The change
        # would also undo the kernel's promise to end it with its supervisor.
        "USER": "user root" if os.geteuid() == 0 else "",
        "TLS_LISTENER": f"listener {mqtts.port} {mqtts.host}" if mqtts else "",
        "TLS_CERTIFICATE": f"certfile {home.tls_pair}" if mqtts else "",
        "TLS_KEY": f"keyfile {home.tls_pair}" if mqtts else "",
        # This and newer ones.
        "TLS_VERSION": "tls_version tlsv1.2" if mqtts else "",
        "GATE": str(gate),
        "GATE_DIR": str(home.gate),
    }
    text = template.read_text()
    comment = "# Generated; changes are lost at the next start.\n"
    # Comments of the template name placeholders too; they need no filling in.
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    write_private(home.broker_conf, comment + render(body, values))


def ensure_gate_log(home: Home) -> None:
    """An empty gate log where there is none: the gate refuses to start without. The service fills it."""
    if not home.gate_log.exists():
        write_private(home.gate_log, f"bandroom-gate 1 {secrets.token_hex(8)}\n")


def forget_last_run(home: Home) -> None:
    """Remove what a dead broker left: a socket nobody answers, and a report that is no longer true."""
    home.broker_socket.unlink(missing_ok=True)
    home.gate_status.unlink(missing_ok=True)


async def until_ready(home: Home, mqtt: MqttAddress) -> None:
    """Return when the broker answers (and so would survive a SIGHUP) and the gate has reported. Waits without end."""
    # Files and a port of another program: nothing to await.
    while not (gate_reports(home) and home.broker_socket.exists() and await _answers(mqtt)):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_EVERY_S)
    # Mosquitto makes it open to everybody. The folder around it is closed; this is the second lock.
    home.broker_socket.chmod(0o600)


async def _answers(mqtt: MqttAddress) -> bool:
    """Whether it answers a CONNECT. That a connection is accepted says nothing: the kernel does that, long before the
    broker has installed its signal handlers, and until then a SIGHUP would end it.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(mqtt.host, mqtt.host)  # noqa: S104 (compared, not bound)
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, mqtt.port)
            try:
                writer.write(_ANONYMOUS)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def gate_reports(home: Home) -> bool:
    """Whether the gate's status file is there and whole."""
    return bool(read_status(home))


def read_status(home: Home) -> dict[str, str]:
    """The gate's report; empty while there is none, or while it is being written."""
    try:
        lines = home.gate_status.read_text(errors="replace").rstrip().splitlines()
    except FileNotFoundError:
        return {}
    if len(lines) < 2 or lines[0].rstrip() != lines[-1].rstrip() or not lines[0].startswith("status "):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}
