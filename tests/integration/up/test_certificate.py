"""What makes a certificate and a key usable, and what is said of those that are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bandroom.certificate import BadCertificate, CertificateStatus, read_pair
from bandroom.paths import Home
from bandroom.settings import BadSettings, load
from bandroom.supervisor.certificate import forget, host_of, install, must_cover
from bandroom.supervisor.errors import StartError
from cryptography.hazmat.primitives import serialization

from .certificates import NAME, Authority, Files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def _encrypt(key: Path) -> None:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: f.certificate.unlink(), "no certificate at"),
        (lambda f: f.key.unlink(), "no key at"),
        (lambda f: f.certificate.write_text("x"), "no certificate in PEM form"),
        (lambda f: f.key.write_text("x"), "no private key in PEM form"),
        (lambda f: _encrypt(f.key), "without a passphrase"),
        (lambda f: os.chmod(f.key, 0o644), "0644"),
        (lambda f: os.chmod(f.key, 0o660), "0660"),
        (lambda f: (f.key.unlink(), f.key.mkdir()), "key"),
    ],
)
def test_files_that_cannot_be_used(authority: Authority, spoil: Callable[[Files], object], says: str) -> None:
    """A file that is missing, holds something else, needs a passphrase or is open to others: named, with the reason."""
    files = authority.sign("server", NAME)
    spoil(files)
    with pytest.raises(BadCertificate, match=says) as error:
        read_pair(files.certificate, files.key)
    assert str(files.certificate) in str(error.value) or str(files.key) in str(error.value)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_good_pair(authority: Authority, mode: int) -> None:
    """A pair that fits is read, with its names and its end; a group may read the key."""
    files = authority.sign("server", "band.example.org", "192.168.1.20", ends=timedelta(days=30))
    files.key.chmod(mode)
    pair = read_pair(files.certificate, files.key)
    assert pair.names == ("band.example.org", "192.168.1.20")
    assert 29 < (pair.ends - datetime.now(UTC)).total_seconds() / 86_400 <= 30
    assert pair.fingerprint == files.fingerprint
    assert "PRIVATE" not in repr(pair)


def test_time(authority: Authority) -> None:
    """A certificate that has ended, and one that is not valid yet."""
    for more, says in (
        ({"starts": timedelta(days=-9), "ends": timedelta(days=-1)}, "ended on"),
        ({"starts": timedelta(days=1)}, "clock right"),
    ):
        files = authority.sign("server", NAME, **more)
        with pytest.raises(BadCertificate, match=says):
            read_pair(files.certificate, files.key)


def test_what_belongs_together(authority: Authority) -> None:
    """Another certificate's key, and a chain in the wrong order."""
    files, other = authority.sign("server", NAME), authority.sign("other", NAME)
    with pytest.raises(BadCertificate, match="does not belong to"):
        read_pair(files.certificate, other.key)
    chain, own = authority.file.read_bytes(), files.certificate.read_bytes()
    files.certificate.write_bytes(own + chain)
    assert read_pair(files.certificate, files.key).certificate == own + chain
    files.certificate.write_bytes(chain + own)
    with pytest.raises(BadCertificate, match="must come first"):
        read_pair(files.certificate, files.key)


def test_names(authority: Authority) -> None:
    """A star stands for one whole label; addresses are compared as addresses; of a wrong one the right are told."""
    files = authority.sign("server", "*.example.org", "fd00::1", "192.168.1.20")
    pair = read_pair(files.certificate, files.key)
    for host in ("band.example.org", "BAND.example.org.", "fd00:0::1", "[fd00::1]", "192.168.1.20"):
        must_cover(pair, host)
    for host in ("example.org", "a.band.example.org", ".example.org", "192.168.1.21", "example.com"):
        with pytest.raises(BadCertificate, match=r"\*\.example\.org.*not for"):
            must_cover(pair, host)
    assert host_of(pair, "192.168.1.20") == "192.168.1.20"
    assert host_of(pair, "10.0.0.1") == "fd00::1"
    star = authority.sign("star", "*.example.org")
    with pytest.raises(StartError, match="--public-url"):
        host_of(read_pair(star.certificate, star.key), "10.0.0.1")


def test_trouble(authority: Authority, tmp_path: Path) -> None:
    """What the status says: nothing while all is well, an end that is near, what is wrong with new files, the end."""
    home = Home(tmp_path / "home")
    home.create()
    files = authority.sign("server", NAME, ends=timedelta(days=30))
    assert CertificateStatus.read(home) is None
    install(home, read_pair(files.certificate, files.key))
    status = CertificateStatus.read(home)
    assert status is not None
    now = datetime.now(UTC)
    assert status.trouble(now) == ""
    assert "ends in" in status.trouble(now + timedelta(days=20))
    ill = status.model_copy(update={"problem": "there is no key at /x"})
    assert "kept" in ill.trouble(now)
    assert "/x" in ill.trouble(now)
    ended = ill.trouble(now + timedelta(days=31))
    assert ended.startswith("the certificate ended")
    assert "/x" in ended
    forget(home)
    assert not any(home.tls.iterdir())


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without the other is named; both become absolute."""
    assert load(home=tmp_path).tls_files is None
    with pytest.raises(BadSettings, match="BANDROOM_TLS_CERT"):
        _ = load(home=tmp_path, tls_key=Path("k")).tls_files
    monkeypatch.chdir(tmp_path)
    assert load(home=tmp_path, tls_key=Path("k"), tls_cert=Path("c")).tls_files == (tmp_path / "c", tmp_path / "k")
