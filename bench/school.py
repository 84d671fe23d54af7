"""A school for benches: rooms, a class of devices in each, and a broker with one of the access controls compared.

`bare` lets everybody in and checks nothing. `gate` is this project's. `dynsec` is Mosquitto's dynamic-security with a
role for each client; `acl` its acl_file with patterns, which need user names that say the room. The last two isolate
as far as they can, and check no tokens, limits or clock pings: they are here for what a check costs.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bandroom.auth.devices import password
from bandroom.auth.keys import KeyRing, load_keys
from bandroom.auth.tokens import mint
from bandroom.clock import ServerClock
from bandroom.paths import Home, write_private
from bandroom.supervisor.gate import find_gate
from bandroom.wire.gate_log import Assign, Entry, Limit, LimitKey, Open, format_header, format_line
from bandroom.wire.ids import ClientId, Role, RoomId, Subject, TenantId, UserName
from bandroom.wire.topics import Filter, Leaf, Room

from bench import home as data
from bench.broker import Broker, running
from bench.load import Login

Access = Literal["bare", "gate", "dynsec", "acl"]
_LEAVES = (Leaf.BEAT, Leaf.TEMPO, Leaf.ROOM, Leaf.NOTE)
PUMP_PASSWORD = "of no worth"  # noqa: S105
"""What dynamic-security, which knows no tokens, asks of the pump."""
DYNSEC = "mosquitto_dynamic_security.so"
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Pupil:
    """A device in a room, or a person: that is in the subject's first letter."""

    room: Room
    sub: Subject

    @property
    def user(self) -> UserName:
        return UserName.of(self.room.tenant, self.sub, 1 if self.sub.role is Role.DEVICE else None)


@dataclass(slots=True)
class School:
    """Data folder, broker, and the logins of everybody in it."""

    home: Home
    clock: ServerClock
    broker: Broker
    logins: list[Login]
    also: list[Login] = field(default_factory=list[Login])

    @property
    def tcp(self) -> tuple[str, int]:
        return ("127.0.0.1", self.broker.port)


def pupils(rooms: int | Sequence[int], each: int, letter: str = "d", first: int = 0) -> list[Pupil]:
    """`each` of a role in each of `rooms` (the first so many, or by number), their own numbers from `first` on.

    Devices, unless `letter` says pupils (`s`).
    """
    return [
        Pupil(Room(data.tenant_of(r), RoomId(data.room_of(r))), Subject(f"{letter}-{r}-{i}"))
        for r in (range(rooms) if isinstance(rooms, int) else rooms)
        for i in range(first, first + each)
    ]


@contextmanager
def opened(
    folder: Path,
    access: Access,
    rooms: int,
    each: int,
    *,
    leaves: Sequence[Leaf] = _LEAVES,
    also: Sequence[Pupil] = (),
    unlimited: bool = False,
    tokens: bool = False,
    under: Sequence[str] = (),
) -> Iterator[School]:
    """A school with `rooms` rooms of `each` devices behind a broker with that access control.

    `also` come in besides, with logins of their own; `unlimited` sets every limit of the gate out of reach; with
    `tokens` every other one of a room is a pupil with a token instead of a device with a password; `under` is the
    command, if any, that the broker is started by.
    """
    home, clock = data.make(folder / "home")
    if tokens:
        halves = (pupils(rooms, each // 2, "s"), pupils(range(rooms), each - each // 2, "d"))
        crowd = [pupil for half in halves for pupil in half]
    else:
        crowd = pupils(rooms, each)
    keys = load_keys(home)
    logins = [login(p, secret(keys, p), leaves, access) for p in crowd]
    others = [login(p, secret(keys, p), leaves, access) for p in also]
    everybody = [*crowd, *also]
    if access == "gate":
        options = _gate(home, folder / "broker", everybody, unlimited)
    else:
        options = {"bare": _bare, "dynsec": _dynsec, "acl": _acl}[access](
            folder / "broker", everybody, [*logins, *others]
        )
    with running(folder / "broker", options, under=under) as broker:
        home.broker_socket.unlink(missing_ok=True)
        home.broker_socket.symlink_to(broker.socket_path)
        yield School(home, clock, broker, logins, others)


def secret(keys: KeyRing, pupil: Pupil) -> str:
    """A device's password, or a token for an hour."""
    if pupil.sub.role is Role.DEVICE:
        return password(keys, pupil.user)
    return mint(keys, pupil.room.tenant, pupil.sub, pupil.room.room, now_s=int(time.time()), ttl_s=3600).token


def available(access: Access) -> bool:
    """Whether this machine has what that access control needs."""
    return access != "dynsec" or _plugin() is not None


def _plugin() -> Path | None:
    return next((path for folder in _PLUGIN_FOLDERS if (path := Path(folder, DYNSEC)).is_file()), None)


def login(pupil: Pupil, secret: str, leaves: Sequence[Leaf], access: Access = "gate") -> Login:
    """What a pupil connects with, to hear `leaves` of its room."""
    room = pupil.room
    filters = tuple(Filter(leaf, room.tenant, room.room).name for leaf in leaves)
    note = room.note(pupil.sub).name
    if access == "acl":
        return Login(str(pupil.sub), f"{room.tenant}/music_room/{room.room}", secret, filters, note)
    return Login(str(ClientId.of(room.tenant, pupil.sub)), str(pupil.user), secret, filters, note)


def _bare(folder: Path, crowd: Sequence[Pupil], logins: Sequence[Login]) -> str:
    return "allow_anonymous true\n"


def _gate(home: Home, folder: Path, crowd: Sequence[Pupil], unlimited: bool) -> str:
    entries: list[Entry] = [Open(room.tenant, room.room) for room in dict.fromkeys(p.room for p in crowd)]
    entries += [Assign(p.room.tenant, p.sub, p.room.room) for p in crowd if p.sub.role is Role.DEVICE]
    if unlimited:
        tenants = dict.fromkeys(p.room.tenant for p in crowd)
        entries += [Limit(tenant, key, 10**9, 10**9) for tenant in tenants for key in LimitKey]
    lines = [format_header(secrets.token_hex(8)), *(format_line(seq, it) for seq, it in enumerate(entries, start=1))]
    write_private(home.gate_log, "".join(line if line.endswith("\n") else line + "\n" for line in lines))
    gate = find_gate(home)
    return (
        f"allow_anonymous false\nplugin {gate}\nplugin_opt_dir {home.gate}\n"
        f"plugin_opt_socket {folder / 'broker.sock'}\npersistent_client_expiration 1h\nmax_packet_size 8192\n"
    )


def _acl(folder: Path, crowd: Sequence[Pupil], logins: Sequence[Login]) -> str:
    lines = ["pattern read tenant/%u/beat", "pattern read tenant/%u/tempo", "pattern read tenant/%u/room"]
    lines += ["pattern read tenant/%u/note/+", "pattern write tenant/%u/note/%c"]
    lines += ["user bandroom/tempo-0", "topic write tenant/+/music_room/+/beat"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "acl").write_text("\n".join(lines) + "\n")
    return f"allow_anonymous true\nacl_file {folder / 'acl'}\n"


def _dynsec(folder: Path, crowd: Sequence[Pupil], logins: Sequence[Login]) -> str:
    roles: list[dict[str, object]] = [_role("tempo", ["tenant/+/music_room/+/tempo"], ["tenant/+/music_room/+/beat"])]
    clients = [_client("bandroom/tempo-0", PUMP_PASSWORD, "tempo")]
    for number, (pupil, login) in enumerate(zip(crowd, logins, strict=True)):
        roles.append(_role(f"r{number}", login.filters, [pupil.room.note(pupil.sub).name]))
        clients.append(_client(login.username, login.password, f"r{number}"))
    deny = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe"), False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dynsec.json").write_text(
        json.dumps(
            {"defaultACLAccess": {**deny, "unsubscribe": True}, "clients": clients, "groups": [], "roles": roles}
        )
    )
    return f"allow_anonymous false\nplugin {_plugin()}\nplugin_opt_config_file {folder / 'dynsec.json'}\n"


def _role(name: str, hears: Sequence[str], says: Sequence[str]) -> dict[str, object]:
    acls = [
        {"acltype": kind, "topic": t, "allow": True}
        for t in hears
        for kind in ("publishClientReceive", "subscribePattern")
    ]
    acls += [{"acltype": "publishClientSend", "topic": t, "allow": True} for t in says]
    return {"rolename": name, "acls": acls}


def _client(username: str, secret: str, role: str) -> dict[str, object]:
    salt = secrets.token_bytes(12)
    hashed = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, 1)
    return {
        "username": username,
        "roles": [{"rolename": role}],
        "password": base64.b64encode(hashed).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": 1,
    }


def tenant_ids(rooms: int) -> list[TenantId]:
    """The tenants of the first `rooms` rooms."""
    return list(dict.fromkeys(data.tenant_of(r) for r in range(rooms)))
