"""A certificate and its key as files: read together, checked before use, and what is known of them as a small file.

What is in use is a copy of both in one file of the data folder (``DIR/tls/pair.pem``), replaced as a whole: whoever
reads it, whenever that is, gets a pair that fits together and was found good.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bandroom.paths import Home, write_private

if TYPE_CHECKING:
    from cryptography import x509

SOON_DAYS = 14
"""A certificate that ends within so many days is spoken of."""
_MOST_BYTES = 1_000_000


class BadCertificate(ValueError):
    """A certificate or a key cannot be used; the text says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (with the chain that came with it) and its key, found to fit together."""

    certificate: bytes
    key: bytes = field(repr=False)
    names: tuple[str, ...]
    """Host names (perhaps ``*.example.org``) and addresses that the certificate is for."""
    starts: datetime
    ends: datetime
    fingerprint: str
    """SHA-256 of the certificate, 64 hexadecimal digits."""

    def covers(self, host: str) -> bool:
        """Whether a client that asked for ``host`` accepts the certificate's names."""
        return any(_matches(name, host) for name in self.names)


class CertificateStatus(BaseModel):
    """DIR/tls/status.json: the certificate in use, and what is wrong with the files that should replace it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    names: tuple[str, ...]
    starts: datetime
    ends: datetime
    fingerprint: str
    problem: str = ""
    """Why the files given are not in use; empty where they are."""

    @classmethod
    def read(cls, home: Home) -> CertificateStatus | None:
        """None where no certificate is in use (or the file cannot be read)."""
        try:
            return cls.model_validate_json(home.tls_status.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, home: Home) -> None:
        write_private(home.tls_status, self.model_dump_json() + "\n")

    def days_left(self, now: datetime) -> float:
        """Until it ends; below 0 when it has."""
        return (self.ends - now).total_seconds() / 86_400

    def has_ended(self, now: datetime) -> bool:
        return now >= self.ends

    def trouble(self, now: datetime) -> str:
        """What somebody should do something about, in words; empty where all is well."""
        if self.has_ended(now):
            ended = f"the certificate ended on {self.ends:%Y-%m-%d %H:%M} UTC"
            return f"{ended}; {self.problem}" if self.problem else ended
        if self.problem:
            return f"the old certificate is kept (until {self.ends:%Y-%m-%d}): {self.problem}"
        days = self.days_left(now)
        return f"the certificate ends in {days:.0f} days, on {self.ends:%Y-%m-%d}" if days < SOON_DAYS else ""


def read_pair(certificate: Path, key: Path, now: datetime | None = None) -> Pair:
    """The pair in two PEM files (which may be one). Raises ``BadCertificate``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    now = now or datetime.now(UTC)
    chain_pem, key_pem = _read("certificate", certificate), _read("key", key, secret=True)
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError as error:
        raise BadCertificate(f"{certificate} holds no certificate in PEM form: {error}") from error
    try:
        private = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise BadCertificate(f"the key {key} is encrypted; write it without a passphrase") from error
    except Exception as error:  # the library's own kinds of error differ by what is wrong
        raise BadCertificate(f"{key} holds no private key in PEM form: {str(error)[:120]}") from error

    def spki(public: object) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.DER, form)  # type: ignore[attr-defined]  # pyright: ignore

    wanted = spki(private.public_key())
    fits = [spki(item.public_key()) == wanted for item in chain]
    if not fits[0]:
        if any(fits):
            raise BadCertificate(f"in {certificate} the server's own certificate must come first, the chain after it")
        raise BadCertificate(f"the key {key} does not belong to the certificate {certificate}")
    leaf = chain[0]
    if now >= leaf.not_valid_after_utc:
        raise BadCertificate(
            f"the certificate {certificate} ended on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
        )
    if now < leaf.not_valid_before_utc:
        begins = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise BadCertificate(
            f"the certificate {certificate} is not valid before {begins}; is this machine's clock right?"
        )
    names = _names(leaf)
    if not names:
        raise BadCertificate(f"the certificate {certificate} names no host (it has no subjectAltName)")
    return Pair(
        chain_pem,
        key_pem,
        names,
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        leaf.fingerprint(hashes.SHA256()).hex(),
    )


def put_in_use(home: Home, pair: Pair) -> None:
    """Make ``pair`` the one in DIR/tls/pair.pem. Raises ``BadCertificate`` if OpenSSL refuses it, ``OSError``."""
    handle, name = tempfile.mkstemp(dir=home.tls, prefix=".pair.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pair.certificate.rstrip() + b"\n" + pair.key.rstrip() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            server_context(Path(name))
        except ssl.SSLError as error:
            raise BadCertificate(f"OpenSSL does not take the certificate: {error.reason or error}") from error
        os.replace(name, home.tls_pair)
    finally:
        Path(name).unlink(missing_ok=True)


def server_context(pair: Path) -> ssl.SSLContext:
    """A server's TLS context, 1.2 or newer, with the pair in the file. Raises ``ssl.SSLError``, ``OSError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(pair)
    return context


def _read(what: str, path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadCertificate(f"the {what} {path} is not a file")
            if secret and status.st_mode & 0o037:
                mode = f"{stat.S_IMODE(status.st_mode):04o}"
                raise BadCertificate(f"the {what} {path} is open to other users ({mode}): chmod 0600 or 0640 {path}")
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise BadCertificate(f"there is no {what} at {path}") from None
    except PermissionError:
        raise BadCertificate(f"the {what} {path} cannot be read by this user (uid {os.getuid()})") from None
    except OSError as error:
        raise BadCertificate(f"the {what} {path} cannot be read: {error.strerror}") from error


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = [name.lower() for name in found.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


def _matches(name: str, host: str) -> bool:
    """RFC 6125: a star stands for the first label, whole; addresses are compared as addresses."""
    host = host.lower().rstrip(".").strip("[]")
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(name)
    except ValueError:
        pass
    if name.startswith("*."):
        label, _, rest = host.partition(".")
        return bool(label) and rest == name[2:]
    return host == name
