"""Meters: what a bar holds, and what is counted in it."""

import re
from dataclasses import dataclass, field
from typing import Self

from bandroom.music.units import PPQ, WHOLE_TICKS

_DENOMINATORS = (1, 2, 4, 8, 16, 32)
_MAX_NUM = 64
_TEXT = re.compile(r"(\d{1,2})/(\d{1,2})(?::(\d{1,2}(?:\+\d{1,2})*))?(?:@(\d{1,2})(\.?))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Meter:
    """`num`/`den`, counted in beats of `q` ticks, with the bar's groups `grp` in units of 1/`den`, if it has any.

    `num` 1..64; `den` one of 1, 2, 4, 8, 16, 32; `q` divides the bar; the groups add up to `num` and begin on
    counted beats. Raises ValueError for anything else.
    """

    num: int
    den: int
    q: int
    grp: tuple[int, ...] | None = None
    beats_per_bar: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.den not in _DENOMINATORS:
            raise ValueError(f"meter {self.num}/{self.den}: the lower number must be one of {_DENOMINATORS}")
        if not 1 <= self.num <= _MAX_NUM:
            raise ValueError(f"meter {self.num}/{self.den}: the upper number must be from 1 to {_MAX_NUM}")
        unit = WHOLE_TICKS // self.den
        if self.q not in (
            unit,
            unit * 3 // 2,
            *(WHOLE_TICKS // d for d in _DENOMINATORS),
            *(WHOLE_TICKS // d * 3 // 2 for d in _DENOMINATORS),
        ):
            raise ValueError(f"meter {self.num}/{self.den}: a counted beat of {self.q} ticks is no note value")
        if self.num * unit % self.q:
            raise ValueError(
                f"meter {self.num}/{self.den}: a bar of {self.num * unit} ticks is no whole number "
                f"of beats of {self.q} ticks"
            )
        if self.grp is not None:
            if not self.grp or min(self.grp) < 1 or sum(self.grp) != self.num:
                raise ValueError(f"meter {self.num}/{self.den}: the groups {list(self.grp)} must add up to {self.num}")
            if any(g * unit % self.q for g in self.grp):
                raise ValueError(
                    f"meter {self.num}/{self.den}: the groups {list(self.grp)} must begin on "
                    f"counted beats ({self.q} ticks)"
                )
        object.__setattr__(self, "beats_per_bar", self.num * unit // self.q)

    @classmethod
    def of(cls, num: int, den: int, grp: tuple[int, ...] | None = None, q: int | None = None) -> Self:
        """A meter with what is usually counted: dotted quarters in 6/8, 9/8 and 12/8, else 1/`den`."""
        if q is None:
            compound = den == 8 and num in (6, 9, 12)
            q = PPQ * 3 // 2 if compound else WHOLE_TICKS // den if den in _DENOMINATORS else 0
        return cls(num, den, q, grp)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`4/4`, `6/8` (two dotted quarters), `6/8@8` (six eighths), `7/8:2+2+3`, `3/2@4`, `12/16@8.` (dotted)."""
        m = _TEXT.fullmatch(text)
        if m is None:
            raise ValueError(f"meter {text[:40]!r}: write it like 4/4, 6/8, 7/8:2+2+3, or 6/8@8 to count eighths")
        num, den = int(m[1]), int(m[2])
        q = None
        if m[4]:
            if int(m[4]) not in _DENOMINATORS:
                raise ValueError(f"meter {text!r}: the counted note after @ must be one of {_DENOMINATORS}")
            q = WHOLE_TICKS // int(m[4])
            q = q * 3 // 2 if m[5] else q
        return cls.of(num, den, tuple(int(g) for g in m[3].split("+")) if m[3] else None, q)

    def __str__(self) -> str:
        text = f"{self.num}/{self.den}"
        if self.grp:
            text += ":" + "+".join(map(str, self.grp))
        if self.q != Meter.of(self.num, self.den).q:
            plain = WHOLE_TICKS % self.q == 0
            text += f"@{WHOLE_TICKS // self.q}" if plain else f"@{WHOLE_TICKS * 3 // 2 // self.q}."
        return text

    @property
    def bar_ticks(self) -> int:
        """Ticks a bar."""
        return self.beats_per_bar * self.q

    def accent(self, pos: int) -> int:
        """How strongly counted beat `pos` (from 1) is struck: 2 the downbeat, 1 a group's first beat, else 0."""
        if pos == 1:
            return 2
        ticks = (pos - 1) * self.q * self.den // WHOLE_TICKS
        start = 0
        for g in self.grp or ():
            if start == ticks:
                return 1
            start += g
        return 0
