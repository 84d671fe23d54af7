"""Part 1: lateness at publishing, 100 to 10,000 rooms, against other ways. Goal: p99 < 1 ms at 1,000."""

import argparse
from typing import Any

from bench import engine


def measure(quick: bool) -> dict[str, Any]:
    """All kinds, all sizes."""
    return engine.run(
        argparse.Namespace(
            rooms=[100, 1000] if quick else [100, 1000, 10_000],
            phases=["random", "equal"],
            kinds=list(engine.KINDS),
            seconds=4.0 if quick else 10.0,
            spin=None,
        )
    )


def show(found: dict[str, Any]) -> str:
    return engine.show(found)
