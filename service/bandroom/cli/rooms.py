"""`bandroom rooms`: create, list, show, and every command that a teacher has."""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import segno
import typer

from bandroom.cli.api import Api, room_code
from bandroom.cli.errors import CliError
from bandroom.cli.output import (
    DEFAULT,
    Home,
    HomeOption,
    JsonOption,
    TenantOption,
    clock_text,
    emit,
    print_json,
    print_table,
)
from bandroom.runstate import RunInfo

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Rooms, and what a teacher does in them.")

RoomArgument = Annotated[str, typer.Argument(metavar="ROOM", help="The room's id or code, as MUSIC-1234.")]
AtOption = Annotated[str | None, typer.Option("--at", help="When: bar, beat, now, or a beat's number.", metavar="WHEN")]
IdOption = Annotated[
    str | None, typer.Option("--id", help="An id that makes the command safe to send again.", metavar="ID")
]
WhoArgument = Annotated[str, typer.Argument(metavar="WHO", help="A subject (s-7f3k2) or a nickname.")]
WhoOrAll = Annotated[
    str | None, typer.Argument(metavar="[WHO]", help="A subject or a nickname; all of the room where left out.")
]


@app.command()
def create(
    code: Annotated[str | None, typer.Option("--code", help="As MUSIC-1234.  [default: a new one]")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name for people.  [default: the code]")] = None,
    bpm: Annotated[float | None, typer.Option("--bpm", help="Beats a minute, 20 to 400.  [default: 120]")] = None,
    meter: Annotated[str | None, typer.Option("--meter", help="As 4/4, 6/8, 7/8:2+2+3.  [default: 4/4]")] = None,
    start: Annotated[bool, typer.Option("--start", help="Let the beat begin at once.")] = False,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Open a new room and print its code, join link and QR code."""
    where = None if code is None else room_code(code)
    with Api(home) as api:
        body = {"code": where, "name": name, "bpm": bpm, "meter": meter, "start": start}
        made = api.post(f"/api/tenants/{api.tenant(tenant)}/rooms", body)
    doing = "playing" if start else "standing still"
    lines = [
        f"Room {made['code']} is open: {made['bpm']:g} bpm, {made['meter']}, {doing}.",
        f"Join:  {made['join_url']}",
        "",
        qr(made["join_url"]),
    ]
    emit(made, as_json=as_json, lines=lines)


def qr(text: str) -> str:
    """A QR code for a terminal."""
    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue()


@app.command("list")
def list_(tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False) -> None:
    """All rooms of a tenant, open and resting."""
    with Api(home) as api:
        found = api.get(f"/api/tenants/{api.tenant(tenant)}/rooms")
    if as_json:
        print_json(found)
        return
    rows = [
        (r["room"], r["code"], r["state"], r["name"], f"{r['bpm']:g}", r["meter"], "yes" if r["playing"] else "no")
        for r in found
    ]
    print_table(("room", "code", "state", "name", "bpm", "meter", "playing"), rows, empty="No rooms yet.")


@app.command()
def show(
    room: RoomArgument, tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """One room, and who is in."""
    with Api(home) as api:
        found = api.get(f"/api/tenants/{api.tenant(tenant)}/rooms/{room_code(room)}")
    if as_json:
        print_json(found)
        return
    emit(shown(found), as_json=False)
    typer.echo("")
    rows = [
        (
            m["sub"],
            m["name"],
            m["kind"],
            m["instrument"],
            m["state"] or "away",
            None if m["since"] is None else clock_text(m["since"]),
            "" if m["err"] is None else f"{m['err']:.1f}",
            "muted" if m["muted"] else "",
        )
        for m in found["members"]
    ]
    print_table(("who", "name", "kind", "plays", "state", "since", "clock ± ms", ""), rows, empty="Nobody has joined.")


def shown(room: dict[str, Any]) -> dict[str, str]:
    """A room in words."""
    lines = {
        "room": f"{room['room']} of {room['tenant']}",
        "name": room["name"],
        "state": room["state"] + (", everybody muted" if room["all_muted"] else ""),
        "code": room["code"],
        "join": room["join_url"],
        "beat": f"{room['bpm']:g} bpm, {room['meter']}, {'playing' if room['playing'] else 'standing still'}",
        "made": clock_text(room["created_at"] * 1_000_000),
    }
    if room["closes_at"] is not None and not any(m["state"] == "ready" for m in room["members"]):
        lines["closes"] = f"{clock_text(room['closes_at'] * 1_000_000)}, unless somebody comes or does something"
    if room["rests_until"] is not None:
        lines["reopen"] = f"until {clock_text(room['rests_until'] * 1_000_000)}; then it is deleted"
    if room["worst_err_ms"] is not None:
        lines["clocks"] = f"within {room['worst_err_ms']:.1f} ms"
    return lines


@app.command()
def watch(room: RoomArgument, tenant: TenantOption = None, home: HomeOption = DEFAULT) -> None:
    """Show the room live: beat, who is in, who plays; with keys for start, stop, tap, mute. `q` ends it."""
    from bandroom.cli import watch as live

    with Api(home) as api:
        school = api.tenant(tenant)
        found = api.get(f"/api/tenants/{school}/rooms/{room_code(room)}")
        if found["state"] == "closed":
            raise CliError(f"room {found['room']} is closed: reopen it first", err="closed")
        asked = {"sub": f"t-watch-{secrets.token_hex(3)}"}
        access = api.post(f"/api/tenants/{school}/tokens", asked)

    def mint() -> str:
        with Api(home) as api:
            return str(api.post(f"/api/tenants/{school}/tokens", asked)["token"])

    def ask_code() -> str:
        with Api(home) as api:
            return str(api.get(f"/api/tenants/{school}/rooms/{found['room']}")["code"])

    mqtt = RunInfo.read(Home(home)).mqtt
    asyncio.run(live.watch(access, mint, mqtt.host, mqtt.port, live.place(found), found["code"], ask_code))


@app.command()
def screen(
    room: RoomArgument, tenant: TenantOption = None, home: HomeOption = DEFAULT, as_json: JsonOption = False
) -> None:
    """Print a link for the projector: it shows the room, its code and who is in, and can change nothing."""
    with Api(home) as api:
        made = api.post(f"/api/tenants/{api.tenant(tenant)}/rooms/{room_code(room)}/screen", {})
    emit(made, as_json=as_json, lines=[made["url"], "Whoever has this link sees the room, for 12 hours."])


def _command(room: str, tenant: str | None, home: Path, as_json: bool, cmd: str, said: str, **arguments: Any) -> None:
    """Send a command and print what became of it."""
    with Api(home) as api:
        path = f"/api/tenants/{api.tenant(tenant)}/rooms/{room_code(room)}/commands"
        reply = api.post(path, {"cmd": cmd, **arguments})
    text = said
    if reply.get("t") is not None:
        ahead_s = reply["t"] / 1e6 - time.time()
        text += f", from beat {reply['n']}" + (f" in {ahead_s:.1f} s" if 0 < ahead_s < 3600 else "")
    if reply.get("code"):
        text += f"; the new code is {reply['code']}"
    emit(reply, as_json=as_json, lines=[f"{text}."])


def _at(text: str | None) -> str | int | None:
    if text is None or text in ("bar", "beat", "now"):
        return text
    try:
        return int(text)
    except ValueError:
        raise CliError(f"--at cannot be {text!r}: give bar, beat, now, or a beat's number", err="bad_request") from None


@app.command()
def start(
    room: RoomArgument,
    count_in: Annotated[int | None, typer.Option("--count-in", help="Bars, 0 for none.  [default: 1]")] = None,
    at: AtOption = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Play from the beginning, after a count-in."""
    _command(room, tenant, home, as_json, "start", "Playing", count_in=count_in, at=_at(at), id=id_)


@app.command()
def stop(
    room: RoomArgument,
    at: AtOption = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Stand still, by default at the next beat."""
    _command(room, tenant, home, as_json, "stop", "Stopped", at=_at(at), id=id_)


@app.command("continue")
def continue_(
    room: RoomArgument,
    at: AtOption = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Go on where it stopped."""
    _command(room, tenant, home, as_json, "continue", "Going on", at=_at(at), id=id_)


@app.command("set-tempo")
def set_tempo(
    room: RoomArgument,
    bpm: Annotated[float, typer.Argument(help="Counted beats a minute, 20 to 400.")],
    at: AtOption = None,
    ramp: Annotated[str | None, typer.Option("--ramp", help="Get there by and by: time or beats.")] = None,
    over: Annotated[int | None, typer.Option("--over", help="Beats that the ramp takes.")] = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Another tempo, by default from the next bar on."""
    said = f"Tempo {bpm:g}"
    _command(room, tenant, home, as_json, "set_tempo", said, bpm=bpm, at=_at(at), ramp=ramp, over=over, id=id_)


@app.command()
def tap(
    room: RoomArgument,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """One tap; the third and later ones within three seconds of each other set the tempo."""
    _command(room, tenant, home, as_json, "tap", "Tapped", id=id_)


@app.command("set-meter")
def set_meter(
    room: RoomArgument,
    meter: Annotated[str, typer.Argument(help="As 4/4, 6/8, 7/8:2+2+3.")],
    bpm: Annotated[float | None, typer.Option("--bpm", help="A tempo with it, in the new counted beats.")] = None,
    at: AtOption = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Another meter, at a bar line."""
    said = f"Meter {meter}"
    _command(room, tenant, home, as_json, "set_meter", said, meter=meter, bpm=bpm, at=_at(at), id=id_)


@app.command()
def cancel(
    room: RoomArgument,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Take back what is announced and not yet due."""
    _command(room, tenant, home, as_json, "cancel", "Taken back", id=id_)


@app.command()
def mute(
    room: RoomArgument,
    who: WhoOrAll = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Let one member, or all, play no notes."""
    _command(room, tenant, home, as_json, "mute", f"Muted {who or 'all'}", who=who, id=id_)


@app.command()
def unmute(
    room: RoomArgument,
    who: WhoOrAll = None,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Let one member, or all, play again."""
    _command(room, tenant, home, as_json, "unmute", f"Unmuted {who or 'all'}", who=who, id=id_)


@app.command()
def kick(
    room: RoomArgument,
    who: WhoArgument,
    keep_code: Annotated[bool, typer.Option("--keep-code", help="Leave the join code as it is.")] = False,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Put a member out; the join code changes."""
    _command(room, tenant, home, as_json, "kick", f"Put {who} out", who=who, keep_code=keep_code, id=id_)


def _simple(name: str, cmd: str, said: str, text: str) -> None:
    """A command that takes a room and nothing else."""

    def run(
        room: RoomArgument,
        id_: IdOption = None,
        tenant: TenantOption = None,
        home: HomeOption = DEFAULT,
        as_json: JsonOption = False,
    ) -> None:
        _command(room, tenant, home, as_json, cmd, said, id=id_)

    app.command(name, help=text)(run)


_simple("lock", "lock", "Locked", "Let nobody new in.")
_simple("unlock", "unlock", "Unlocked", "Let newcomers in again.")
_simple("new-code", "new_code", "Done", "Replace the join code; who is in stays in.")
_simple("close", "close", "Closed", "End the room. It may be reopened for a day.")
_simple("reopen", "reopen", "Open again", "Open a closed room again while its code rests.")


@app.command()
def rename(
    room: RoomArgument,
    name: Annotated[str, typer.Argument(help="The new name.")],
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Give the room another name."""
    _command(room, tenant, home, as_json, "rename", "Renamed", name=name, id=id_)


@app.command("reset-name")
def reset_name(
    room: RoomArgument,
    who: WhoArgument,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Replace a member's nickname by a generated one."""
    _command(room, tenant, home, as_json, "reset_name", "Renamed", who=who, id=id_)


@app.command("assign-device")
def assign_device(
    room: RoomArgument,
    device: Annotated[str, typer.Argument(help="As d-drum-3.")],
    away: Annotated[bool, typer.Option("--away", help="Take it out of the room instead.")] = False,
    id_: IdOption = None,
    tenant: TenantOption = None,
    home: HomeOption = DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Bring a device into the room."""
    said = f"{device} is {'out of' if away else 'in'} {room}"
    _command(room, tenant, home, as_json, "assign_device", said, device=device, away=away, id=id_)
