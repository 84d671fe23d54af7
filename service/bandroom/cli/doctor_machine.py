"""What `bandroom doctor` looks at on the machine itself: programs, folder, disk, ports, certificate."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bandroom.certificate import BadCertificate, CertificateStatus, read_pair
from bandroom.clock import ClockFileError, ServerClock
from bandroom.paths import Home
from bandroom.settings import BadSettings, Settings, load
from bandroom.supervisor import gate
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.ports import lan_address

OLDEST_BROKER = (2, 0, 11)
LEAST_FREE_BYTES = 200_000_000
_APART_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis; ``advice`` is empty where all is well."""

    name: str
    ok: bool
    text: str
    advice: str = ""


class Ill(Exception):
    """A check failed: what is wrong, and what to do."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice


def check(name: str, look: Callable[[], str]) -> Finding:
    """The finding of one check."""
    try:
        return Finding(name, True, look())
    except Ill as ill:
        return Finding(name, False, ill.text, ill.advice)


def broker_program() -> str:
    """Mosquitto is there and new enough."""
    try:
        path = gate.find_broker()
    except StartError as error:
        raise Ill(str(error), "run `make setup`") from error
    try:
        told = subprocess.run([path, "-h"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Ill(f"{path} does not run: {error}", "install mosquitto anew") from error
    found = re.search(r"mosquitto version (\d+)\.(\d+)\.(\d+)", told.stdout)
    if found is None:
        raise Ill(f"{path} does not say its version", "is it Mosquitto? Name another in BANDROOM_MOSQUITTO")
    version = tuple(int(part) for part in found.groups())
    text = ".".join(found.groups())
    if version < OLDEST_BROKER:
        oldest = ".".join(str(part) for part in OLDEST_BROKER)
        raise Ill(f"{path} is version {text}; the gate needs {oldest} or newer", "install a newer mosquitto")
    return f"{path}, version {text}"


def gate_library(home: Home) -> str:
    """The gate is built, or can be."""
    try:
        return str(gate.find_gate(home))
    except StartError as error:
        raise Ill(str(error), "run `make setup`") from error


def folder(home: Home) -> str:
    """The data folder is closed to others, and all in it is ours."""
    if not home.root.exists():
        return f"{home.root} is not there yet; `bandroom up` makes it"
    for path in (home.root, *home.root.rglob("*")):
        try:
            status = path.lstat()
        except FileNotFoundError:  # a temporary one
            continue
        if status.st_uid != os.getuid() and os.getuid() != 0:
            raise Ill(f"{path} belongs to another user", f"chown -R {os.getuid()} {home.root}")
        # The lock file is empty and may be read by whoever can enter the folder, which is nobody else.
        if status.st_mode & 0o077:
            raise Ill(f"{path} can be read by other users", f"chmod -R go= {home.root}")
    return f"{home.root}, closed to other users"


def disk(home: Home, least_bytes: int = LEAST_FREE_BYTES) -> str:
    """The data folder's disk can be written, and has room."""
    place = home.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        advice = "make room there" if free < least_bytes else "see `dmesg`: is the disk mounted read-only?"
        raise Ill(f"{place} cannot be written: {error.strerror}", advice) from error
    if free < least_bytes:
        left, least = f"{free / 1e6:.0f} MB", f"{least_bytes / 1e6:.0f} MB"
        raise Ill(f"{place} has {left} left; below {least} a full disk is near", "make room there")
    return f"{free / 1e9:.1f} GB free"


def clock(home: Home) -> str:
    """The server's clock can be read."""
    try:
        found = ServerClock.from_file(home.gate_clock)
    except ClockFileError as error:
        raise Ill(str(error), "start `bandroom up` again") from error
    wall_s = datetime.now(UTC).timestamp()
    apart_s = found.now_us() / 1e6 - wall_s
    if abs(apart_s) > _APART_S:
        # No fault: the wall clock was stepped since, and the beat was not. Said, because logs use wall time.
        return f"server time is {apart_s:+.1f} s from this machine's clock, which was set since the start"
    return f"server time is {apart_s * 1000:+.1f} ms from this machine's clock"


def settings(home: Home) -> Settings:
    """What `up` would read. Raises ``Ill``."""
    try:
        return load(home=home.root)
    except BadSettings as error:
        raise Ill(str(error), f"mend it in {home.settings_file} or the environment") from error


def free_ports(home: Home) -> str:
    """Before a start: nobody else listens on the ports. One that was only the default is no failure."""
    found = settings(home)
    asked = found.model_fields_set
    said: list[str] = []
    for name, host in _hosts(found).items():
        port = int(getattr(found, name))
        try:
            is_free = port == 0 or _is_free(host, port)
        except OSError as error:  # an address that is not this machine's, a port that is root's
            text = f"{host}:{port} ({name}) cannot be listened on: {error.strerror}"
            raise Ill(
                text, f"set another address or port for {name}, in {home.settings_file} or the environment"
            ) from error
        if is_free:
            said.append(f"{port or 'any'}")
        elif name in asked:
            advice = f"see who has it with `ss -ltnp 'sport = {port}'`; end that, or choose another port"
            raise Ill(f"port {port} ({name}) is taken by another program", advice)
        else:
            said.append(f"{port} is taken, another will be used")
    return ", ".join(said)


def _hosts(found: Settings) -> dict[str, str]:
    """The settings of the ports that `up` would listen on, and on which address each. Raises ``Ill``."""
    try:
        lan = lan_address() if found.lan else "127.0.0.1"
    except StartError as error:
        raise Ill(str(error), "connect this machine to the network, or leave `lan` out") from error
    plain = lan if found.lan and found.tls_cert is None else None
    asked = found.model_fields_set
    hosts = {
        "mqtt_port": found.mqtt_listen or (found.mqtt_host if "mqtt_host" in asked else plain or found.mqtt_host),
        "http_port": found.http_host if "http_host" in asked else plain or found.http_host,
    }
    if found.tls_cert is not None:
        hosts |= dict.fromkeys(("mqtts_port", "https_port"), found.tls_host or lan)
    if found.external_broker:  # it listens itself, perhaps on another machine
        hosts = {name: host for name, host in hosts.items() if not name.startswith("mqtt")}
    return hosts


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def certificate_in_use(home: Home) -> str:
    """Of what runs: the certificate is good for a while, and nothing is wrong with what should replace it."""
    status = CertificateStatus.read(home)
    if status is None:
        raise Ill(f"{home.tls_status} cannot be read", "start `bandroom up` again")
    now = datetime.now(UTC)
    if trouble := status.trouble(now):
        raise Ill(trouble, "renew it, into the same files: they are read again by themselves")
    return f"for {', '.join(status.names)}, until {status.ends:%Y-%m-%d} ({status.days_left(now):.0f} days)"


def certificate_files(home: Home) -> str | None:
    """Before a start: the files that were set are good; None where none were."""
    try:
        given = settings(home).tls_files
        if given is None:
            return None
        pair = read_pair(*given)
    except BadSettings as error:
        raise Ill(str(error), "set both, or neither") from error
    except BadCertificate as error:
        raise Ill(str(error), "mend the files, or start without a certificate") from error
    return f"for {', '.join(pair.names)}, until {pair.ends:%Y-%m-%d}"
