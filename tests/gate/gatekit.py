"""A hand-made data folder and a real Mosquitto with the gate: what the gate's own tests stand on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from raw_mqtt import Client, Will, connect_packet

GATE_SOURCE = Path(__file__).parents[2] / "broker" / "gate"
SANITIZE = bool(os.environ.get("BANDROOM_GATE_SANITIZE"))  # the gate with ASan and UBSan inside the installed broker
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bandroom" / "mosquitto"
"""Where broker/gate/fetch-mosquitto.sh puts the brokers that are not installed."""


def build(target: str, out: Path, *arguments: str) -> None:
    """Runs the gate's Makefile; raises with the compiler's words when it fails."""
    done = subprocess.run(
        ["make", "-C", str(GATE_SOURCE), f"OUT={out}", target, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def eventually(condition: Callable[[], bool], what: str, deadline_s: float = 5.0) -> None:
    """Polls until `condition` holds; AssertionError naming `what` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s for: {what}"
        time.sleep(0.01)


@dataclass
class SigningKey:
    roles: str
    kid: str = field(default_factory=lambda: secrets.token_hex(4))
    private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def line(self) -> str:
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"rsa {self.kid} {self.roles} {base64.b64encode(der).decode()}"


def device_password(master: bytes, username: str) -> str:
    """As the wire contract has it: HKDF of the tenant's key, then 130 bits of an HMAC in base32."""
    tenant = username.split("/")[0]
    drawn = hmac.digest(bytes(32), master, hashlib.sha256)
    tenant_key = hmac.digest(drawn, b"bandroom-tenant-1\0" + tenant.encode() + b"\1", hashlib.sha256)
    code = hmac.digest(tenant_key, b"bandroom-device-1\0" + username.encode(), hashlib.sha256)
    return base64.b32encode(code).decode().lower()[:26]


def line_with_checksum(body: str) -> str:
    return f"{body} {zlib.crc32(body.encode()):08x}\n"


class GateHome:
    """The folder that the service writes and the gate reads: keys, clock, log; and credentials to match."""

    def __init__(self, path: Path, people: SigningKey, service: SigningKey) -> None:
        self.path = path
        self.dir = path / "gate"
        self.dir.mkdir(parents=True, mode=0o700)
        self.people, self.service = people, service
        self.masters = {1: secrets.token_bytes(32)}
        self.socket_path = str(path / "broker.sock")
        self.seq = 0
        self.write_keys()
        self.offset_us = time.time_ns() // 1000 - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        (self.dir / "clock").write_text(f"{BOOT_ID.read_text().strip()} {self.offset_us}\n")
        self.write_log([])

    def write_keys(self, *extra: str) -> None:
        masters = [f"master {n} {key.hex()}" for n, key in self.masters.items()]
        lines = ["bandroom-keys 1", self.people.line, self.service.line, *masters, *extra]
        (self.dir / "keys").write_text("\n".join(lines) + "\n")

    def write_log(self, entries: list[str]) -> str:
        """A new log renamed over the old one: what a compaction does. Returns the file's id."""
        file_id = secrets.token_hex(8)
        new = self.dir / "log.new"
        lines = [line_with_checksum(f"{seq} {entry}") for seq, entry in enumerate(entries, 1)]
        new.write_text(f"bandroom-gate 1 {file_id}\n" + "".join(lines))
        new.rename(self.dir / "log")
        self.seq = len(entries)
        return file_id

    def log(self, *entries: str) -> None:
        with (self.dir / "log").open("a") as file:
            for entry in entries:
                self.seq += 1
                file.write(line_with_checksum(f"{self.seq} {entry}"))

    def server_time_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 + self.offset_us

    def status(self) -> dict[str, str]:
        """The status file as a dict; rereads until first and last line agree."""
        while True:
            lines = (self.dir / "status").read_text().rstrip(" ").rstrip("\n").split("\n")
            if lines[0] == lines[-1]:
                return dict(line.split(" ", 1) for line in lines)

    def claims(self, tenant: str, role: str, sub: str, room: str | None = None, ttl: int = 3600) -> dict[str, Any]:
        now = int(time.time())
        found: dict[str, Any] = {
            "iss": "bandroom", "aud": "bandroom", "sub": sub, "tenant": tenant, "role": role,
            "iat": now, "exp": now + ttl, "jti": uuid.uuid4().hex,
        }  # fmt: skip
        if room:
            found["room"] = room
        return found

    def token(self, claims: dict[str, Any], key: SigningKey | None = None, **header: Any) -> str:
        key = key or (self.service if claims["role"] in ("rooms", "tempo") else self.people)
        return jwt.encode(claims, key.private, "RS256", {"kid": key.kid, **header})

    def password(self, username: str, master: int | None = None) -> str:
        return device_password(self.masters[master or max(self.masters)], username)


@dataclass(frozen=True)
class Leg:
    """One version of the broker, and the gate built against its headers."""

    name: str
    program: str
    plugin: Path
    env: dict[str, str]


def sanitizer_env() -> dict[str, str]:
    """What the broker, itself not built with the sanitizers, needs to load a plugin that is."""
    found = [
        subprocess.check_output(["cc", f"-print-file-name={lib}.so"], text=True).strip()
        for lib in ("libasan", "libubsan")
    ]
    return {
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "abort_on_error=1",
    }


def build_leg(name: str, out: Path) -> Leg | None:
    """Builds the gate in `out` for the installed broker (`installed`; `sanitized`: with ASan and UBSan) or a fetched
    one by its version. None: that one is not there."""
    if name in ("installed", "sanitized"):
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        assert program, "no mosquitto: install the package `mosquitto`"
        build("all", out, *(["SANITIZE=1"] if name == "sanitized" else []))
        return Leg(name, program, out / "bandroom_gate.so", sanitizer_env() if name == "sanitized" else {})
    there = sorted(CACHE.glob(f"{name}*/bin/mosquitto"))
    if not there:
        return None
    build("all", out, f"INCLUDE={there[0].parents[1] / 'include'}")
    return Leg(name, str(there[0]), out / "bandroom_gate.so", {})


class Broker:
    """A running Mosquitto with the gate on a free port and on the Unix socket of `home`."""

    def __init__(
        self,
        home: GateHome,
        program: str,
        plugin: Path,
        extra_conf: str = "",
        host: str = "127.0.0.1",
        env: dict[str, str] | None = None,
    ) -> None:
        self.home = home
        with socket.create_server((host, 0)) as probe:
            self.port: int = probe.getsockname()[1]
        conf = home.path / "mosquitto.conf"
        user = "user root\n" if os.getuid() == 0 else ""
        conf.write_text(
            f"{user}per_listener_settings false\nlistener {self.port} {host}\nlistener 0 {home.socket_path}\n"
            "allow_anonymous false\nset_tcp_nodelay true\nmax_queued_messages 100\ncheck_retain_source false\n"
            "max_packet_size 8192\npersistent_client_expiration 1h\npersistence false\nsys_interval 0\n"
            f"plugin {plugin}\nplugin_opt_dir {home.dir}\nplugin_opt_socket {home.socket_path}\n{extra_conf}"
        )
        self.output = (home.path / "broker.log").open("ab")
        Path(home.socket_path).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [program, "-c", str(conf)], stdout=self.output, stderr=self.output, env={**os.environ, **(env or {})}
        )

    @property
    def log(self) -> str:
        return (self.home.path / "broker.log").read_text(errors="replace")

    def wait_ready(self, deadline_s: float = 20) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, f"the broker ended:\n{self.log}"
            with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as local:
                try:
                    local.connect(self.home.socket_path)
                    tcp.settimeout(deadline_s)
                    tcp.connect(("127.0.0.1", self.port))
                    # No MQTT: it is hung up on once the main loop runs, and with it the signal handlers.
                    tcp.sendall(bytes(16))
                    tcp.recv(1)
                except ConnectionResetError:
                    return True
                except OSError:
                    return False
            return True

        eventually(answers, "the broker to listen", deadline_s)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.output.close()
        return code

    # --- clients of every role ---

    def open(
        self, client_id: str, username: str | None, password: str | None, *, local: bool = False, **more: Any
    ) -> Client:
        address = self.home.socket_path if local else ("127.0.0.1", self.port)
        return Client.open(address, connect_packet(client_id, username, password, **more), more.get("version", 4))

    def person(
        self,
        tenant: str,
        role: str,
        sub: str,
        room: str | None = None,
        digit: int | None = None,
        ttl: int = 3600,
        **more: Any,
    ) -> Client:
        token = self.home.token(self.home.claims(tenant, role, sub, room, ttl))
        client_id = f"{tenant}_{sub}" + ("" if digit is None else f"_{digit}")
        return self.open(client_id, f"{tenant}/{sub}", token, **more)

    def student(self, tenant: str = "lincoln", sub: str = "s-ann", room: str = "MUSIC-1234", **more: Any) -> Client:
        return self.person(tenant, "student", sub, room, **more)

    def teacher(self, tenant: str = "lincoln", sub: str = "t-kim", **more: Any) -> Client:
        return self.person(tenant, "teacher", sub, **more)

    def device(self, tenant: str = "lincoln", sub: str = "d-drum", generation: int = 1, **more: Any) -> Client:
        username = f"{tenant}/{sub}/{generation}"
        return self.open(f"{tenant}_{sub}", username, self.home.password(username), **more)

    def service(self, sub: str = "rooms", **more: Any) -> Client:
        role = "rooms" if sub == "rooms" else "tempo"
        return self.person("bandroom", role, sub, local=more.pop("local", True), **more)


__all__ = [
    "Broker",
    "Client",
    "GateHome",
    "Leg",
    "SigningKey",
    "Will",
    "build",
    "build_leg",
    "device_password",
    "eventually",
    "line_with_checksum",
]
