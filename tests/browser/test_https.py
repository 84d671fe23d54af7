"""The pages over HTTPS, with a certificate that is given."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.asyncio(loop_scope="module")


def own_certificate(folder: Path) -> tuple[str, str]:
    """A certificate for ``localhost`` that only this test believes, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(64))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.touch(0o600)
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(certificate), str(secret)


async def test_over_https_everything_is_encrypted(
    browser: Any, start_stack: Any, home: Any, room_of: Any, tmp_path: Path
) -> None:
    """The join link is https; the page reaches the room by wss and by nothing else, its cookie travels encrypted only,
    and the browser is told to come by https from now on. Plain http on its own port tells it no such thing."""
    certificate, key = own_certificate(tmp_path)
    ports = ("--https-port", "0", "--mqtts-port", "0")
    stack = start_stack(home, *ports, "--tls-cert", certificate, "--tls-key", key)
    room = room_of(stack)
    assert room.join_url.startswith("https://localhost:")
    page = await browser.page(ignore_https_errors=True)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await browser.enter(page, room.join_url)
    assert sockets
    assert all(url.startswith("wss://localhost:") for url in sockets)
    (cookie,) = await page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    origin = room.join_url.partition("/join")[0]
    async with httpx.AsyncClient(verify=False) as http:  # noqa: S501  (its own certificate)
        secure, plain = await http.get(origin), await http.get(stack.url)
    assert secure.headers["Strict-Transport-Security"] == "max-age=2592000"
    host = origin.removeprefix("https://")
    assert f"connect-src 'self' wss://{host};" in secure.headers["Content-Security-Policy"]
    assert plain.status_code == 200
    assert "Strict-Transport-Security" not in plain.headers
