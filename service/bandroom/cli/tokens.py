"""`bandroom tokens`: mint."""

from __future__ import annotations

from typing import Annotated

import typer

from bandroom.cli.api import Api, room_code
from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, HomeOption, JsonOption, TenantOption, emit
from bandroom.wire.ids import LETTER_OF_ROLE, Role, Subject

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tokens for people, by the owner's hand.")


@app.callback()
def group() -> None:
    """Tokens for people, by the owner's hand."""


@app.command()
def mint(
    role: Annotated[str, typer.Option("--role", help="teacher, student or viewer.")],
    sub: Annotated[str, typer.Option("--sub", help="The subject: t-, s- or v- and a name, as t-smith.")],
    room: Annotated[str | None, typer.Option("--room", help="The room, for students and viewers.")] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", help="Seconds that it lives.  [default: 43200]")] = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Make a token: user name, client id, and the token as the password."""
    subject = Subject.parse(sub)
    if role not in (Role.TEACHER, Role.STUDENT, Role.VIEWER):
        raise CliError(f"role cannot be {role!r}: give teacher, student or viewer", err="bad_request")
    if subject.role != role:
        text = f"{subject} is no {role}: the subject of a {role} begins with {LETTER_OF_ROLE[Role(role)]}-"
        raise CliError(text, err="bad_request")
    with Api(home) as api:
        where = None if room is None else room_code(room)
        made = api.post(f"/api/tenants/{api.tenant(tenant)}/tokens", {"sub": str(subject), "room": where, "ttl_s": ttl})
    emit(made, as_json=as_json)
