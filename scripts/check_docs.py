"""Checks of the docs: every relative link leads somewhere, its heading included, and no `make` target is invented."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_MAKE = re.compile(r"`make ([a-z][a-z-]*)")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def documents() -> Iterator[Path]:
    """All the Markdown of the project."""
    yield from sorted(TREE.glob("*.md"))
    for folder in ("docs", "devices", "broker", "bench", "tests"):
        yield from sorted((TREE / folder).rglob("*.md"))


def _anchor(heading: str) -> str:
    """A heading's id, as the usual renderers make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _anchors(text: str) -> set[str]:
    plain = _FENCE.sub("", text)
    named = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", plain))
    return named | {_anchor(match) for match in _HEADING.findall(plain)}


def _bad_links(path: Path) -> Iterator[str]:
    text = _CODE.sub("", _FENCE.sub("", path.read_text()))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists():
            yield f"{path.relative_to(TREE)}: {link} leads nowhere"
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file.read_text()):
            yield f"{path.relative_to(TREE)}: {link}: no such heading"


def _bad_targets(path: Path, known: set[str]) -> Iterator[str]:
    for target in sorted(set(_MAKE.findall(path.read_text()))):
        if target not in known:
            yield f"{path.relative_to(TREE)}: `make {target}` does not exist"


def main() -> int:
    known = set(_TARGET.findall((TREE / "Makefile").read_text()))
    found = [line for path in documents() for line in (*_bad_links(path), *_bad_targets(path, known))]
    print("\n".join(found) if found else f"{sum(1 for _ in documents())} documents, no dead link")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
