"""The tempo map between its wire form and its value."""

from __future__ import annotations

from bandroom.music.meter import Meter
from bandroom.music.tempo_map import MeterChange, Segment, TempoMap
from bandroom.wire import messages as m


def to_message(tempo_map: TempoMap) -> m.Tempo:
    """The message that carries ``tempo_map``."""
    return m.Tempo(
        rev=tempo_map.rev,
        seg=tuple(m.Segment(k=s.k, t=s.t, uq=s.uq, uq1=s.uq1, len=s.len, ramp=s.ramp) for s in tempo_map.seg),
        met=tuple(
            m.MeterChange(
                n=c.n,
                k=c.k,
                bar=c.bar,
                num=c.meter.num,
                den=c.meter.den,  # pyright: ignore[reportArgumentType]  (Meter allows the same six)
                q=c.meter.q,
                grp=c.meter.grp,
            )
            for c in tempo_map.met
        ),
    )


def from_message(message: m.Tempo) -> TempoMap:
    """The map that ``message`` carries. Raises ``BadMessage`` where its parts do not fit together."""
    try:
        return TempoMap(
            message.rev,
            tuple(Segment(s.k, s.t, s.uq, s.uq1, s.len, s.ramp) for s in message.seg),
            tuple(MeterChange(c.n, c.k, c.bar, Meter(c.num, c.den, c.q, c.grp)) for c in message.met),
        )
    except ValueError as error:
        raise m.BadMessage(f"tempo map: {error}") from None
