"""The command's root: names the sub-commands, loads the one that is asked for, and shows errors.

A sub-command lives in ``bandroom.cli.<name>`` as ``app``, a ``typer.Typer``; with a single ``@app.command()`` it is a
command, with several a group. Nothing of it is imported before it is called, so `bandroom --help` is quick and
works where only the base package is installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bandroom.cli.errors import CliError, ExitCode, show
from bandroom.runstate import NotRunning
from bandroom.wire.ids import BadId

COMMANDS = {
    "up": "Start everything on this machine: broker, service, tempo worker.",
    "doctor": "Check this installation and say how to mend it.",
    "systemd": "Print a systemd unit for this installation.",
    "tenants": "Schools: create, list, set, limits, delete.",
    "teachers": "Teachers and their sign-in links: add, list, revoke.",
    "rooms": "Rooms: create, list, show, watch, start, stop, close.",
    "devices": "Credentials for instruments: enroll, revoke.",
    "tokens": "Mint tokens, for the machine's owner.",
    "keys": "Signing keys and the master key of devices: rotate.",
    "backup": "Write database and keys to one file, while everything runs.",
    "restore": "Put a backup in the place of what is there.",
    "listen": "Hear a room: beats, notes and who is in.",
    "play": "Play in a room from this terminal.",
    "demo": "Eight instruments with wrong clocks play a round in time.",
}

# Modules that come with the server extra: their absence is not an error of ours.
_SERVER_MODULES = frozenset(
    [
        "cryptography",
        "fastapi",
        "httpx",
        "jwt",
        "prometheus_client",
        "psutil",
        "pydantic_settings",
        "segno",
        "sqlite_utils",
        "structlog",
        "uvicorn",
        "websockets",
    ]
)


def _stub(name: str, text: str) -> Any:
    """A command that stands for an unloaded one in the list of commands."""
    stub = typer.Typer(add_completion=False)

    def nothing() -> None: ...

    stub.command(name, help=text)(nothing)
    return typer.main.get_command(stub)


def _load(name: str) -> Any:
    """The command itself."""
    try:
        module = importlib.import_module(f"bandroom.cli.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _SERVER_MODULES:
            text = f"`bandroom {name}` needs the server's parts ({missing} is missing): pip install 'bandroom[server]'"
            raise CliError(text) from error
        raise
    sub: typer.Typer = module.app
    sub.info.name = name
    command: Any = typer.main.get_command(sub)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that imports a sub-command only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _stub(cmd_name, COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, (_load(name) if name and found is not None else found), rest

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        run = partial(super().main, given, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        sys.exit(_guarded(run, given))


def _guarded(run: Callable[[], Any], args: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever the user can mend becomes one line."""
    try:
        result = run()
    except CliError as error:
        shown = error
    except typer.TyperException as error:
        # Also raised to show the help where no arguments were given: that text has several lines already.
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return ExitCode.USAGE
        shown = CliError(error.format_message(), err="bad_request", exit_code=ExitCode(error.exit_code))
    except BadId as error:
        shown = CliError(str(error), err="bad_request")
    except NotRunning as error:
        shown = CliError(str(error), err="not_running")
    except PermissionError as error:
        shown = CliError(str(error), err="forbidden")
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no news to anybody.
        sys.stdout = sys.stderr
        return ExitCode.FAILED
    except OSError as error:
        # A data folder that is a file, a disk that is full: the user's to mend.
        shown = CliError(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    else:
        return result if isinstance(result, int) else ExitCode.OK
    show(shown, as_json="--json" in args)
    return shown.exit_code


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bandroom {version('bandroom')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A shared beat for a classroom of instruments.",
)


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A shared beat for a classroom of instruments."""
