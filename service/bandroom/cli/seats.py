"""How `listen`, `play` and `demo` come into a room: by its code, or by the machine owner's right."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, cast

import httpx
import typer
from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError, JoinRefused, Refused, Unreachable

from bandroom.cli.errors import CliError, ExitCode
from bandroom.cli.output import Home
from bandroom.runstate import RunInfo
from bandroom.wire.ids import RoomId, Subject, TenantId

RoomOption = Annotated[str | None, typer.Option("--room", help="The room's id (or code), on this machine's service.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="The room's code: join as a pupil does.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="With --code: the service's web address.  [default: this machine's]")
]
LinkOption = Annotated[str | None, typer.Option("--link", help="A join link, instead of all these.")]

_TOKEN_S = 12 * 3600


class OwnerHttp:
    """The machine's owner, speaking HTTP with the service that runs on a data folder.

    Raises ``NotRunning`` when nothing runs there; all calls raise ``CliError`` with the service's own words.
    """

    def __init__(self, home: Home) -> None:
        self.info = RunInfo.read(home)
        self.url = self.info.http.url
        try:
            token = home.owner_token.read_text().strip()
        except OSError as error:
            raise CliError(f"{home.owner_token}: {error.strerror}", err="forbidden") from error
        headers = {"Authorization": f"Bearer {token}"}
        # trust_env: a proxy that the environment names has no way to this machine's loopback.
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=15, trust_env=False)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, fine: tuple[int, ...] = ()) -> Any:
        """The answer's JSON. An error status raises, unless it is one of ``fine``."""
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise CliError(f"the service at {self.url} does not answer: {error}", err="unavailable") from error
        try:
            told: Any = answer.json()
        except ValueError:
            told = None
        if answer.is_error and answer.status_code not in fine:
            why = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
            text = why.get("text") or f"{method} {path}: {answer.status_code}"
            raise CliError(str(text), err=str(why.get("err") or "failed"))
        return told

    def only_tenant(self) -> TenantId:
        """The tenant, where there is no choice."""
        tenants = self.ask("GET", "/api/tenants")
        if len(tenants) != 1:
            raise CliError(f"there are {len(tenants)} tenants: say which with --tenant", err="bad_request")
        return TenantId.parse(tenants[0]["tenant"])


def open_device(
    home: Home,
    *,
    tenant: str | None,
    room: str | None,
    code: str | None,
    url: str | None,
    link: str | None,
    nickname: str | None,
    purpose: str,
) -> Device:
    """A device for the room that was named, not yet in it. Raises ``CliError`` and ``BadId``.

    With ``room`` it comes in by the owner's right, as a teacher called ``purpose`` who appears on no roster.
    """
    if sum(way is not None for way in (room, code, link)) != 1:
        raise CliError("say which room: with --room, --code or --link", err="bad_request")
    if url is not None and code is None:
        raise CliError("--url goes with --code", err="bad_request")
    try:
        if link is not None:
            return Device.join_link(link, nickname=nickname)
        if code is not None and url is not None:
            if tenant is None:
                raise CliError("--url and --code need --tenant as well", err="bad_request")
            return Device.join(url, tenant, code, nickname=nickname)
        owner = OwnerHttp(home)
        school = owner.only_tenant() if tenant is None else TenantId.parse(tenant)
        if code is not None:
            return Device.join(owner.url, school, code, nickname=nickname)
        return _as_owner(owner, school, RoomId.parse(room), purpose)
    except ValueError as error:
        raise CliError(str(error), err="bad_request") from error


def _as_owner(owner: OwnerHttp, tenant: TenantId, room: RoomId, purpose: str) -> Device:
    found = owner.ask("GET", f"/api/tenants/{tenant}/rooms/{room}")
    if found["state"] == "closed":
        raise CliError(f"room {room} is closed: `bandroom rooms reopen`, or choose another", err="closed")
    subject = Subject(f"t-{purpose}-{secrets.token_hex(2)}")
    minted = owner.ask("POST", f"/api/tenants/{tenant}/tokens", {"sub": subject, "ttl_s": _TOKEN_S})
    mqtt = owner.info.mqtt
    return Device.connect(mqtt.host, mqtt.port, minted["username"], minted["token"], room=found["room"])


def as_cli_error(error: DeviceError) -> CliError:
    """What a device ran into, with the exit code that it means."""
    match error:
        case JoinRefused(code="limit"):
            return CliError(str(error), err="limit")
        case JoinRefused() | Refused():
            return CliError(str(error), err=getattr(error, "code", "forbidden"), exit_code=ExitCode.REFUSED)
        case Unreachable():
            return CliError(str(error), err="unavailable", exit_code=ExitCode.NOT_RUNNING)
        case _:
            return CliError(str(error))
