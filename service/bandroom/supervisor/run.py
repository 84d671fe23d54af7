"""`bandroom up`: prepare the data folder, start all parts, keep them running, end them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bandroom.clock import ensure_clock_file
from bandroom.paths import Home
from bandroom.runstate import HttpAddress, MqttAddress, Pids, RunInfo, RunState, http_url
from bandroom.settings import Settings
from bandroom.supervisor import broker, gate, lock
from bandroom.supervisor.child import Child
from bandroom.supervisor.errors import StartError
from bandroom.supervisor.part import Part, Spec, WarmPool
from bandroom.supervisor.ports import Reserved, lan_address, listen, reserve

# -P: a file of the user's in the working directory must not shadow a module.
_PYTHON = (sys.executable, "-P")
_LOOPBACK = "127.0.0.1"
_STARTED_WITHIN_S = 90.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before the first part starts."""

    home: Home
    state: RunState
    broker_argv: tuple[str, ...] | None
    """None: the broker runs elsewhere."""
    http: Reserved
    mqtt: Reserved | None
    """Held so that the port stays ours while the broker restarts."""
    notes: tuple[str, ...]
    """What the user should know: a port that is not the usual one."""


def prepare(settings: Settings, home: Home) -> Plan:
    """Make the folder ready (its lock must be held): keys, clock, gate, ports, configuration."""
    # Only here: keys need the server's dependencies, and a missing one should say so by its own name.
    from bandroom.auth.keys import BadKeys, ensure_keys

    lock.clear_leftovers(home)
    try:
        ensure_keys(home)
    except BadKeys as error:
        raise StartError(str(error)) from error
    ensure_clock_file(home.gate_clock)
    broker.ensure_gate_log(home)
    if settings.external_broker:
        argv, library = None, gate.external_gate()
    else:
        argv, library = (gate.find_broker(), "-c", str(home.broker_conf)), gate.find_gate(home)

    asked = settings.model_fields_set
    mqtt_host, http_host = settings.mqtt_host, settings.http_host
    if settings.lan:
        address = lan_address()
        mqtt_host = mqtt_host if "mqtt_host" in asked else address
        http_host = http_host if "http_host" in asked else address
    http = listen("the web", http_host, settings.http_port, asked_for="http_port" in asked)
    notes = _other_port("the web address", settings.http_port, http.port)
    mqtt = None
    mqtt_port = settings.mqtt_port
    if argv is not None:
        mqtt = reserve("MQTT", settings.mqtt_listen or mqtt_host, mqtt_port, asked_for="mqtt_port" in asked)
        notes += _other_port("MQTT", mqtt_port, mqtt.port)
        mqtt_port = mqtt.port
    elif mqtt_port == 0:
        raise StartError("with an external broker --mqtt-port must be the one that it listens on, not 0")
    public_url = settings.public_url or http_url(http.host, http.port)
    state = RunState(
        mqtt=MqttAddress(host=mqtt_host, port=mqtt_port),
        http_host=http.host,
        http_port=http.port,
        public_url=public_url,
        lan=settings.lan,
        tempo_workers=settings.tempo_workers,
        mqtt_public_host="" if argv else urlsplit(public_url).hostname or "",
    )
    state.write(home)
    listener = MqttAddress(host=settings.mqtt_listen or mqtt_host, port=mqtt_port)
    broker.write_conf(home, gate.broker_data() / "mosquitto.conf", library, listener)
    return Plan(home, state, argv, http, mqtt, notes)


def _other_port(what: str, wanted: int, got: int) -> tuple[str, ...]:
    """A note if ``wanted`` was taken."""
    if wanted in (0, got):
        return ()
    return (f"Port {wanted} is taken by another program; {what} is on {got} this time.",)


class Supervisor:
    """The parts of one installation, started by ``run``."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._stop = asyncio.Event()
        self._had_terminal = _has_terminal()
        home = plan.home
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
        """SIGHUP: pass it on to the broker, which reads its keys again; or, if our terminal was closed, end."""
        if self._had_terminal and not _has_terminal():
            self.request_stop()
        elif self._broker is not None and self._broker.child is not None:
            self._broker.child.signal(signal.SIGHUP)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call ``on_ready``, and return when all has ended after ``request_stop``.

        Raises ``StartError`` if a part cannot be started; everything else has been ended then.
        """
        try:
            await self._run(on_ready)
        except* StartError as errors:
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
                on_ready()
                await self._stop.wait()
            finally:
                await self._end()

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
            RunInfo(mqtt=state.mqtt, http=HttpAddress(url=state.http_url), pids=pids).write(self._plan.home)
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
        home, fd = self._plan.home, self._plan.http.socket.fileno()
        argv = (*_PYTHON, "-m", "bandroom.service_main", "--home", str(home.root), "--http-fd", str(fd))
        log = home.log_of("service")
        return Spec("service", start=lambda: Child(argv, log, pass_fds=(fd,)), log=log, grace_s=8.0)

    def _worker_spec(self, index: int) -> Spec:
        home, count = self._plan.home, self._plan.state.tempo_workers
        argv = ("--home", str(home.root), "--index", str(index), "--count", str(count))
        log = home.log_of(f"tempo-{index}")
        return Spec(f"tempo-{index}", start=lambda: self._pool.take(argv, log), log=log, grace_s=3.0)


def _has_terminal() -> bool:
    """Whether this process has a terminal; false once that was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def up(settings: Settings, say: Say, on_ready: Callable[[Plan], None]) -> None:
    """Run everything in the foreground until SIGINT or SIGTERM. Raises ``StartError``, ``InTheWay``."""
    os.umask(0o077)  # whatever a part creates is this user's alone
    home = settings.home_dir
    home.create()
    held = lock.take(home)
    try:
        plan = prepare(settings, home)
        asyncio.run(_main(plan, say, on_ready))
    finally:
        os.close(held)


async def _main(plan: Plan, say: Say, on_ready: Callable[[Plan], None]) -> None:
    supervisor = Supervisor(plan, say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.request_stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.hang_up)
    await supervisor.run(lambda: on_ready(plan))
