"""`bandroom tenants`: create, list, set, limits, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bandroom.cli.api import Api
from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, counted, emit, print_json, print_table
from bandroom.wire.gate_log import LimitKey
from bandroom.wire.ids import OWN_TENANTS, TenantId
from bandroom.wire.limits import Allowance

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


_MaxRooms = Annotated[int | None, typer.Option("--max-rooms", help="Open rooms at once.")]
_Forget = Annotated[
    int | None,
    typer.Option("--forget-pupils-after", help="Seconds from a room's closing, 0 to 86400.", metavar="SECONDS"),
]
_Tenant = Annotated[str, typer.Argument(help="Its id.")]


@app.command("set")
def set_(
    tenant: _Tenant,
    max_rooms: _MaxRooms = None,
    forget: _Forget = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Change a tenant's number of rooms and retention."""
    if max_rooms is None and forget is None:
        raise CliError("say what to change: --max-rooms, --forget-pupils-after", err="bad_request")
    with Api(home) as api:
        body = {"max_rooms": max_rooms, "forget_pupils_s": forget}
        done = api.post(f"/api/tenants/{TenantId.parse(tenant)}/settings", body)
    emit(done, as_json=as_json, lines=[f"Changed {done['tenant']}."])


@app.command()
def limits(
    tenant: _Tenant,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A limit, so many a second and at once, as client_msgs=50:100.", metavar="KEY=R:B"),
    ] = None,
    max_rooms: _MaxRooms = None,
    forget: _Forget = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back what was set before.")] = False,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show what a tenant may do, or change it: in force at once, for those who are connected, too."""
    path = f"/api/tenants/{TenantId.parse(tenant)}"
    given = dict(_limit(text) for text in set_ or [])
    with Api(home) as api:
        if given or reset or max_rooms is not None or forget is not None:
            body = {"limits": given, "reset": reset, "max_rooms": max_rooms, "forget_pupils_s": forget}
            found = api.post(f"{path}/settings", body)
        else:
            found = api.get(path)
    if as_json:
        print_json(found)
        return
    rows = [
        ("max_rooms", found["rooms"], "", "default" if found["max_rooms"] is None else "own"),
        ("forget_pupils_s", found["forget_pupils_s"], "", "default" if found["forget_pupils_s"] == 86_400 else "own"),
    ]
    rows += [(key, v["rate"], v["burst"], "own" if v["own"] else "default") for key, v in found["limits"].items()]
    print_table(("limit", "a second", "at once", ""), rows)


def _limit(text: str) -> tuple[str, dict[str, int]]:
    key, _, value = text.partition("=")
    if key not in set(LimitKey):
        known = ", ".join(LimitKey)
        raise CliError(f"--set cannot be {text!r}: give KEY=RATE:BURST, KEY one of {known}", err="bad_request")
    try:
        allowance = Allowance.parse(value)
    except ValueError as error:
        raise CliError(f"--set {text}: {error}", err="bad_request") from None
    return key, {"rate": allowance.rate, "burst": allowance.burst}


@app.command()
def delete(
    tenant: _Tenant,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Delete a tenant for good: rooms, pupils, devices, teachers; whoever is connected is put out.

    Its id is not given again.
    """
    school = TenantId.parse(tenant)
    with Api(home) as api:
        found = api.get(f"/api/tenants/{school}")
        if not yes:
            if not sys.stdin.isatty():
                raise CliError(f"this deletes {school} for good: say so with --yes", err="bad_request")
            typed = typer.prompt(f"This deletes {school} ({found['name']}) for good. Type its id to go on", err=True)
            if typed.strip() != school:
                raise CliError(f"{typed!r} is not {school}: nothing was deleted", err="bad_request")
        gone = api.post(f"/api/tenants/{school}/delete", {"confirm": str(school)})
    counts = ", ".join(counted(gone[f"{what}s"], what) for what in ("room", "member", "device", "teacher"))
    emit(gone, as_json=as_json, lines=[f"Deleted {school}: {counts}."])
