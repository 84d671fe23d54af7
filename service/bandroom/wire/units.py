"""Numbers and texts that several payloads share, with their ranges."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Micros = Annotated[int, Field(ge=0, lt=2**53)]
"""Server time or a span, in microseconds; below 2^53, so that JavaScript holds it exactly."""

BeatNumber = Annotated[int, Field(ge=-(10**9), le=10**9)]
"""0 is the first beat after start; the count-in is below 0."""

Ticks = Annotated[int, Field(gt=-(2**50), lt=2**50)]
"""A musical position or length, 960 a quarter note."""

MicrosPerQuarter = Annotated[int, Field(ge=0, le=60_000_000)]
"""Tempo as a quarter note's length in microseconds; 0 = standing still."""

Bpm = Annotated[float, Field(ge=20, le=400, strict=False)]
"""Counted beats a minute."""

Rev = Annotated[int, Field(ge=0, lt=2**53)]
"""Rises with every change of what a retained topic tells."""

_INVISIBLE = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff"
Name = Annotated[str, Field(min_length=1, max_length=40, pattern=f"^[^{_INVISIBLE}]+$")]
"""A name for people: no control characters, no invisible or direction-changing ones."""

MidiNote = Annotated[int, Field(ge=0, le=127)]
