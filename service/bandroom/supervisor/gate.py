"""Finding the broker and the gate (our plugin in it), and building the gate where there is none yet."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bandroom
from bandroom.paths import Home
from bandroom.supervisor.errors import StartError

GATE_VARIABLE = "BANDROOM_GATE"
BROKER_VARIABLE = "BANDROOM_MOSQUITTO"
_LIBRARY = "bandroom_gate.so"
_BUILD_WITHIN_S = 300
# Debian keeps daemons out of an ordinary user's PATH.
_MORE_PATHS = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin")
_HEADERS = ("mosquitto.h", "mosquitto_broker.h", "mosquitto_plugin.h")
_HEADER_FOLDERS = ("/usr/include", "/usr/local/include")


def broker_data() -> Path:
    """The folder with mosquitto.conf and the gate's source: in the wheel, or in the tree of an editable install."""
    package = Path(bandroom.__file__).parent
    for folder in (package / "_broker", package.parent.parent / "broker"):
        if (folder / "mosquitto.conf").is_file():
            return folder
    raise StartError("this installation lacks broker/mosquitto.conf; install bandroom again")


def find_broker() -> str:
    """The path of mosquitto. Raises ``StartError`` naming the package."""
    given = os.environ.get(BROKER_VARIABLE)
    if given:
        if os.access(given, os.X_OK):
            return given
        raise StartError(f"{BROKER_VARIABLE}={given} is not a program")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PATHS])
    found = shutil.which("mosquitto", path=path)
    if found is None:
        raise StartError(
            "mosquitto, the MQTT broker, is not installed; run `make setup`, or install your system's package"
            " (Debian, Ubuntu: apt install mosquitto)"
        )
    return found


def find_gate(home: Home) -> Path:
    """The gate's library: the one named by ``BANDROOM_GATE``, else one built from this installation's source.

    Built once for each version of the source and of the broker's headers, and kept in the user's cache.
    """
    given = os.environ.get(GATE_VARIABLE)
    if given:
        library = Path(given).absolute()
        if library.is_file():
            return library
        raise StartError(f"{GATE_VARIABLE}={given} is not a file")
    source = broker_data() / "gate"
    if not (source / "Makefile").is_file():
        raise StartError(f"the gate's source is missing in {source}; install bandroom again")
    version = _version_of(source)
    folder = _cache(home) / version
    library = folder / _LIBRARY
    if not library.is_file():
        _build(source, library)
    return library


def external_gate() -> Path:
    """Where the gate lies for a broker that runs elsewhere: as ``BANDROOM_GATE`` says, unseen from here."""
    given = os.environ.get(GATE_VARIABLE)
    if not given:
        raise StartError(f"with an external broker {GATE_VARIABLE} must say where the gate lies on its side")
    return Path(given)


def _cache(home: Home) -> Path:
    """A folder of this user alone, for the broker loads what lies there."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for folder in (Path(base).expanduser() / "bandroom" / "gate", home.gate / "build"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        status = folder.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    raise StartError(f"no folder to build the gate in: {home.gate / 'build'} cannot be written")


def _sources(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        if path.is_file() and (path.suffix in (".c", ".h") or path.name == "Makefile"):
            yield path


def _version_of(source: Path) -> str:
    """A hash of all that the library depends on."""
    digest = hashlib.sha256(platform.machine().encode())
    for path in _sources(source):
        digest.update(f"\0{path.relative_to(source)}\0".encode())
        digest.update(path.read_bytes())
    for folder in _HEADER_FOLDERS:
        for name in _HEADERS:
            header = Path(folder, name)
            if header.is_file():
                digest.update(header.read_bytes())
    return digest.hexdigest()[:20]


def _build(source: Path, library: Path) -> None:
    """Build in a folder of its own, then move into place: two builders at once do not meet half-written files."""
    missing = [tool for tool in ("make", "cc") if shutil.which(tool) is None]
    headers = any(Path(folder, "mosquitto_plugin.h").is_file() for folder in _HEADER_FOLDERS)
    if missing or not headers:
        lacks = " and ".join([*missing, *([] if headers else ["mosquitto's plugin headers"])])
        raise StartError(
            f"the gate must be built, and {lacks} cannot be found; run `make setup`, install them"
            " (Debian, Ubuntu: apt install gcc make mosquitto-dev libssl-dev libjansson-dev zlib1g-dev),"
            f" or name a built one in {GATE_VARIABLE}"
        )
    library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-") as folder:
        copy = Path(folder) / "gate"
        for path in _sources(source):
            target = copy / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        done = subprocess.run(  # noqa: S603
            # Without -Werror: a newer compiler's opinion must not keep a class from playing.
            ["make", "-s", "-C", str(copy), "OUT=out", "WARNINGS=-std=c11"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_BUILD_WITHIN_S,
            check=False,
        )
        built = next(copy.rglob(_LIBRARY), None)
        if done.returncode or built is None:
            lines = (done.stderr or done.stdout).strip().splitlines()
            first = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no output")
            raise StartError(f"the gate does not build: {first.strip()}")
        os.replace(built, library)
