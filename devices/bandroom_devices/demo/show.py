"""The demo on the terminal: the beat, who plays, and how far from the grid each player's notes arrive."""

from __future__ import annotations

from statistics import median

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bandroom_devices.demo.tally import PlayerTally, Tally, in_ms, nearest_rank, worst
from bandroom_devices.notes import note_name

_STRIP = 7  # characters to each side of the grid line
_STRIP_MS = 5.0
_WIDTH = 80


def _ms(us: float | None) -> str:
    return "" if us is None else f"{us / 1000:+.2f}"


def _strip(off_us: list[int]) -> Text:
    """Where the last notes arrived: the grid in the middle, early to the left, late to the right."""
    cells = ["·"] * (2 * _STRIP + 1)
    cells[_STRIP] = "┃"
    text = Text("".join(cells), style="dim")
    for age, off in enumerate(reversed(off_us[-8:])):
        place = _STRIP + round(max(-1.0, min(1.0, off / 1000 / _STRIP_MS)) * _STRIP)
        if age == 0 or text.plain[place] != "●":
            mark, style = ("●", "bold green" if abs(off) < 2000 else "bold yellow") if age == 0 else ("•", "green")
            text = Text.assemble(text[:place], (mark, style), text[place + 1 :])
    return text


def _row(player: PlayerTally) -> tuple[RenderableType, ...]:
    playing = " ".join(note_name(note) for note in sorted(player.sounding))
    off = player.off_us
    return (
        Text(player.name, style="bold" if playing else ""),
        str(player.voice + 1),
        f"{player.clock_off_us / 1e6:+.1f} s {player.clock_ppm:+.0f} ppm",
        Text(f"♪ {playing}" if playing else "", style="cyan"),
        f"{player.heard}/{player.expected}",
        _ms(median(off)) if off else "",
        _ms(worst(off)) if off else "",
        _strip(off),
    )


def players(tally: Tally) -> Table:
    """The class, a row each, and the whole of it below."""
    table = Table(box=box.SIMPLE, show_footer=True, pad_edge=False, padding=0)
    table.add_column("player", footer="the class", min_width=12)
    table.add_column("part", justify="right")
    table.add_column("its clock is off", justify="right", min_width=16)
    table.add_column("plays", min_width=5)
    table.add_column("notes", justify="right", footer=f"{tally.heard}/{tally.expected}", min_width=7)
    every = tally.off_us
    table.add_column("median", justify="right", footer=_ms(median(every)) if every else "", min_width=6)
    table.add_column("worst", justify="right", footer=_ms(worst(every)) if every else "", min_width=6)
    scale = f"-{_STRIP_MS:g} ms"
    table.add_column(f"{scale}{'+' + scale[1:]:>{2 * _STRIP + 1 - len(scale)}}", no_wrap=True)
    for player in tally.players.values():
        table.add_row(*_row(player))
    return table


def _beat(tally: Tally, status: str) -> Text:
    beat = tally.beat
    if not beat:
        return Text(status, style="yellow")
    lights = " ".join("●" if pos == beat["pos"] else "○" for pos in range(1, 5))
    where = f"bar {beat['bar']:2}" if beat["n"] >= 0 else "count-in"
    style = "bold green" if beat["pos"] == 1 else "bold"
    return Text.assemble((f"{where:9}", "bold"), (lights, style), f"   {beat['bpm']:.0f} bpm   ", (status, "dim"))


def dashboard(tally: Tally, title: str, status: str) -> RenderableType:
    """The whole picture."""
    beat = Panel(_beat(tally, status), title=title, title_align="left", box=box.ROUNDED, width=_WIDTH)
    return Group(beat, players(tally), legend(tally))


def legend(tally: Tally) -> Text:
    """What the figures are, and how good the class was altogether."""
    own = tally.observer_error_us
    note = "In ms: arrival of a note at an independent observer, minus the nearest eighth of the grid."
    if own is not None:
        note += f" The observer knows the time to ±{in_ms(own):.2f} ms."
    if tally.off_us:
        within = nearest_rank([abs(off) for off in tally.off_us], 95)
        note = f"95 % of the notes within {in_ms(within):.2f} ms. {note}"
    return Text(note, style="dim")
