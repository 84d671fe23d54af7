"""`bandroom devices`: enroll, revoke, list, and say what a device plays."""

from __future__ import annotations

from typing import Annotated

import typer

from bandroom.cli.api import Api, room_code
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, TenantOption, emit, print_json, print_table
from bandroom.wire.ids import Subject
from bandroom.wire.instruments import INSTRUMENTS, Instrument

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Credentials for instruments.")

SubjectArgument = Annotated[str, typer.Argument(metavar="DEVICE", help="Its name: d- and up to 18 of a-z, 0-9, -.")]


@app.command()
def enroll(
    device: SubjectArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its name for people.")] = None,
    room: Annotated[str | None, typer.Option("--room", help="Assign it to this room.")] = None,
    instrument: Annotated[
        Instrument | None,
        typer.Option("--instrument", metavar="WORD", help=f"What it plays, for the roster: {', '.join(INSTRUMENTS)}."),
    ] = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Make a device's credential. Enrolling again ends the one before."""
    sub = Subject.parse(device)
    with Api(home) as api:
        where = None if room is None else room_code(room)
        body = {"sub": str(sub), "name": name, "room": where, "instrument": instrument}
        made = api.post(f"/api/tenants/{api.tenant(tenant)}/devices", body)
    lines = [
        f"user name  {made['username']}",
        f"client id  {made['client_id']}",
        f"password   {made['password']}",
        "The password is shown this once.",
    ]
    emit(made, as_json=as_json, lines=lines)


@app.command("instrument")
def set_instrument(
    device: SubjectArgument,
    instrument: Annotated[
        Instrument | None,
        typer.Argument(metavar="[WORD]", help=f"{', '.join(INSTRUMENTS)}; where left out nothing is said."),
    ] = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Say what a device plays, for the roster. A device that says so itself is believed."""
    sub = Subject.parse(device)
    with Api(home) as api:
        done = api.post(f"/api/tenants/{api.tenant(tenant)}/devices/{sub}/instrument", {"instrument": instrument})
    said = f"{sub} is shown with: {instrument}." if instrument else f"{sub} is shown without an instrument."
    emit(done, as_json=as_json, lines=[said])


@app.command()
def revoke(
    device: SubjectArgument, tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Refuse a device from now on and end its connections."""
    sub = Subject.parse(device)
    with Api(home) as api:
        done = api.post(f"/api/tenants/{api.tenant(tenant)}/devices/{sub}/revoke", {})
    emit(done, as_json=as_json, lines=[f"{sub} is refused from now on."])


@app.command("list")
def list_(tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False) -> None:
    """All devices of a tenant."""
    with Api(home) as api:
        found = api.get(f"/api/tenants/{api.tenant(tenant)}/devices")
    if as_json:
        print_json(found)
        return
    rows = [
        (d["sub"], d["name"], d["instrument"], d["generation"], d["room"], "revoked" if d["revoked_at"] else "good")
        for d in found
    ]
    print_table(("device", "name", "plays", "generation", "room", "credential"), rows, empty="No devices yet.")
