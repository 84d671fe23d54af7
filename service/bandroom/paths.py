"""Where everything lies in the data folder: one typed property for each file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

DEFAULT_HOME = ".bandroom"
HOME_VARIABLE = "BANDROOM_HOME"

# sockaddr_un holds 108 bytes on Linux and 104 on BSD; the rest is room for a NUL and a temporary suffix.
_MAY_BE_THERE = frozenset(
    ["bandroom.toml", "bandroom.db", "owner.token", "keys", "gate", "broker", "tls", "logs", "lost+found"]
)
SOCKET_PATH_LIMIT = 100


class Home:
    """The data folder of one installation. Building a ``Home`` touches nothing on disk; ``create`` does.

    ``root`` is made absolute, so that a child process with another working directory sees the same files.
    """

    __slots__ = ("root",)

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(Path(root).expanduser()))

    @classmethod
    def from_environment(cls) -> Home:
        """The folder named by ``BANDROOM_HOME``, else ``./.bandroom``."""
        return cls(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Home) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    def create(self) -> None:
        """Make the folder and its sub-folders, closed to other users (0700). An existing one is closed as well.

        Raises ``PermissionError`` for a folder of another user, and for one that is open to others and holds other
        things: closing `/tmp` or somebody's home because it was named by mistake would do harm.
        """
        if self.root.is_dir() and self.root.stat().st_mode & 0o077:
            strange = {entry.name for entry in self.root.iterdir()} - _MAY_BE_THERE
            if strange and not self.lock.exists():
                found = min(strange)
                raise PermissionError(f"{self.root} is open to others and holds {found!r}: name a folder of its own")
        for folder in (self.root, self.keys, self.gate, self.broker, self.tls, self.logs, self.broker_socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{folder} belongs to another user")
            folder.chmod(0o700)

    # -- top level
    @property
    def run_json(self) -> Path:
        """Handles for scripts; exists while everything runs."""
        return self.root / "run.json"

    @property
    def state_json(self) -> Path:
        """What the parts need to know of this run: addresses and counts, no secrets."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """Held (flock) by the supervisor."""
        return self.root / "lock"

    @property
    def database(self) -> Path:
        return self.root / "bandroom.db"

    @property
    def pending_restore(self) -> Path:
        """A backup that was taken apart and checked, for the service to put in the place of what is there."""
        return self.root / "restore"

    @property
    def owner_token(self) -> Path:
        """Bearer token of the machine's owner."""
        return self.root / "owner.token"

    @property
    def settings_file(self) -> Path:
        return self.root / "bandroom.toml"

    # -- keys
    @property
    def keys(self) -> Path:
        """Private keys: people-<kid>.pem, service-<kid>.pem, master-<n>.key."""
        return self.root / "keys"

    # -- gate
    @property
    def gate(self) -> Path:
        """The folder that the gate reads and reports in."""
        return self.root / "gate"

    @property
    def gate_keys(self) -> Path:
        return self.gate / "keys"

    @property
    def gate_clock(self) -> Path:
        return self.gate / "clock"

    @property
    def gate_log(self) -> Path:
        return self.gate / "log"

    @property
    def gate_status(self) -> Path:
        return self.gate / "status"

    # -- broker
    @property
    def broker(self) -> Path:
        return self.root / "broker"

    @property
    def broker_conf(self) -> Path:
        return self.broker / "mosquitto.conf"

    @property
    def broker_socket(self) -> Path:
        """The broker's Unix socket: in the folder, or (a socket's path is short) in a private temporary one."""
        here = self.root / "broker.sock"
        if len(os.fsencode(here)) <= SOCKET_PATH_LIMIT:
            return here
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        # The folder for temporary files may itself lie deep.
        bases = (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")  # noqa: S108  (in a 0700 folder)
        there = [Path(base) / f"bandroom-{os.getuid()}-{name}" / "broker.sock" for base in bases if base]
        return next((path for path in there if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT), there[-1])

    # -- TLS
    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def tls_pair(self) -> Path:
        """The certificate in use, its chain and its key: a copy of what was given, found good, replaced as a whole."""
        return self.tls / "pair.pem"

    @property
    def tls_status(self) -> Path:
        return self.tls / "status.json"

    # -- logs
    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log_of(self, part: str) -> Path:
        """The log file of ``broker``, ``service`` or ``tempo-<n>``."""
        return self.logs / f"{part}.log"


def write_private(path: Path, data: str | bytes) -> None:
    """Replace ``path`` atomically by ``data``, readable by this user alone (0600)."""
    raw = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
