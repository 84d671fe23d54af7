"""`bandroom tenants`: create, list."""

from __future__ import annotations

from typing import Annotated

import typer

from bandroom.cli.api import Api
from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, emit, print_json, print_table
from bandroom.wire.ids import OWN_TENANTS, TenantId

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Schools (or whoever shares this machine).")


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Its id: 1 to 20 of a-z, 0-9 and -.")],
    name: Annotated[str | None, typer.Option("--name", help="Its name for people.  [default: the id]")] = None,
    max_rooms: Annotated[int | None, typer.Option("--max-rooms", help="Open rooms at once.  [default: 100]")] = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Make a new tenant."""
    if tenant in OWN_TENANTS:
        raise CliError(
            f"{tenant} is kept for `bandroom doctor` and `bandroom demo`: choose another id", err="bad_request"
        )
    with Api(home) as api:
        made = api.post("/api/tenants", {"tenant": TenantId.parse(tenant), "name": name, "max_rooms": max_rooms})
    emit(made, as_json=as_json, lines=[f"Made tenant {made['tenant']}."])


@app.command("list")
def list_(home: HomeOption = DEFAULT, as_json: JsonOption = False) -> None:
    """All tenants."""
    with Api(home) as api:
        found = api.get("/api/tenants")
    if as_json:
        print_json(found)
    else:
        rows = [(entry["tenant"], entry["name"], entry["max_rooms"]) for entry in found]
        print_table(("tenant", "name", "max rooms"), rows, empty="No tenant yet: `bandroom tenants create <id>`.")


@app.command("set")
def set_(
    tenant: Annotated[str, typer.Argument(help="Its id.")],
    max_rooms: Annotated[int | None, typer.Option("--max-rooms", help="Open rooms at once.")] = None,
    forget: Annotated[
        int | None,
        typer.Option("--forget-pupils-after", help="Seconds from a room's closing, 0 to 86400.", metavar="SECONDS"),
    ] = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Change a tenant's limits and retention."""
    with Api(home) as api:
        body = {"max_rooms": max_rooms, "forget_pupils_s": forget}
        done = api.post(f"/api/tenants/{TenantId.parse(tenant)}/settings", body)
    emit(done, as_json=as_json, lines=[f"Changed {done['tenant']}."])
