"""A sign of life: a part that is started with ``--alive`` writes one to its stdout now and then, for the supervisor.

It comes from the part's own main loop, so that one which hangs is silent.
"""

from __future__ import annotations

import os
import select
import sys

SIGN = b'{"alive": true}'
EVERY_S = 0.5


def tell() -> None:
    """Write one sign, unless the pipe is full: whoever does not read must not stop the one who writes."""
    fd = sys.stdout.fileno()
    if not select.select((), (fd,), (), 0)[1]:
        return
    try:
        os.write(fd, SIGN + b"\n")
    except BrokenPipeError:
        # The supervisor has died, and takes this process along.
        return
