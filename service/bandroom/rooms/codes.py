"""Join codes and keys: a friendly word with four digits, and what a link carries besides."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from bandroom.wire.ids import JoinCode

KEY_BYTES = 12  # 96 bits: not to be guessed, and short enough for a small QR code
_TRIES = 200


class CodesExhausted(RuntimeError):
    """No free code was found: nearly all of the tenant's are in use or resting."""


@cache
def words() -> tuple[str, ...]:
    """The words of generated codes: easy to say in several languages, none of them rude."""
    return tuple(files("bandroom.rooms").joinpath("code_words.txt").read_text("ascii").split())


def new_code(is_free: Callable[[JoinCode], bool]) -> JoinCode:
    """A random code that is free. Raises ``CodesExhausted``."""
    for _ in range(_TRIES):
        code = JoinCode(f"{secrets.choice(words())}-{secrets.randbelow(10_000):04d}")
        if is_free(code):
            return code
    raise CodesExhausted("no free join code was found: close rooms that are not needed, their codes rest for a day")


def new_key() -> str:
    """The random part of a join link: 16 characters of base64url."""
    return secrets.token_urlsafe(KEY_BYTES)
