"""A lean crowd: thousands of MQTT clients on one epoll loop, to hear beats without being the bottleneck.

Raw sockets and the few packets needed; one receive, one clock reading and a dozen bytecodes a message. It runs as a
process of its own (`Crowd` starts it) and is told what to do in JSON lines:

    in   {"address": [host, port] | path, "offset_us": …, "logins": [[client_id, username, password, [filter, …],
          note_topic | null], …], "notes_hz": 0, "timed": true}
    out  {"ready": connected, "refused": …}
    in   "begin" forgets what was counted so far; "mark" answers with the counts and forgets; "end" answers and leaves
    out  {"messages": …, "octets": …, "late_us": [...], "note_us": [...], "cpu_s": …, "seconds": …, "connected": …}

A `note_topic` that ends in `/q` gets clock pings, and `note_us` holds their round trips. Lateness is the server time at
which the message was read minus its own `t`, in µs.
"""

import json
import os
import random
import resource
import select
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from pathlib import Path
from typing import Any

from bandroom.mqtt import packets

TREE = Path(__file__).parents[1]
_BATCH = 512
_AT_THE_DOOR = 64


@dataclass(frozen=True, slots=True)
class Login:
    """One client: its credential, what it listens to, and where it plays (if it plays)."""

    client_id: str
    username: str
    password: str
    filters: tuple[str, ...]
    note_topic: str | None = None


class _Counts:
    def __init__(self) -> None:
        self.late = array("q")
        self.notes = array("q")
        self.messages = 0
        self.octets = 0
        self.began_s = time.monotonic()
        self.cpu_s = time.process_time()


class Loop:
    """All clients of the process."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._offset_us = int(spec["offset_us"])
        self._timed = bool(spec.get("timed", True))
        self._hz = float(spec.get("notes_hz", 0))
        self._epoll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        self._into: dict[int, Callable[[bytearray], int]] = {}
        self._scratch = bytearray(65_536)
        self._counts = _Counts()
        self._acks = self._refused = 0
        self._plays: list[tuple[float, int, bytes]] = []
        self._open(spec)

    def _now_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 + self._offset_us

    def _open(self, spec: dict[str, Any]) -> None:
        address = spec["address"]
        rng = random.Random(1)
        for client_id, username, password, filters, note_topic in spec["logins"]:
            sock = socket.socket(socket.AF_UNIX) if isinstance(address, str) else socket.socket()
            sock.connect(address if isinstance(address, str) else tuple(address))
            if not isinstance(address, str):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(
                packets.connect(client_id, username, password, keepalive_s=3600)
                + packets.subscribe(1, [(name, 0) for name in filters])
            )
            sock.setblocking(False)
            fd = sock.fileno()
            self._socks[fd] = sock
            self._rest[fd] = b""
            self._into[fd] = sock.recv_into
            self._epoll.register(fd, select.EPOLLIN)
            if note_topic and self._hz:
                self._plays.append((time.monotonic() + 3 + rng.random() / self._hz, fd, packets.string(note_topic)))
            self._poll(0)
            # Not more at a time than wait at the broker's door: who finds it full tries again after a second.
            waits_s = time.monotonic() + 5
            while len(self._socks) - self._acks - self._refused > _AT_THE_DOOR and time.monotonic() < waits_s:
                self._poll(0.01)
        heapify(self._plays)
        deadline = time.monotonic() + 60
        while self._acks + self._refused < len(self._socks) and time.monotonic() < deadline:
            self._poll(0.1)

    def run(self) -> dict[str, Any]:
        _tell({"ready": self._acks, "refused": self._refused})
        stdin = sys.stdin.fileno()
        os.set_blocking(stdin, False)
        self._epoll.register(stdin, select.EPOLLIN)
        while True:
            timeout = self._do_due()
            if self._poll(timeout, stdin):
                word = os.read(stdin, 64)
                if b"end" in word or not word:
                    return self._result()
                if b"mark" in word:
                    _tell(self._result())
                self._counts = _Counts()

    def _do_due(self) -> float:
        """Do what is due now; seconds until the next."""
        if not self._plays:
            return 1.0
        if (left_s := self._plays[0][0] - time.monotonic()) > 0:
            return left_s
        self._play()
        return 0.0

    def _writable(self, fd: int) -> None:
        """Nobody here waits for that."""
        raise NotImplementedError(fd)

    def _lost(self, fd: int) -> None:
        """The broker has closed this connection."""
        self._epoll.unregister(fd)
        self._socks.pop(fd).close()

    def _result(self) -> dict[str, Any]:
        counts = self._counts
        return {
            "messages": counts.messages,
            "octets": counts.octets,
            "late_us": counts.late.tolist(),
            "note_us": counts.notes.tolist(),
            "cpu_s": time.process_time() - counts.cpu_s,
            "seconds": time.monotonic() - counts.began_s,
            "connected": len(self._socks),
            "rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }

    def _play(self) -> None:
        due, fd, topic = self._plays[0]
        if fd in self._socks:
            now_us = self._now_us()
            said = b"%08d 00 %016d" % (now_us % 10**8, 0) if topic.endswith(b"/q") else b'{"t":%d,"on":60}' % now_us
            self._socks[fd].send(packets.publish(topic, said))
        heapreplace(self._plays, (due + 1 / self._hz, fd, topic))

    def _poll(self, timeout: float, stdin: int = -1) -> bool:
        if not self._timed and self._acks + self._refused >= len(self._socks):
            return self._count(timeout, stdin)
        told = False
        socks, now_us = self._socks, self._now_us
        for fd, event in self._epoll.poll(timeout, _BATCH):
            if fd == stdin:
                told = True
                continue
            if event & select.EPOLLOUT:
                self._writable(fd)
                continue
            try:
                data = socks[fd].recv(65_536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._lost(fd)
                continue
            self._take(fd, data, now_us())
        return told

    def _count(self, timeout: float, stdin: int) -> bool:
        """The same with nothing looked at: what is received is counted in octets, and that is all."""
        told, octets, scratch, into = False, 0, self._scratch, self._into
        for fd, _ in self._epoll.poll(timeout, _BATCH):
            if fd == stdin:
                told = True
                continue
            try:
                got = into[fd](scratch)
            except BlockingIOError:
                continue
            except OSError:
                got = 0
            octets += got
            if not got:
                self._lost(fd)
        self._counts.octets += octets
        return told

    def _take(self, fd: int, data: bytes, now_us: int) -> None:
        rest = self._rest
        if rest[fd]:
            data = rest[fd] + data
        at, size, counts = 0, len(data), self._counts
        while size - at >= 2:
            length, head = data[at + 1], 2
            if length & 0x80:
                if size - at < 3:
                    break
                length, head = length & 0x7F | data[at + 2] << 7, 3
            end = at + head + length
            if end > size:
                break
            kind = data[at] >> 4
            if kind == 3:
                counts.messages += 1
                where = data.find(b'"t":', at, end)
                if where < 0 and data.find(b"/clock/", at, end) > 0:
                    counts.notes.append((now_us - int(data[end - 28 : end - 20])) % 10**8)
                elif where > 0:
                    late = now_us - int(data[where + 4 : where + 20])
                    (counts.notes if data.find(b"/note/", at, at + 90) > 0 else counts.late).append(late)
            elif kind == 9:
                self._acks += 1
                self._refused += max(data[at + 4 : end]) >= 0x80
                self._acks -= max(data[at + 4 : end]) >= 0x80
            elif kind == 2 and data[at + 3]:
                self._refused += 1
            at = end
        rest[fd] = data[at:]


class Crowd:
    """The crowd's process, seen from a bench."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        offset_us: int,
        logins: Sequence[Login],
        *,
        notes_hz: float = 0.0,
        timed: bool = True,
        program: str = "bench.load",
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", program], cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        rows = [[x.client_id, x.username, x.password, list(x.filters), x.note_topic] for x in logins]
        self._say(
            json.dumps(
                {"address": address, "offset_us": offset_us, "logins": rows, "notes_hz": notes_hz, "timed": timed}
            )
        )
        told = self._hear()
        if told["ready"] != len(logins):
            self.kill()
            raise RuntimeError(f"of {len(logins)} clients only {told['ready']} got in ({told['refused']} refused)")

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self) -> None:
        """Count from now on."""
        self._say("begin")

    def mark(self) -> dict[str, Any]:
        """What was counted since the last time; count anew."""
        self._say("mark")
        return self._hear()

    def end(self) -> dict[str, Any]:
        """What was counted; the crowd leaves."""
        self._say("end")
        result = self._hear()
        self.kill()
        return result

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the crowd's process ended")
        return json.loads(line)


def _tell(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def serve(loop: type[Loop]) -> None:
    """Be the process that a `Crowd` has started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 20)), hard))
    _tell(loop(json.loads(sys.stdin.readline())).run())


def main() -> None:
    serve(Loop)


if __name__ == "__main__":
    main()
