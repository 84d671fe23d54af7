"""`bandroom demo`: a class of eight virtual instruments plays a round, and an observer measures how well in time."""

from __future__ import annotations

import asyncio
import ctypes
import io
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from bandroom_devices.demo.recording import render
from bandroom_devices.demo.show import dashboard, legend, players
from bandroom_devices.demo.stage import BPM, DemoFailed, Stage, sound_files
from bandroom_devices.demo.tally import Tally
from bandroom_devices.extras import MissingExtra
from rich.console import Console
from rich.live import Live

from bandroom.cli.api import Api
from bandroom.cli.errors import CliError
from bandroom.cli.output import DEFAULT, Home, HomeOption, JsonOption, print_json
from bandroom.runstate import NotRunning, RunInfo
from bandroom.wire.ids import DEMO_TENANT

app = typer.Typer(add_completion=False)

_PR_SET_PDEATHSIG = 1
_UP_WITHIN_S = 60
_FRAME_S = 0.05
_PICTURE_BEAT = 26  # by now all four parts play, at the second tempo


@app.command()
def demo(
    home: HomeOption = DEFAULT,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for what was heard, as MIDI and (with FluidSynth) WAV.")
    ] = Path("bandroom-demo"),
    svg: Annotated[Path | None, typer.Option("--svg", help="Save a picture of the running demo.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides how wrong each clock is.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Bring in eight instruments with wrong clocks and let them play a round in time (about 45 s).

    Runs beside a running `bandroom up`; where there is none it starts one of its own for as long as it lasts.
    """
    console = Console(stderr=as_json)
    try:
        with _service(Home(home), console) as running:
            tally = _perform(running, console, out, svg, seed)
    except (DemoFailed, MissingExtra) as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{error.filename or out}: {error.strerror or error}") from error
    if as_json:
        print_json(tally.summary() | {"files": [str(path) for path in sound_files(out) if path.is_file()]})


@contextmanager
def _service(home: Home, console: Console) -> Generator[Home]:
    """The data folder of a running service: ``home``'s, or one of our own in a temporary folder."""
    try:
        RunInfo.read(home)
    except NotRunning:
        console.print(f"Nothing runs on {home.root}: starting a service of the demo's own, in a temporary folder.")
    else:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="bandroom-demo-") as folder:
        own = Home(folder)
        command = [sys.executable, "-m", "bandroom.cli", "up", "--home", folder, "--mqtt-port", "0", "--http-port", "0"]
        # A request to end (SIGTERM) ends it in order, as Ctrl-C does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # A group of its own: Ctrl-C reaches the demo first, which then ends the service in order.
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(  # noqa: S603
                command,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            ) as up,
        ):
            try:
                _wait_until_up(own, up, said)
                yield own
            finally:
                up.send_signal(signal.SIGINT)
                try:
                    up.wait(15)
                except subprocess.TimeoutExpired:
                    up.kill()


def _end_with_parent() -> None:
    """In the service's process, before it begins: nobody would ever end it once a killed demo is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _wait_until_up(home: Home, up: subprocess.Popen[bytes], said: Any) -> None:
    deadline = time.monotonic() + _UP_WITHIN_S
    while not home.run_json.exists():
        if up.poll() is not None or time.monotonic() > deadline:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-3:]
            raise DemoFailed(f"`bandroom up` did not start: {' '.join(last) or 'it said nothing'}")
        time.sleep(0.1)


def _perform(home: Home, console: Console, out: Path, svg: Path | None, seed: int) -> Tally:
    out.mkdir(parents=True, exist_ok=True)
    with Api(home.root) as api:
        _ask_for(api, "/api/tenants", {"tenant": DEMO_TENANT}, fine="conflict")
        room = api.post(f"/api/tenants/{DEMO_TENANT}/rooms", {"name": "Frère Jacques", "bpm": BPM, "meter": "4/4"})
        path = f"/api/tenants/{DEMO_TENANT}/rooms/{room['room']}/commands"

        async def command(body: dict[str, Any]) -> None:
            await asyncio.to_thread(api.post, path, body)

        title = f"Frère Jacques, a round in four parts · room {room['room']}"
        show = _Show(console, title, wants_picture=svg is not None)
        stage = Stage(RunInfo.read(home).http.url, DEMO_TENANT, room["code"], command, show.refresh, seed)
        try:
            with show.live:
                asyncio.run(stage.perform())
        except KeyboardInterrupt:
            console.print("Stopped.")
            raise
        finally:
            _ask_for(api, path, {"cmd": "close"}, fine="closed")
    _leave(stage, show, console, out, svg)
    return stage.tally


def _ask_for(api: Api, path: str, body: dict[str, Any], *, fine: str) -> None:
    """POST, where one refusal means that it is so already."""
    try:
        api.post(path, body)
    except CliError as error:
        if error.err != fine:
            raise


class _Show:
    """The picture on the terminal while the class plays."""

    def __init__(self, console: Console, title: str, *, wants_picture: bool) -> None:
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.title = title
        self.picture: str | None = None
        self._console = console
        self._wants_picture = wants_picture
        self._due: asyncio.TimerHandle | None = None

    def refresh(self, tally: Tally, status: str) -> None:
        """Draw a moment later, once for all that happens together: drawing takes time from the players."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_FRAME_S, self._draw, tally, status)

    def _draw(self, tally: Tally, status: str) -> None:
        self._due = None
        if self._console.is_terminal:
            self.live.update(dashboard(tally, self.title, status), refresh=True)
        wanted = self._wants_picture and self.picture is None and tally.beat.get("n", -1) >= _PICTURE_BEAT
        if wanted and all(player.sounding for player in tally.players.values()):
            self.picture = _svg(dashboard(tally, self.title, status))


def _leave(stage: Stage, show: _Show, console: Console, out: Path, svg: Path | None) -> None:
    """The table, and the files."""
    console.print(f"[bold]{show.title}[/bold]")
    console.print(players(stage.tally))
    console.print(legend(stage.tally))
    midi, wav = sound_files(out)
    stage.recording.save(midi, stage.parts)
    silent = render(midi, wav)
    console.print(f"Heard: {midi}" + (f" and {wav}" if silent is None else f" (no WAV: {silent})"))
    if svg is not None and show.picture is not None:
        svg.write_text(show.picture)
        console.print(f"Picture: {svg}")


def _svg(picture: Any) -> str:
    """A frame of the terminal as SVG."""
    canvas = Console(record=True, width=82, file=io.StringIO(), force_terminal=True)
    canvas.print(picture)
    return canvas.export_svg(title="bandroom demo")
