"""`bandroom up`: everything on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, TextIO

import typer

from bandroom.cli.errors import CliError
from bandroom.cli.output import JsonOption
from bandroom.paths import DEFAULT_HOME, HOME_VARIABLE, Home
from bandroom.runstate import NotRunning, RunInfo, RunState
from bandroom.settings import BadSettings, load
from bandroom.supervisor.errors import InTheWay, StartError
from bandroom.supervisor.plan import Plan
from bandroom.supervisor.run import up as run_up

app = typer.Typer(add_completion=False)


@app.command()
def up(
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar=HOME_VARIABLE, help=f"The data folder.  [default: ./{DEFAULT_HOME}]"),
    ] = None,
    mqtt_port: Annotated[
        str | None, typer.Option("--mqtt-port", metavar="PORT", help="For devices; 0: any free one.  [default: 1883]")
    ] = None,
    http_port: Annotated[
        str | None, typer.Option("--http-port", metavar="PORT", help="For browsers; 0: any free one.  [default: 8080]")
    ] = None,
    lan: Annotated[
        bool | None,
        typer.Option("--lan/--no-lan", help="Listen on this machine's address in the local network."),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Address in links and QR codes, behind a proxy.")
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Certificate and chain (PEM), for HTTPS and MQTT over TLS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM, mode 0600 or 0640).")
    ] = None,
    https_port: Annotated[
        str | None, typer.Option("--https-port", metavar="PORT", help="With a certificate.  [default: 8443]")
    ] = None,
    mqtts_port: Annotated[
        str | None, typer.Option("--mqtts-port", metavar="PORT", help="With a certificate.  [default: 8883]")
    ] = None,
    tempo_workers: Annotated[
        str | None, typer.Option("--tempo-workers", metavar="COUNT", help="Processes that publish beats.  [default: 1]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start broker, service and tempo worker, and keep them running until Ctrl-C.

    With --json the one line on stdout, once all are ready, is what run.json holds.
    """
    # Numbers come as text: the settings check all values, wherever they come from, and name a bad one.
    began = time.monotonic()

    def say(text: str) -> None:
        _print(text, sys.stderr if as_json else sys.stdout)

    def ready(plan: Plan) -> None:
        if not as_json:
            say(_greeting(plan, time.monotonic() - began))
            return
        try:
            _print(RunInfo.read(plan.home).to_json(), sys.stdout)
        except NotRunning as error:  # it could not be written, which was said, and is no reason to end
            say(str(error))

    try:
        settings = load(
            home=home,
            mqtt_port=mqtt_port,
            http_port=http_port,
            lan=lan,
            public_url=public_url,
            tls_cert=tls_cert,
            tls_key=tls_key,
            https_port=https_port,
            mqtts_port=mqtts_port,
            tempo_workers=tempo_workers,
        )
        run_up(settings, say, ready)
    except BadSettings as error:
        raise CliError(str(error), err="bad_request") from error
    except InTheWay as error:
        raise CliError(str(error), err="not_running") from error
    except StartError as error:
        raise CliError(str(error)) from error
    say("Stopped.")


def _print(text: str, to: TextIO) -> None:
    """To the terminal; one that was closed meanwhile is no reason to end the music."""
    try:
        print(text, flush=True, file=to)
    except OSError:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)


def _greeting(plan: Plan, seconds: float) -> str:
    """Where it is, how to make a room, how to stop."""
    command = _command(plan.home)
    state = plan.state
    lines = [
        *plan.notes,
        f"Bandroom is up, after {seconds:.1f} s.",
        f"  web       {state.public_url}",
        f"  devices   {_devices(state)}",
        f"  data      {plan.home.root}  (logs in {plan.home.logs.name}/)",
        "Make a room, in another terminal:",
        f"  {command} tenants create my-school",
        f"  {command} rooms create --tenant my-school --start",
        "Stop: Ctrl-C here.",
    ]
    if os.geteuid() == 0:
        lines.insert(0, "Running as root: fine for trying it out; a server that stays deserves a user of its own.")
    return "\n".join(lines)


def _devices(state: RunState) -> str:
    if state.tls is None:
        return f"mqtt://{state.mqtt.host}:{state.mqtt.port}"
    # What listens in the clear is for this machine alone, unless it was asked for.
    return f"mqtts://{state.tls.name}:{state.tls.mqtts_port}  (at {state.tls.host})"


def _command(home: Home) -> str:
    """What to type for ``bandroom`` in this shell and folder."""
    script = Path(sys.argv[0])
    if shutil.which("bandroom") and script.name == "bandroom":
        word = "bandroom"
    elif script.name == "bandroom":
        word = os.path.relpath(script)
    else:
        word = f"{os.path.relpath(sys.executable)} -m bandroom.cli"
    default = Home(DEFAULT_HOME) == home and HOME_VARIABLE not in os.environ
    return word if default else f"{HOME_VARIABLE}={shlex.quote(str(home.root))} {word}"
