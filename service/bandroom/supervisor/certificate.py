"""The certificate while everything runs: new files are noticed, checked, and only then put in the place of the old."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bandroom.certificate import BadCertificate, CertificateStatus, Pair, put_in_use, read_pair
from bandroom.paths import Home
from bandroom.supervisor.errors import StartError

LOOK_EVERY_S = 1.0
_REMIND_EVERY_S = 86_400.0

Signature = tuple[tuple[int, int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the certificate and its key come from; others write there."""

    certificate: Path
    key: Path

    def signature(self) -> Signature:
        """Changes when a file does, or when a symbolic link on the way to it leads elsewhere."""
        return tuple(_signature(path) for path in (self.certificate, self.key))


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def host_of(pair: Pair, listening: str) -> str:
    """The name for links where none was given: the address that is listened on, else the certificate's first name.

    Raises ``StartError`` where the certificate has only names with a star.
    """
    if pair.covers(listening):
        return listening
    for name in pair.names:
        if not name.startswith("*"):
            return name
    raise StartError(f"the certificate is for {', '.join(pair.names)}: say which name with --public-url https://…")


def must_cover(pair: Pair, host: str) -> None:
    """Raises ``BadCertificate`` naming what the certificate is for."""
    if not pair.covers(host):
        raise BadCertificate(f"the certificate is for {', '.join(pair.names)} and not for {host}")


class CertificateKeeper:
    """Puts the given files into use, at the start and whenever they change."""

    def __init__(self, home: Home, files: TlsFiles) -> None:
        self._home = home
        self._files = files
        self._seen = files.signature()
        self._look_now = asyncio.Event()

    def look_now(self) -> None:
        """Look at the files at once, changed or not (SIGHUP)."""
        self._look_now.set()

    async def watch(self, host: str, renewed: Callable[[], None], say: Callable[[str], None]) -> None:
        """For ever: notice new files; ``renewed`` is called once a good pair for ``host`` has been put in use."""
        before, remind_s = self._seen, 0.0
        while True:
            asked = await self._pause()
            now_there = self._files.signature()
            # Two files are seldom written in one moment: what still changes is looked at when it stands still.
            if asked or (now_there != self._seen and now_there == before):
                self._seen = now_there
                said, is_new = await asyncio.to_thread(self._take, host)
                if said:
                    say(said)
                if is_new:
                    renewed()
            before = now_there
            remind_s -= LOOK_EVERY_S
            if remind_s <= 0:
                remind_s = _REMIND_EVERY_S
                self._remind(say)

    async def _pause(self) -> bool:
        """Whether somebody asked to look."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._look_now.wait()
        except TimeoutError:
            return False
        self._look_now.clear()
        return True

    def _take(self, host: str) -> tuple[str, bool]:
        """Read, check and put in use: what to say, and whether it is another certificate."""
        status = CertificateStatus.read(self._home)
        try:
            pair = read_pair(self._files.certificate, self._files.key)
            must_cover(pair, host)
            if status is not None and status.fingerprint == pair.fingerprint and not status.problem:
                return "", False
            install(self._home, pair)
        except (BadCertificate, OSError) as error:
            return self._keep_old(status, str(error)), False
        return f"a new certificate is in use, until {pair.ends:%Y-%m-%d %H:%M} UTC", True

    def _keep_old(self, status: CertificateStatus | None, problem: str) -> str:
        said = f"the new certificate is not used and the old one kept: {problem}"
        if status is not None:
            try:
                status.model_copy(update={"problem": problem}).write(self._home)
            except OSError as error:  # a full disk: said on the terminal at least
                said += f" ({self._home.tls_status}: {error})"
        return said

    def _remind(self, say: Callable[[str], None]) -> None:
        status = CertificateStatus.read(self._home)
        if status is not None and (trouble := status.trouble(datetime.now(UTC))):
            say(trouble)


def install(home: Home, pair: Pair) -> None:
    """Put ``pair`` in use and say so in the status file. Raises ``BadCertificate``, ``OSError``."""
    put_in_use(home, pair)
    CertificateStatus(names=pair.names, starts=pair.starts, ends=pair.ends, fingerprint=pair.fingerprint).write(home)


def forget(home: Home) -> None:
    """Without a certificate: no key of an earlier run stays in the folder."""
    for path in (home.tls_pair, home.tls_status):
        path.unlink(missing_ok=True)
