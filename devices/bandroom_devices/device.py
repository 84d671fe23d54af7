"""A device in a room: one context manager that joins, keeps time, follows the beat, plays and hears notes.

    async with Device.join("http://192.168.1.20:8080", "lincoln", "MUSIC-1234", nickname="Drum") as drum:
        async for beat in drum.beats():
            await drum.play(36 if beat.pos == 1 else 42, length_s=0.1)

Beats come from the device's own schedule: computed from the tempo map and the device's idea of server time, so a
late, lost or doubled message moves nothing.
"""

from __future__ import annotations

import asyncio
import ssl
import types
from collections.abc import AsyncIterator
from typing import Any, Self, cast

from bandroom.mqtt.endpoint import Endpoint, Tcp
from bandroom.music.lateness import late_us
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom.wire import messages as m
from bandroom.wire.ids import Role, RoomId, Subject, TenantId, UserName
from bandroom.wire.topics import Leaf

from bandroom_devices.core import Core
from bandroom_devices.hearing import HeardBeat, HeardMidi, HeardNote
from bandroom_devices.joining import JoinDesk
from bandroom_devices.line import Identity
from bandroom_devices.localclock import LocalClock, SystemClock, sleep_until
from bandroom_devices.pace import Pace


class Device:
    """One member of a room. Make it with ``join``, ``join_link`` or ``connect``, and use it in ``async with``.

    Leaving the block ends what still sounds, says goodbye and closes the connection. What the device
    cannot mend by itself (refused for good) ends the block with a ``DeviceError``.
    """

    def __init__(self, core: Core, *, early_us: int = 0) -> None:
        self._core = core
        self._pace = Pace(core, early_us)
        self._early_us = early_us
        self._playing: set[tuple[int, int]] = set()
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()

    # -- ways in

    @classmethod
    def join(
        cls,
        url: str,
        tenant: str,
        code: str,
        *,
        nickname: str | None = None,
        instrument: str | None = None,
        clock: LocalClock | None = None,
        early_us: int = 0,
        endpoint: Endpoint | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Device:
        """Join by a room's code, as a pupil does. ``url`` is the web address that ``bandroom up`` prints.

        ``instrument`` is what the roster shows that it plays: one of ``bandroom.wire.instruments``, as ``"drums"``.
        ``early_us`` is how much earlier this device must act for its sound to be in time (its own latency).
        ``endpoint`` is where the broker is, if not where the service says. ``tls`` says whom to trust where the
        certificate is from an authority of the school's own: ``ssl.create_default_context(cafile=…)``. Raises
        ``ValueError`` for a bad value.
        """
        desk = JoinDesk.of(url, tenant, code, nickname, tls=tls)
        core = Core(
            clock or SystemClock(), desk=desk, identity=None, endpoint=endpoint, room=None, instrument=instrument
        )
        return cls(core, early_us=early_us)

    @classmethod
    def join_link(
        cls,
        link: str,
        *,
        nickname: str | None = None,
        instrument: str | None = None,
        clock: LocalClock | None = None,
        early_us: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> Device:
        """Join by the link behind the QR code."""
        desk = JoinDesk.from_link(link, nickname, tls)
        core = Core(clock or SystemClock(), desk=desk, identity=None, endpoint=None, room=None, instrument=instrument)
        return cls(core, early_us=early_us)

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        username: str,
        password: str,
        *,
        room: str | None = None,
        instrument: str | None = None,
        clock: LocalClock | None = None,
        early_us: int = 0,
        endpoint: Endpoint | None = None,
    ) -> Device:
        """Connect with a credential: of ``bandroom devices enroll`` (the room is then the one that the device is
        assigned to), or a person's token (``room`` says which room). Raises ``ValueError`` for a bad value.
        """
        name = UserName.parse(username)
        if (room is None) != (name.subject.role is Role.DEVICE):
            raise ValueError(
                f"{username}: a device (d-…) is assigned to a room, so give none; anybody else needs room=…"
            )
        identity = Identity(name.tenant, name.subject, username, password)
        core = Core(
            clock or SystemClock(),
            desk=None,
            identity=identity,
            endpoint=endpoint or Tcp(host, port),
            room=None if room is None else RoomId.parse(room),
            instrument=instrument,
        )
        return cls(core, early_us=early_us)

    # -- who and where

    @property
    def subject(self) -> Subject:
        """Who this device is within its tenant."""
        return self._core.who.subject

    @property
    def tenant(self) -> TenantId:
        """The school."""
        return self._core.who.tenant

    @property
    def room(self) -> RoomId | None:
        """The room it is in; None for a device that is assigned to none."""
        return self._core.room

    @property
    def name(self) -> str:
        """What it is called on the roster; its subject, where the service gave no name."""
        return self._core.seat.name if self._core.seat else str(self.subject)

    @property
    def tempo_map(self) -> TempoMap | None:
        """The room's tempo map, once it is known."""
        return self._core.view.tempo_map

    @property
    def room_info(self) -> m.RoomInfo | None:
        """The room's name, state and mutes, once they are known."""
        return self._core.view.info

    @property
    def members(self) -> dict[Subject, m.Member]:
        """Who is in the room, as of now."""
        return dict(self._core.view.members)

    @property
    def feedback_ms(self) -> float | None:
        """How late (positive) or early this device's last note was, in ms: see ``bandroom.music.lateness``.

        None before it has played, and while the room stands still.
        """
        return self._core.feedback_ms

    @property
    def is_over(self) -> bool:
        """Whether the room has been closed."""
        return self._core.view.is_closed

    @property
    def connected(self) -> bool:
        """Whether a note played now would be sent."""
        return self._core.line is not None and self._core.line.connected

    # -- time

    @property
    def is_synced(self) -> bool:
        """Whether server time is known."""
        return self._core.time.synced

    def now_us(self) -> int:
        """Server time now, in µs. Raises ``RuntimeError`` before the clock is set: see ``synced``."""
        return self._core.time.at(self._core.clock.now_us())

    @property
    def error_us(self) -> int | None:
        """Server time is known to within this many µs (an unequal way there and back aside); None if not at all."""
        return round(self._core.time.bound_us(self._core.clock.now_us())) if self.is_synced else None

    async def synced(self) -> int:
        """Wait until the device's clock is set; the error bound then, in µs."""
        while not self._core.time.synced:
            following = self._core.changes.following
            if self._core.time.synced:
                break
            await following.wait()
        return self.error_us or 0

    async def sleep_until(self, server_us: int) -> None:
        """Return at ``server_us`` server time (early by ``early_us``), never sooner."""
        await self.synced()
        await self._pace.sleep_until(server_us)

    async def beats(self) -> AsyncIterator[Beat]:
        """Each beat of the room at its time, as long as the device is in the room; waits while the room stands still.

        Ends when the room is closed. A beat that comes far too late (the machine slept) is left out.
        """
        await self.synced()
        async for beat in self._pace.beats():
            yield beat

    async def reach_position(self, k: float) -> int | None:
        """Wait until the music is at ``k`` ticks (960 a quarter, 0 at the first beat); the server time of that.

        Returns None instead when the tempo map changed meanwhile, or the position lies behind: look again then.
        """
        await self.synced()
        return await self._pace.reach_position(k)

    async def changed(self) -> None:
        """Wait until something about the room changes: its tempo map, its state, who is in."""
        await self._core.changes.following.wait()

    # -- playing and hearing

    async def play(
        self,
        *notes: int,
        velocity: int = 96,
        channel: int = 0,
        t_us: int | None = None,
        length_s: float | None = None,
    ) -> bool:
        """Begin ``notes`` (MIDI numbers) now, and end them after ``length_s`` if given.

        ``t_us`` is the server time at which they are meant to sound, now where missing. False while there
        is no connection: a note that would come late is not kept. Raises ``ValueError`` for notes outside 0 to 127.
        """
        if not notes:
            return True
        on = notes[0] if len(notes) == 1 else notes
        t_us = self._stamp(t_us)
        if t_us is not None and self.tempo_map is not None:
            late = late_us(self.tempo_map, t_us)
            self._core.feedback_ms = None if late is None else late / 1000
        sent = await self._send_note(m.Note(t=t_us, on=on, v=velocity, ch=channel))
        self._playing.update((channel, note) for note in notes)
        if length_s is not None:
            ending = self._group.create_task(self._end_after(notes, channel, length_s))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
        return sent

    async def release(self, *notes: int, channel: int = 0, t_us: int | None = None) -> bool:
        """End ``notes``; False while there is no connection (hearers end them by themselves, later)."""
        if not notes:
            return True
        self._playing.difference_update((channel, note) for note in notes)
        return await self._send_note(
            m.Note(t=self._stamp(t_us), off=notes[0] if len(notes) == 1 else notes, v=96, ch=channel)
        )

    async def send_midi(self, data: bytes) -> bool:
        """Send one raw MIDI channel message of 2 or 3 bytes. Raises ``BadMessage`` (a ``ValueError``)."""
        message = m.Midi(data)
        return await self._core.publish_in_room(lambda room: room.midi(self.subject), message)

    async def start_hearing(self) -> None:
        """Have notes and MIDI sent to this device from now on (``hear`` does so when it is first used)."""
        await self._core.hear(Leaf.NOTE, Leaf.MIDI)

    async def hear(self, *, own: bool = False) -> AsyncIterator[HeardNote]:
        """Every note that begins or ends in the room, the device's own only where asked for.

        A note that nobody ends is ended here: after 30 s, when its player leaves or is muted.
        """
        with self._core.notes.reading() as queue:
            await self.start_hearing()
            while True:
                heard = await queue.get()
                if own or heard.player != self.subject:
                    yield heard

    async def hear_midi(self) -> AsyncIterator[HeardMidi]:
        """Every raw MIDI message of the others, notes and all else."""
        with self._core.midi.reading() as queue:
            await self._core.hear(Leaf.MIDI)
            while True:
                heard = await queue.get()
                if heard.player != self.subject:
                    yield heard

    async def beat_messages(self) -> AsyncIterator[HeardBeat]:
        """The ``beat`` messages as they come in. To play in time use ``beats``, which needs none of them."""
        with self._core.beats.reading() as queue:
            await self._core.hear(Leaf.BEAT)
            while True:
                yield await queue.get()

    def _stamp(self, t_us: int | None) -> int | None:
        if t_us is None and self._core.time.synced:
            return self.now_us() + self._early_us
        return t_us

    async def _end_after(self, notes: tuple[int, ...], channel: int, length_s: float) -> None:
        await sleep_until(self._core.clock, self._core.clock.now_us() + round(length_s * 1e6))
        await self.release(*notes, channel=channel)

    async def _send_note(self, note: m.Note) -> bool:
        return await self._core.publish_in_room(lambda room: room.note(self.subject), note)

    # -- in and out of the room

    async def renew(self) -> None:
        """Take a newer token now and move to a connection with it (this happens by itself in time).

        Raises ``DeviceError``; the device then stays as it is.
        """
        await self._core.renew()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            self._tasks = await self._core.enter(self._group)
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        for task in (*self._tasks, *self._endings):
            task.cancel()
        for channel, note in sorted(self._playing):
            await self.release(note, channel=channel)
        if self._core.line is not None:
            await self._core.line.close()
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        """Wait for all tasks. Raises what made them end, plain where it is one error alone."""
        self._core.abandon()
        try:
            await self._group.__aexit__(type(error) if error else None, error, None)
        except BaseExceptionGroup as group:
            alone = _sole(group)
            if alone is error:
                return
            if alone is not None:
                raise alone from None
            raise


def _sole(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one error in ``group``; None where there are several."""
    if len(group.exceptions) > 1:
        return None
    alone: Any = next(iter(group.exceptions))
    return _sole(cast("Any", alone)) if isinstance(alone, BaseExceptionGroup) else alone
