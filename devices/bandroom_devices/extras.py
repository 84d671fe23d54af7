"""What the base install leaves out, asked for at the moment of need and named when it is missing."""

from __future__ import annotations

import importlib
from typing import Any


class MissingExtra(ImportError):
    """A part of the kit needs an extra that is not installed: the text says which, and the command."""


def need_mido() -> Any:
    """The ``mido`` module. Raises ``MissingExtra``."""
    try:
        mido: Any = importlib.import_module("mido")
    except ImportError:
        raise MissingExtra("MIDI files and ports need the package mido: pip install 'bandroom[midi]'") from None
    return mido
