"""A process that has imported a module and waits to be told to run it.

Most of a Python process's start is importing. A tempo worker that was killed must beat again within 0.6 s, on a
slow machine too, so the supervisor keeps one of these ready: ``python -m bandroom.supervisor.warm MODULE DIR``
(DIR only tells whose it is). One JSON line on stdin, ``{"argv": [...], "log": PATH}``, makes it run the module as a
program; the end of stdin makes it end.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import warnings
from typing import Any


def main() -> None:
    name = sys.argv[1]
    importlib.import_module(name)
    line = sys.stdin.readline()
    if not line:
        return
    order: dict[str, Any] = json.loads(line)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    os.close(log)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv = [name, *(str(word) for word in order["argv"])]
    with warnings.catch_warnings():
        # It was imported on purpose; running it as __main__ as well is harmless for a module that is only a shell.
        warnings.simplefilter("ignore", RuntimeWarning)
        runpy.run_module(name, run_name="__main__")


if __name__ == "__main__":
    main()
