"""Certificates made on the fly: an authority of the test's own, and pairs that it signs."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "localhost"


@dataclass(frozen=True)
class Files:
    """A certificate and its key on disk."""

    certificate: Path
    key: Path
    fingerprint: str
    serial: int


class Authority:
    """Signs certificates; its own is in ``file``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the test's")])
        now = datetime.now(UTC)
        self._name = name
        own = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=400))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.file)

    def as_der(self) -> Path:
        """Its certificate in the form that a board takes."""
        file = self.file.with_suffix(".der")
        file.write_bytes(ssl.PEM_cert_to_DER_cert(self.file.read_text()))
        return file

    def sign(
        self,
        name: str,
        *hosts: str,
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=90),
    ) -> Files:
        """A new pair ``<name>.crt`` and ``<name>.key`` (0600) for ``hosts``, in place of an older one."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        files = Files(
            self._folder / f"{name}.crt",
            self._folder / f"{name}.key",
            leaf.fingerprint(hashes.SHA256()).hex(),
            leaf.serial_number,
        )
        replace(files.certificate, leaf.public_bytes(serialization.Encoding.PEM))
        replace(files.key, private)
        return files


def replace(path: Path, data: bytes) -> None:
    """As programs that renew certificates do: written beside it (0600), then moved into its place."""
    new = path.with_name(f".{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    new.replace(path)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
