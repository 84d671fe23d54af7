"""Whether the broker goes round: a connection of the supervisor's own, on which it is asked for an answer ever again.

A connection that stays costs the broker's log nothing; a new one for each question would fill it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bandroom.auth.service_credential import service_credential
from bandroom.mqtt.client import Connected, Connection, connect
from bandroom.mqtt.endpoint import UnixSocket
from bandroom.paths import Home
from bandroom.wire.ids import Role

# A tempo worker's rights, which it makes no use of; no worker has this number.
NUMBER = 999
KEEPALIVE_S = 5
HUNG_AFTER_S = 15.0
"""Beyond the two keepalives after which silence ends the connection."""


async def watch(
    home: Home,
    pid: Callable[[], int],
    hung: Callable[[], None],
    *,
    number: int = NUMBER,
    keepalive_s: int = KEEPALIVE_S,
    hung_after_s: float = HUNG_AFTER_S,
) -> None:
    """For ever: call ``hung`` when the broker answers no more, though the same process (``pid``, 0 while it starts) was
    there all the time. ``number`` is the connection's, which must be nobody else's.
    """
    credential = service_credential(home, Role.TEMPO, number)
    endpoint = UnixSocket(str(home.broker_socket))
    async with connect(endpoint, credential, will=None, wait=False, keepalive_s=keepalive_s) as connection:
        while True:
            await _until_lost(connection)
            before = pid()
            if not await _comes_back(connection, hung_after_s) and before and pid() == before:
                hung()


async def _until_lost(connection: Connection) -> None:
    async for state in connection.states():
        if not isinstance(state, Connected):
            return


async def _comes_back(connection: Connection, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await connection.wait_connected()
    except TimeoutError:
        return False
    return True
