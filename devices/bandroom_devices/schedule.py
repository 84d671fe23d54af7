"""The beats that are still to come on this device. Pure: time is an argument.

The schedule is computed from the tempo map, so a late, lost or doubled ``beat`` message changes nothing here.
"""

from __future__ import annotations

from bandroom.music.tempo_map import Beat, TempoMap

LATE_US = 100_000
"""A beat later than this, or than half its interval, is skipped: played late it would only disturb."""


class BeatSchedule:
    """Hands out each beat once, in order, whatever happens to the map meanwhile."""

    def __init__(self) -> None:
        self._map: TempoMap | None = None
        self._last: Beat | None = None
        self._after_us: int | None = None

    def replace(self, tempo_map: TempoMap) -> None:
        """Follow another map from now on."""
        self._map = tempo_map

    def upcoming(self, now_us: int) -> Beat | None:
        """The next beat to hand out, which may be due already; None while the map stands still or is unknown."""
        if self._map is None:
            return None
        if self._after_us is None:
            self._after_us = now_us - 1
        beat = self._map.next_beat(self._after_us)
        while beat is not None and (self._is_too_late(beat, now_us) or self._was_handed_out(beat)):
            beat = self._map.next_beat(max(beat.t, now_us - LATE_US))
        return beat

    def hand_out(self, beat: Beat) -> None:
        """``beat`` has been played; the next one lies behind it."""
        self._last = beat
        self._after_us = beat.t

    @staticmethod
    def _is_too_late(beat: Beat, now_us: int) -> bool:
        return now_us - beat.t > min(LATE_US, beat.d // 2 if beat.d else LATE_US)

    def _was_handed_out(self, beat: Beat) -> bool:
        # A map that came late can move a beat that has been played already to a little after that.
        last = self._last
        return last is not None and beat.n == last.n and beat.t - last.t < (last.d or 2 * LATE_US) // 2
