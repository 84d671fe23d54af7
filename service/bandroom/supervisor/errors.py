"""Why everything did not start."""

from __future__ import annotations


class StartError(RuntimeError):
    """Something that the user can mend keeps us from starting; the text says what and how."""


class InTheWay(StartError):
    """Something that runs already is in the way: another supervisor, or a port that is taken."""
