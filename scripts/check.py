"""`make check`: lint, types, import rules, generated files and docs. Runs all, shows what failed, in one table.

A word as argument runs only the checks whose name contains it: ``python scripts/check.py types``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lint", ("ruff", "check", "--quiet", "--output-format", "concise", ".")),
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("types", ("pyright", "--warnings")),
    ("imports", ("lint-imports", "--no-logo")),
    ("schemas", ("python", "-m", "bandroom.wire.schema", "--check")),
    ("protocol", ("python", "scripts/check_protocol.py")),
    ("docs", ("python", "scripts/check_docs.py")),
)


def main() -> int:
    wanted = sys.argv[1:]
    chosen = [item for item in CHECKS if not wanted or any(word in item[0] for word in wanted)]
    if not chosen:
        print(f"no check is called {wanted[0]!r}; there are: {', '.join(name for name, _ in CHECKS)}", file=sys.stderr)
        return 2
    failed: list[str] = []
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    for name, (tool, *words) in chosen:
        began = time.monotonic()
        done = subprocess.run(
            [str(BIN / tool), *words],
            cwd=TREE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        good = done.returncode == 0
        print(f"{'ok    ' if good else 'FAILED'}  {name:<9} {time.monotonic() - began:5.1f} s", flush=True)
        if not good:
            failed.append(name)
            print("    " + "\n    ".join(done.stdout.strip().splitlines()), flush=True)
    if failed:
        print(f"make check: {', '.join(failed)} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
