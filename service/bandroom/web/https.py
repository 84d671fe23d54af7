"""The service's TLS context: one for the process's life, its certificate replaced when the file is."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import structlog

from bandroom.certificate import server_context

log = structlog.stdlib.get_logger(__name__)
HANDSHAKE_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.5


class FreshContext:
    """A context with the pair in ``file``, which the supervisor has found good."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = self._signature()
        self.context = server_context(file)

    async def keep_fresh(self) -> None:
        """For ever: new connections get a new certificate, those that stand keep theirs."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                now_there = self._signature()
                if now_there == self._seen:
                    continue
                # Tried in a context of its own first: a pair that fails would leave this one with half of it.
                server_context(self._file)
                self.context.load_cert_chain(self._file)
            except (ssl.SSLError, OSError) as error:
                log.error("the new certificate is not used", error=str(error))
            else:
                self._seen = now_there
                log.info("a new certificate is in use")

    def _signature(self) -> tuple[int, int]:
        status = os.stat(self._file)
        return status.st_ino, status.st_mtime_ns
