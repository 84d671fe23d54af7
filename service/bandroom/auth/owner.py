"""The owner of the machine: whoever can read the data folder. A random bearer token says so over HTTP."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from bandroom.paths import Home


@dataclass(frozen=True, slots=True)
class Owner:
    """The machine's owner, who may do everything in every tenant."""

    name: str = "owner"


def owner_token(home: Home) -> str:
    """The owner's token. Raises ``OSError`` for whoever may not read it, or where there is none yet."""
    return home.owner_token.read_text("ascii").strip()


def is_owner(expected: str, offered: str) -> bool:
    """Whether the token offered is the owner's; in constant time."""
    return bool(expected) and hmac.compare_digest(expected.encode(), offered.encode("utf-8", "surrogatepass"))
