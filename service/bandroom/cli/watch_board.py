"""What `bandroom rooms watch` shows: a picture of a room, made of what was heard. Time is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bandroom.cli.output import clock_text
from bandroom.mqtt import Incoming
from bandroom.music.units import bpm_from_uq
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Beat, LimitReport, Member, Note, Reply, RoomInfo, Tempo
from bandroom.wire.topics import Leaf

RECENT_S = 5.0
"""Notes of the last so many seconds make a player's activity."""
_SHOW_LIMIT_S = 10.0
ANSWER_WITHIN_S = 5.0
"""A command that is not answered by then will not be: nobody keeps it."""
KEYS = "s start/stop  c go on  t tap  m mute all  1-9 or ↑↓ x mute one  l lock  q quit"
_BESIDE_ROSTER = 7
"""Lines of the picture that are no member's."""
_SIGNS = {"ready": "●", "lost": "○", "disconnected": "○"}


@dataclass(slots=True)
class Board:
    """A room as it looks now. Times in seconds of the reader's monotonic clock."""

    room: str
    code: str
    connected: bool = False
    info: RoomInfo | None = None
    beat: Beat | None = None
    beat_s: float = 0.0
    tempo: Tempo | None = None
    members: dict[Subject, Member] = field(default_factory=dict[Subject, Member])
    notes: dict[Subject, deque[float]] = field(default_factory=dict[Subject, deque[float]])
    limits: dict[Subject, tuple[float, LimitReport]] = field(default_factory=dict[Subject, tuple[float, LimitReport]])
    said: str = ""
    asked: tuple[str, float] | None = None
    """The command that was sent last and not answered yet, and when."""
    marked: Subject | None = None
    """The member that the arrow keys have been moved to."""

    def ask(self, cmd: str, now_s: float) -> None:
        """Note that a command was sent."""
        self.said, self.asked = f"{cmd} …", (cmd, now_s)

    def lose(self) -> None:
        """Note that the connection is gone: who leaves meanwhile is never told of, and who is there is told of anew."""
        self.members.clear()
        self.marked = None

    def hear(self, incoming: Incoming, now_s: float) -> None:
        """Take a message in."""
        sub, message = incoming.topic.subject, incoming.message
        match message:
            case Beat() if self.beat is None or (message.rev, message.n) > (self.beat.rev, self.beat.n):
                self.beat, self.beat_s = message, now_s
            case Tempo() if self.tempo is None or message.rev >= self.tempo.rev:
                self.tempo = message
            case RoomInfo() if self.info is None or message.rev >= self.info.rev:
                self.info = message
            case Member() if sub is not None:
                self.members[sub] = message
            case Note() if sub is not None and message.on is not None:
                self.notes.setdefault(sub, deque(maxlen=200)).append(now_s)
            case LimitReport() if sub is not None:
                self.limits[sub] = (now_s, message)
            case Reply():
                self.asked = None
                self.said = f"changed: code is {message.code}" if message.code else "done"
                if not message.ok:
                    self.said = message.text or message.err or "refused"
            case None if incoming.topic.leaf is Leaf.MEMBER and sub is not None:
                self.members.pop(sub, None)
                self.marked = None if self.marked == sub else self.marked
            case _:
                pass

    def playing(self, now_s: float) -> bool:
        """Whether the beat is going: the next one is not overdue."""
        return self.beat is not None and self.beat.d > 0 and now_s - self.beat_s < self.beat.d / 1e6 + 1.0

    def is_muted(self, sub: Subject) -> bool:
        """Whether one member is muted, alone or with all."""
        return self.info is not None and (self.info.all_muted or sub in self.info.muted)

    def worst_err_ms(self) -> float | None:
        """By how much the worst clock in the room may be off; None while nobody has told."""
        told = (m.err for m in self.members.values() if m.state == "ready" and m.err is not None)
        return max(told, default=None)

    def nth(self, number: int) -> Subject | None:
        """The member on line ``number``, from 1."""
        lines = self._lines()
        return lines[number - 1] if 1 <= number <= len(lines) else None

    def mark(self, by: int) -> None:
        """Move the mark by so many lines; from outside, onto the first or last."""
        lines = self._lines()
        if not lines:
            return
        outside = 0 if by > 0 else len(lines) - 1
        at = outside if self.marked is None else lines.index(self.marked) + by
        self.marked = lines[min(max(at, 0), len(lines) - 1)]

    def _lines(self) -> list[Subject]:
        return sorted(self.members, key=lambda sub: (self.members[sub].since, sub))

    def render(self, now_s: float, height: int | None = None) -> RenderableType:
        """The picture, in ``height`` lines where that is given: then those members are in it that are near the mark."""
        said = self.said
        if self.asked is not None and now_s - self.asked[1] > ANSWER_WITHIN_S:
            said = f"no answer to {self.asked[0]}: the service may be starting; try again"
        keys = Text(KEYS, style="dim", no_wrap=True, overflow="ellipsis")
        lines = self._lines()
        fit = len(lines) if height is None else max(1, height - _BESIDE_ROSTER)
        at = 0 if self.marked is None else lines.index(self.marked)
        first = max(0, min(at - fit // 2, len(lines) - fit))
        last = min(first + fit, len(lines))
        more = f"{first + 1} to {last} of {len(lines)}: ↑↓" if last - first < len(lines) else ""
        roster = self._roster(now_s, first, last)
        return Group(self._head(now_s), Text(said, no_wrap=True), keys, Text(), roster, Text(more, style="dim"))

    def _head(self, now_s: float) -> Text:
        head = Text()
        name = self.info.name if self.info else self.room
        state = self.info.state if self.info else "…"
        head.append(f"{name}  ", style="bold")
        head.append(f"code {self.code}  {state}")
        worst_ms = self.worst_err_ms()
        head.append("" if worst_ms is None else f"  clocks within {worst_ms:.1f} ms")
        if self.info is not None and self.info.closing_t is not None:
            head.append(f"  closes at {clock_text(self.info.closing_t)} unless somebody comes", style="yellow")
        head.append("" if self.connected else "  (no connection: trying)", style="red")
        head.append("\n")
        if self.beat is None or not self.playing(now_s):
            head.append("standing still" + self._at_rest())
            return head
        beats = "  ".join("■" if pos == self.beat.pos else "·" for pos in range(1, max(self.beat.pos, 4) + 1))
        head.append(f"bar {self.beat.bar:3}  beat {self.beat.pos}  {beats}  {self.beat.bpm:g} bpm")
        return head

    def _at_rest(self) -> str:
        """The tempo and meter in which the room would go on: what was tapped, or set, while it stands still."""
        if self.tempo is None or self.tempo.seg[-1].uq or not self.tempo.seg[-1].uq1:
            return ""
        meter = self.tempo.met[-1]
        return f", {bpm_from_uq(self.tempo.seg[-1].uq1, meter.q):g} bpm, {meter.num}/{meter.den}"

    def _roster(self, now_s: float, first: int, last: int) -> Table:
        """The members from number ``first`` on, from 0, up to ``last``, a line each however narrow it gets."""
        table = Table(box=None, pad_edge=False)
        for column in ("#", "", "name", "kind", "plays", "since", "± ms", "notes/s", ""):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for number, sub in list(enumerate(self._lines(), start=1))[first:last]:
            member = self.members[sub]
            played = self.notes.get(sub, deque())
            while played and now_s - played[0] > RECENT_S:
                played.popleft()
            limited = self.limits.get(sub)
            over = limited[1] if limited is not None and now_s - limited[0] < _SHOW_LIMIT_S else None
            words = [
                "muted" if self.is_muted(sub) else "" if member.state == "ready" else member.state,
                f"{over.dropped} dropped: {over.why}" if over else "",
            ]
            table.add_row(
                str(number),
                _SIGNS[member.state],
                member.name,
                member.kind,
                member.instrument or "",
                clock_text(member.since),
                "" if member.err is None else f"{member.err:.1f}",
                f"{len(played) / RECENT_S:.1f}" if played else "",
                ", ".join(word for word in words if word),
                style="reverse" if sub == self.marked else None,
            )
        if not self.members:
            table.add_row("", "", "nobody is here")
        return table
