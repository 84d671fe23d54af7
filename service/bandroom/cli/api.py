"""The CLI's way to the running service: HTTP with the owner's token, found through run.json.

A teacher on another machine sets BANDROOM_URL and BANDROOM_TOKEN instead, and BANDROOM_CA to the certificate of the
school's own authority where there is one.
"""

from __future__ import annotations

import json
import math
import os
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import httpx

from bandroom.auth.owner import owner_token
from bandroom.cli.errors import CliError, ExitCode
from bandroom.paths import Home
from bandroom.runstate import RunInfo
from bandroom.wire.ids import JoinCode, TenantId

TIMEOUT_S = 30.0


def _body(value: dict[str, Any]) -> bytes:
    for name, item in value.items():
        if isinstance(item, float) and not math.isfinite(item):
            raise CliError(f"{name} cannot be {item}: give a number", err="bad_request")
    return json.dumps(value).encode()


class Api:
    """A connection to the service; use it in a ``with`` block."""

    def __init__(self, home: Path) -> None:
        """Raises ``NotRunning``, ``PermissionError`` and ``CliError``."""
        url, token = os.environ.get("BANDROOM_URL"), os.environ.get("BANDROOM_TOKEN")
        if not url:
            url = RunInfo.read(Home(home)).http.url
        elif not token:
            # The owner's token opens everything on this machine: it is sent to no other.
            raise CliError("BANDROOM_URL needs BANDROOM_TOKEN beside it", err="bad_request")
        if not token:
            token = owner_token(Home(home))
        if not (token.isascii() and token.isprintable()):
            raise CliError("BANDROOM_TOKEN is no token: it has signs that no token has", err="bad_request")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        ca = os.environ.get("BANDROOM_CA")
        try:
            trusted = ssl.create_default_context(cafile=ca) if ca else True
        except OSError as error:  # an SSLError is one
            raise CliError(f"BANDROOM_CA={ca} holds no certificate that can be read", err="bad_request") from error
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=trusted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """The answer's JSON. Raises ``CliError`` with the service's own words."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON; entries that are None are not sent. Raises ``CliError``."""
        return self._ask("POST", path, _body({name: item for name, item in body.items() if item is not None}))

    def tenant(self, given: str | None) -> TenantId:
        """The tenant that was given, or the only one. Raises ``CliError``, ``BadId``."""
        if given is not None:
            return TenantId.parse(given)
        known = [entry["tenant"] for entry in self.get("/api/tenants")]
        if not known:
            raise CliError("there is no tenant yet: create one with `bandroom tenants create <id>`", err="not_found")
        if len(known) > 1:
            raise CliError(f"say which tenant with --tenant: there are {', '.join(known)}", err="bad_request")
        return TenantId(known[0])

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            answer = self._client.request(method, path, content=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CliError(
                f"the service at {self._client.base_url} does not answer: {error}", err="not_running"
            ) from error
        try:
            value = answer.json()
        except ValueError:
            value = None
        if answer.is_success:
            return value
        if isinstance(value, dict) and "err" in value:
            found = cast("dict[str, Any]", value)
            raise CliError(str(found.get("text", "")), err=str(found["err"]))
        raise CliError(f"the service answered {answer.status_code}", exit_code=ExitCode.FAILED)


def room_code(text: str) -> str:
    """A room's id or code as typed, in its proper form. Raises ``BadId``."""
    return str(JoinCode.typed(text))
