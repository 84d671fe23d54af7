"""How `listen`, `play` and `demo` come into a room: by its code, or by the machine owner's right."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from typing import Annotated

import typer
from bandroom_devices.device import Device
from bandroom_devices.errors import DeviceError, JoinRefused, Refused, Unreachable

from bandroom.cli.api import Api, room_code
from bandroom.cli.errors import CliError, ExitCode
from bandroom.cli.output import Home
from bandroom.mqtt.endpoint import Tcp
from bandroom.runstate import RunInfo
from bandroom.wire.ids import Subject, TenantId

RoomOption = Annotated[str | None, typer.Option("--room", help="The room's id (or code), on this machine's service.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="The room's code: join as a pupil does.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="With --code: the service's web address.  [default: this machine's]")
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", envvar="BANDROOM_CA", help="Certificate of the authority to trust on https and mqtts (PEM)."),
]
LinkOption = Annotated[str | None, typer.Option("--link", help="A join link, instead of all these.")]

_TOKEN_S = 12 * 3600


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
    ca: Path | None = None,
    instrument: str | None = None,
) -> Device:
    """A device for the room that was named, not yet in it. Raises ``CliError`` and ``BadId``.

    With ``room`` it comes in by the owner's right, as a teacher called ``purpose`` who appears on no roster; else the
    roster shows ``instrument``.
    """
    if sum(way is not None for way in (room, code, link)) != 1:
        raise CliError("say which room: with --room, --code or --link", err="bad_request")
    if url is not None and code is None:
        raise CliError("--url goes with --code", err="bad_request")
    try:
        tls = trusting(ca)
        if link is not None:
            return Device.join_link(link, nickname=nickname, instrument=instrument, tls=tls)
        if code is not None and url is not None:
            if tenant is None:
                raise CliError("--url and --code need --tenant as well", err="bad_request")
            return Device.join(url, tenant, code, nickname=nickname, instrument=instrument, tls=tls)
        running = RunInfo.read(home)
        # On this machine nothing need be encrypted, and names need not lead here.
        here = Tcp(running.mqtt.host, running.mqtt.port)
        if code is not None and tenant is not None:
            return Device.join(running.http.url, tenant, code, nickname=nickname, instrument=instrument, endpoint=here)
        with Api(home.root) as api:
            school = api.tenant(tenant)
            if code is not None:
                return Device.join(
                    running.http.url, school, code, nickname=nickname, instrument=instrument, endpoint=here
                )
            return _as_owner(api, running, school, room_code(room or ""), purpose)
    except ValueError as error:
        raise CliError(str(error), err="bad_request") from error


def trusting(ca: Path | None) -> ssl.SSLContext | None:
    """A TLS context for the authority in the file; None without: the system's. Raises ``CliError``."""
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise CliError(f"{ca} holds no certificate in PEM form ({error.reason})", err="bad_request") from error
    except OSError as error:
        raise CliError(f"the certificate {ca} cannot be read: {error.strerror}", err="bad_request") from error


def _as_owner(api: Api, running: RunInfo, tenant: TenantId, room: str, purpose: str) -> Device:
    found = api.get(f"/api/tenants/{tenant}/rooms/{room}")
    if found["state"] == "closed":
        raise CliError(f"room {room} is closed: `bandroom rooms reopen`, or choose another", err="closed")
    subject = Subject(f"t-{purpose}-{secrets.token_hex(2)}")
    minted = api.post(f"/api/tenants/{tenant}/tokens", {"sub": subject, "ttl_s": _TOKEN_S})
    mqtt = running.mqtt
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
