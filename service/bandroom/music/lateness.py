"""How late or early something was played, by the map that everybody has: nobody needs to be asked."""

from __future__ import annotations

from typing import Final

from bandroom.music.tempo_map import TempoMap

FAR_US: Final = 1_000_000
"""What lies further from all beats than this was not meant for any."""


def late_us(tempo_map: TempoMap, t_us: int) -> int | None:
    """By how many µs ``t_us`` is after (negative: before) the nearest beat or the middle between two.

    None where no beat is near: the room stands still.
    """
    before, after = tempo_map.beat_at_or_before(t_us), tempo_map.next_beat(t_us)
    near = [beat.t for beat in (before, after) if beat is not None]
    if before is not None and before.d:
        near.append(before.t + before.d // 2)
    late = min((t_us - each for each in near), key=abs, default=FAR_US)
    return late if abs(late) < FAR_US else None
