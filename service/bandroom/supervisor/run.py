"""`bandroom up`: prepare the data folder, start all parts, keep them running, end them in order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from bandroom.paths import Home
from bandroom.runstate import HttpAddress, Pids, RunInfo
from bandroom.settings import Settings
from bandroom.supervisor import broker, lock, logs, notify, pulse
from bandroom.supervisor.certificate import CertificateKeeper
from bandroom.supervisor.child import Child
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.part import Part, Spec, WarmPool
from bandroom.supervisor.plan import Plan, prepare

# -P: a file of the user's in the working directory must not shadow a module.
_PYTHON = (sys.executable, "-P")
_STARTED_WITHIN_S = 90.0
_WORKER_HUNG_S = 4.0
_SERVICE_HUNG_S = 10.0
_CHORE_AGAIN_S = 60.0
_LOOK_FOR_BACKUP_S = 0.25

Say = Callable[[str], None]
Chore = Callable[[], Coroutine[Any, Any, None]]


class Supervisor:
    """The parts of one installation, started by ``run``."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._stop = asyncio.Event()
        self._had_terminal = _has_terminal()
        self._hang_up_due = False
        home = plan.home
        self._keeper = CertificateKeeper(home, plan.tls.files) if plan.tls else None
        self._pool = WarmPool(_PYTHON, "bandroom.beats.worker", home.root, home.log_of("tempo-spare"))
        argv = plan.broker_argv
        self._broker = Part(self._broker_spec(argv), say, self._changed) if argv else None
        self._service = Part(self._service_spec(), say, self._changed)
        self._workers = [Part(self._worker_spec(i), say, self._changed) for i in range(plan.state.tempo_workers)]

    @property
    def _parts(self) -> list[Part]:
        return [*self._first_parts, *self._workers]

    @property
    def _first_parts(self) -> list[Part]:
        return [self._broker, self._service] if self._broker else [self._service]

    def request_stop(self) -> None:
        """Begin the end; asked a second time, end everything by force."""
        if self._stop.is_set():
            self._say("Ending at once.")
            for part in self._parts:
                part.kill()
        self._stop.set()

    def hang_up(self) -> None:
        """SIGHUP: keys and certificate are read again; or, if our terminal was closed, end."""
        if self._had_terminal and not _has_terminal():
            self.request_stop()
            return
        if self._keeper is not None:
            self._keeper.look_now()
        self._hang_up_broker()

    def _hang_up_broker(self) -> None:
        """Have the broker read its keys and its certificate again, as soon as it can hear it."""
        if self._broker is None:  # it runs elsewhere, and its own start script looks for new files
            return
        self._hang_up_due = not self._broker.up
        if self._broker.up and self._broker.child is not None:
            self._broker.child.signal(signal.SIGHUP)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call ``on_ready``, and return when all has ended after ``request_stop``.

        Raises ``StartError`` or ``OSError`` if a part cannot be started; everything else has been ended then.
        """
        try:
            await self._run(on_ready)
        except* (StartError, OSError) as errors:
            reason = errors.exceptions[0]
        else:
            return
        raise reason

    async def _run(self, on_ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            try:
                # Workers import while broker and service start, and go when there is something to read.
                self._pool.prepare(len(self._workers))
                if self._broker is None and not await self._external_broker():
                    return
                for stage in (self._first_parts, self._workers):
                    for part in stage:
                        group.create_task(part.keep_running(), name=part.spec.name)
                    if not await self._all_up(stage):
                        return
                self._pool.prepare()
                chores = [group.create_task(self._keep_doing(chore)) for chore in self._chores()]
                on_ready()
                notify.tell("READY=1", f"STATUS=at {self._plan.state.public_url}")
                try:
                    await self._until_the_end()
                finally:
                    for chore in chores:
                        chore.cancel()
            finally:
                notify.tell("STOPPING=1")
                await self._end()

    async def _until_the_end(self) -> None:
        """Wait to be asked to stop. Raises ``StartError`` when a part cannot be brought back."""
        stop = asyncio.ensure_future(self._stop.wait())
        lost = [part.lost for part in self._parts]
        try:
            await asyncio.wait({stop, *lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        for error in lost:
            if error.done() and not self._stop.is_set():
                raise error.result()

    def _chores(self) -> Iterator[Chore]:
        """What is to be done beside keeping the parts running."""
        yield self._keep_logs_short
        home, part, tls, keeper = self._plan.home, self._broker, self._plan.tls, self._keeper
        if part is not None:
            yield lambda: pulse.watch(home, lambda: part.pid if part.up else 0, lambda: part.replace("does not answer"))
        yield self._put_backups_back
        if keeper is not None and tls is not None:
            yield lambda: keeper.watch(tls.address.name, self._hang_up_broker, self._say)
        if (every_s := notify.watchdog_s()) is not None:
            yield lambda: _feed_watchdog(every_s)

    async def _keep_doing(self, chore: Chore) -> None:
        """A chore that fails is said and begun anew: it must not take the parts along."""
        while True:
            try:
                await chore()
            except Exception as error:
                self._say(f"a chore of the supervisor failed, and will be tried again: {error!r}")
                await asyncio.sleep(_CHORE_AGAIN_S)

    async def _keep_logs_short(self) -> None:
        while True:
            await asyncio.sleep(logs.LOOK_EVERY_S)
            for trouble in await asyncio.to_thread(lambda: list(logs.rotate_all(self._plan.home.logs))):
                self._say(trouble)

    async def _put_backups_back(self) -> None:
        """Replace the service where a backup waits for its start; then the broker, which holds old topics and keys."""
        pending = self._plan.home.pending_restore
        while True:
            await asyncio.sleep(_LOOK_FOR_BACKUP_S)
            if not pending.exists():
                continue
            self._say("A backup is put back: service and broker start anew.")
            while pending.exists():
                self._service.replace("has a backup to put back")
                await asyncio.sleep(_LOOK_FOR_BACKUP_S)
            if self._broker is not None:
                self._broker.replace("holds what was before the backup")

    async def _external_broker(self) -> bool:
        """Wait for a broker that somebody else starts; False if the stop came first. Raises ``StartError``."""
        home, mqtt = self._plan.home, self._plan.state.mqtt
        stop = asyncio.ensure_future(self._stop.wait())
        ready = asyncio.ensure_future(broker.until_ready(home, mqtt))
        try:
            done, _ = await asyncio.wait({stop, ready}, timeout=_STARTED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            ready.cancel()
        if not done:
            raise StartError(f"no broker with the gate on {home.root} at {mqtt.host}:{mqtt.port}; is its container up?")
        return ready in done

    async def _all_up(self, parts: list[Part]) -> bool:
        """Wait until ``parts`` are ready; False if the stop came first. Raises ``StartError``."""
        stop = asyncio.ensure_future(self._stop.wait())
        waiting: set[asyncio.Future[Any]] = {part.first_up for part in parts}
        try:
            async with asyncio.timeout(_STARTED_WITHIN_S):
                while waiting:
                    done, _ = await asyncio.wait({*waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
                    if stop in done:
                        return False
                    for future in done:
                        future.result()
                    waiting -= done
        except TimeoutError:
            late = next(part for part in parts if not part.up)
            raise StartError(f"{late.spec.name} does not get ready; {late.spec.log} may say why") from None
        finally:
            stop.cancel()
        return True

    async def _end(self) -> None:
        """Workers, then the service, then the broker, so that each can still say good-bye to the next."""
        self._plan.home.run_json.unlink(missing_ok=True)
        await self._pool.stop()
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.stop())
        await self._service.stop()
        if self._broker is not None:
            await self._broker.stop()
            broker.forget_last_run(self._plan.home)

    def _changed(self) -> None:
        """A part is ready: renew run.json as soon as all of them are, and the spare worker."""
        if self._hang_up_due:
            self._hang_up_broker()
        if self._stop.is_set() or not all(part.up for part in self._parts):
            return
        state = self._plan.state
        pids = Pids(
            supervisor=os.getpid(),
            broker=self._broker.pid if self._broker else 0,
            service=self._service.pid,
            tempo=tuple(worker.pid for worker in self._workers),
        )
        try:
            http = HttpAddress(url=state.http_url)
            RunInfo(mqtt=state.mqtt, http=http, pids=pids, tls=state.tls).write(self._plan.home)
            self._pool.prepare()
        except OSError as error:  # a full disk, say: scripts see old process ids, and the music goes on
            self._say(f"run.json or the spare worker could not be renewed: {error}")

    def _broker_spec(self, argv: tuple[str, ...]) -> Spec:
        home, mqtt = self._plan.home, self._plan.state.mqtt
        return Spec(
            "broker",
            start=lambda: Child(argv, home.log_of("broker")),
            log=home.log_of("broker"),
            grace_s=3.0,
            before=lambda: broker.forget_last_run(home),
            until_ready=lambda _: broker.until_ready(home, mqtt),
        )

    def _service_spec(self) -> Spec:
        home, fds = self._plan.home, [self._plan.http.socket.fileno()]
        argv = [*_PYTHON, "-m", "bandroom.service_main", "--home", str(home.root), "--alive", "--http-fd", str(fds[0])]
        if self._plan.tls is not None:
            fds.append(self._plan.tls.https.socket.fileno())
            argv += ["--https-fd", str(fds[1])]
        log = home.log_of("service")
        return Spec(
            "service",
            start=lambda: Child(argv, log, pass_fds=fds),
            log=log,
            grace_s=8.0,
            hung_after_s=_SERVICE_HUNG_S,
        )

    def _worker_spec(self, index: int) -> Spec:
        home, count = self._plan.home, self._plan.state.tempo_workers
        argv = ("--home", str(home.root), "--index", str(index), "--count", str(count), "--alive")
        log = home.log_of(f"tempo-{index}")
        return Spec(
            f"tempo-{index}",
            start=lambda: self._pool.take(argv, log),
            log=log,
            grace_s=3.0,
            hung_after_s=_WORKER_HUNG_S,
        )


async def _feed_watchdog(every_s: float) -> None:
    while True:
        notify.tell("WATCHDOG=1")
        await asyncio.sleep(every_s)


def _has_terminal() -> bool:
    """Whether this process has a terminal; false once that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def up(settings: Settings, say: Say, on_ready: Callable[[Plan], None]) -> None:
    """Run everything in the foreground until SIGINT or SIGTERM. Raises ``StartError``, ``BadSettings``."""
    os.umask(0o077)  # whatever a part creates is this user's alone
    home = settings.home_dir
    held = -1
    try:
        home.create()
        held = lock.take(home)
        plan = prepare(settings, home)
        asyncio.run(_main(plan, say, on_ready))
    except OSError as error:
        raise cannot_write(home, error) from error
    finally:
        if held >= 0:
            os.close(held)


def cannot_write(home: Home, error: OSError) -> Exception:
    """What a failure in the data folder means, and what to do; other errors as they are."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "make room there, or name another folder with --home"
        case errno.EROFS:
            advice = "the disk is mounted read-only: see `dmesg` for why, or name another folder with --home"
        case errno.EIO:
            advice = "the disk fails: see `dmesg`"
        case errno.ENOTDIR | errno.EEXIST:
            advice = "something there is a file and no folder; name another with --home"
        case _:
            return error
    return StartError(f"the data folder {home.root} cannot be used: {error.strerror}; {advice}")


async def _main(plan: Plan, say: Say, on_ready: Callable[[Plan], None]) -> None:
    supervisor = Supervisor(plan, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.request_stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.hang_up)
    await supervisor.run(lambda: on_ready(plan))
