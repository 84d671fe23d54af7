"""`bandroom teachers`: add, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from bandroom.cli.api import Api
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, TenantOption, emit, print_json, print_table
from bandroom.wire.ids import Subject

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Teachers and their sign-in links.")

TeacherArgument = Annotated[str, typer.Argument(metavar="TEACHER", help="t- and a name, as t-smith.")]


@app.command()
def add(
    teacher: TeacherArgument,
    name: Annotated[str | None, typer.Option("--name", help="The name for people.")] = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Give a teacher a sign-in link; a link given before stops working."""
    sub = Subject.parse(teacher)
    with Api(home) as api:
        made = api.post(f"/api/tenants/{api.tenant(tenant)}/teachers", {"sub": str(sub), "name": name})
    lines = [made["sign_in_url"], "Whoever has this link is this teacher. It is shown this once."]
    emit(made, as_json=as_json, lines=lines)


@app.command()
def revoke(
    teacher: TeacherArgument, tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """End a teacher's link, tokens and connections."""
    sub = Subject.parse(teacher)
    with Api(home) as api:
        path = f"/api/tenants/{api.tenant(tenant)}/teachers"
        known = {row["sub"] for row in api.get(path)}
        done = api.post(f"{path}/{sub}/revoke", {})
    said = f"{sub} is out, and the link works no more."
    if str(sub) not in known:
        # Done all the same: a token may live of one minted by hand, or added since the backup that was put back.
        said = f"{sub} had no link here: is the name right? Whatever token there was of it opens nothing any more."
    emit(done, as_json=as_json, lines=[said])


@app.command("list")
def list_(tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False) -> None:
    """All teachers of a tenant."""
    with Api(home) as api:
        found = api.get(f"/api/tenants/{api.tenant(tenant)}/teachers")
    if as_json:
        print_json(found)
        return
    rows = [(row["sub"], row["name"], "revoked" if row["revoked_at"] else "good") for row in found]
    print_table(("teacher", "name", "link"), rows, empty="No teachers yet.")
