"""Addresses and ports: which to take, and keeping them while a part restarts."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from bandroom.supervisor.errors import InTheWay, StartError

_NEXT_TRIED = 10


@dataclass(slots=True)
class Reserved:
    """A port that is ours: bound, not listened on, so that the broker (which sets SO_REUSEADDR as well) can listen
    on it now and after a restart, while nobody else is given it as a free one."""

    socket: socket.socket
    host: str
    port: int


def _bound(host: str, port: int) -> socket.socket:
    """A TCP socket bound to the address. Raises ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _try(what: str, host: str, port: int, *, asked_for: bool) -> socket.socket:
    """A socket bound to ``port``, or, where nobody insisted on it, to one of the next or any free one."""
    candidates = [port] if asked_for else [*range(port, port + _NEXT_TRIED), 0]
    for candidate in candidates:
        try:
            return _bound(host, candidate)
        except OSError as error:
            match error.errno:
                case errno.EADDRINUSE:
                    continue
                case errno.EACCES:
                    raise StartError(
                        f"port {port} for {what} needs more rights; choose one above 1023, or 0 for any free one"
                    ) from error
                case errno.EADDRNOTAVAIL:
                    raise StartError(f"{host} for {what} is not an address of this machine") from error
                case _:
                    raise StartError(f"cannot listen on {host}:{port} for {what}: {error.strerror}") from error
    raise InTheWay(f"port {port} for {what} is taken by another program; choose another, or 0 for any free one")


def reserve(what: str, host: str, port: int, *, asked_for: bool) -> Reserved:
    """Reserve ``port`` (0: any). One that was only the default gives way to another if it is taken.

    Raises ``InTheWay`` if a port that was asked for is taken, else ``StartError``.
    """
    sock = _try(what, host, port, asked_for=asked_for)
    return Reserved(sock, host, sock.getsockname()[1])


def listen(what: str, host: str, port: int, *, asked_for: bool) -> Reserved:
    """As ``reserve``, and listen: callers wait in the backlog while the part that answers restarts."""
    reserved = reserve(what, host, port, asked_for=asked_for)
    try:
        reserved.socket.listen(1024)
    except OSError as error:
        # Bound by both, listened on by the other: seen only at listen().
        reserved.socket.close()
        if not asked_for and port:
            return listen(what, host, 0, asked_for=True)
        raise InTheWay(f"port {port} for {what} is taken by another program") from error
    return reserved


def accepts(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Whether somebody accepts connections there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    try:
        with socket.create_connection((reachable, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def lan_address() -> str:
    """This machine's address in the local network. Raises ``StartError`` if it is in none.

    The kernel is asked which address it would send from; connecting a UDP socket sends nothing.
    """
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((probe, 9))
                address = str(sock.getsockname()[0])
            except OSError:
                continue
            if not address.startswith(("127.", "::1", "fe80:")):
                return address
    return _lan_address_of_interfaces()


def _lan_address_of_interfaces() -> str:
    """The same where there is no default route: a school's network without the internet."""
    import psutil

    for name, addresses in sorted(psutil.net_if_addrs().items()):
        for item in addresses:
            if item.family == socket.AF_INET and not item.address.startswith(("127.", "169.254.")):
                if name.startswith(("docker", "br-", "veth", "virbr")):
                    continue
                return item.address
    raise StartError("--lan: this machine has no address in a local network; connect it, or leave --lan out")
