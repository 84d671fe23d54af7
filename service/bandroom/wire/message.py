"""What every payload has in common: one way in, one way out, one error."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

MAX_PAYLOAD = 8192  # bytes: the broker's max_packet_size, so nothing longer can be genuine


class BadMessage(ValueError):
    """A payload that is not what its topic carries: says which field, and what was wrong with it."""


@runtime_checkable
class Message(Protocol):
    """A payload's model: made by ``decode`` or by its constructor, and always valid once it exists."""

    def encode(self) -> bytes:
        """The payload as it travels."""
        ...

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """The message that ``payload`` spells. Raises ``BadMessage`` for anything else."""
        ...


def check_size(payload: bytes) -> None:
    """Raise ``BadMessage`` for a payload over ``MAX_PAYLOAD`` bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise BadMessage(f"{len(payload)} bytes, and at most {MAX_PAYLOAD} are allowed")


def explain(error: ValidationError) -> str:
    """A validation error in one line: the field, what was wrong, the value shortened."""
    found = error.errors(include_url=False, include_context=False)
    first, place = found[0], _place(found[0]["loc"])
    # Where a field may be of several kinds, pydantic has an error for each.
    said = dict.fromkeys(one["msg"] for one in found if _place(one["loc"]) == place)
    shown = ascii(first["input"])
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    return f"{place or 'message'}: {', or: '.join(said)} (got {shown})"


def _place(loc: tuple[int | str, ...]) -> str:
    """The field, without the kinds that pydantic names behind it (``constrained-int``, ``literal['bar']``)."""
    return ".".join(str(part) for part in loc if str(part).isidentifier() or isinstance(part, int))


def _decode(model: type[Any], payload: bytes) -> Any:
    check_size(payload)
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise BadMessage(explain(error)) from None


class JsonMessage(BaseModel):
    """A compact JSON object. Unknown fields are ignored, so that later versions may add some."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="ignore")

    def encode(self) -> bytes:
        """Compact JSON; fields that are at their default None are left out."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read JSON; raises ``BadMessage``."""
        return _decode(cls, payload)


class JsonChoice(RootModel[Any]):
    """One of several JSON objects, told apart by one field. A subclass narrows ``root``."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    def encode(self) -> bytes:
        """Compact JSON; fields that are at their default None are left out."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read JSON; raises ``BadMessage``."""
        return _decode(cls, payload)
