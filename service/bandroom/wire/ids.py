"""Names on the wire: value types that check themselves.

Each id is a ``str`` that can only exist in its legal form, so a function that takes a ``TenantId`` needs no
check of its own and cannot be handed a room by mistake. Patterns are matched whole (``fullmatch``): a trailing
newline, a wildcard, a look-alike letter or an empty string never becomes an id.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, ClassVar, NoReturn, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_SHOWN = 60  # of a bad value, in an error message


class BadId(ValueError):
    """A text that is not a legal id: says which kind, the text (shortened), and the legal form."""

    def __init__(self, kind: str, value: object, form: str) -> None:
        shown = ascii(value)
        if len(shown) > _SHOWN:
            shown = shown[:_SHOWN] + "…"
        super().__init__(f"{shown} is not a {kind}: {form}")
        self.kind = kind


class Role(StrEnum):
    """Who a client is to the broker. The first two are the service's own."""

    ROOMS = "rooms"
    TEMPO = "tempo"
    TEACHER = "teacher"
    STUDENT = "student"
    DEVICE = "device"
    VIEWER = "viewer"


SERVICE_ROLES = frozenset({Role.ROOMS, Role.TEMPO})
ROLE_OF_LETTER = {"s": Role.STUDENT, "t": Role.TEACHER, "v": Role.VIEWER, "d": Role.DEVICE}
LETTER_OF_ROLE = {role: letter for letter, role in ROLE_OF_LETTER.items()}


class _Id(str):
    """The shared behaviour of ids; a subclass gives ``kind``, ``pattern`` and ``form``."""

    __slots__ = ()
    kind: ClassVar[str]
    pattern: ClassVar[re.Pattern[str]]
    form: ClassVar[str]

    def __new__(cls, value: str) -> Self:
        # Whatever comes from outside may not be text at all, whatever its annotation says.
        if not isinstance(value, str) or cls.pattern.fullmatch(value) is None:  # pyright: ignore[reportUnnecessaryIsInstance]
            cls.refuse(value)
        return super().__new__(cls, value)

    @classmethod
    def refuse(cls, value: object) -> NoReturn:
        """Raise ``BadId`` for ``value``."""
        raise BadId(cls.kind, value, cls.form)

    @classmethod
    def parse(cls, value: object) -> Self:
        """The id that ``value`` spells. Raises ``BadId`` for anything else, text or not."""
        if not isinstance(value, str):
            cls.refuse(value)
        return cls(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str.__repr__(self)})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=f"^(?:{cls.pattern.pattern})$")
        return core_schema.no_info_after_validator_function(
            cls,
            # A pattern tells nobody what to type.
            core_schema.custom_error_schema(text, "bad_id", custom_error_message=f"not a {cls.kind}: {cls.form}"),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )


class TenantId(_Id):
    """A school. ``bandroom`` is the service itself and no tenant's: see ``SERVICE_TENANT``."""

    __slots__ = ()
    kind = "tenant"
    pattern = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
    form = "1 to 20 of a-z, 0-9 and -, not beginning with -, and not 'bandroom'"

    def __new__(cls, value: str) -> Self:
        if value == SERVICE_NAME:
            cls.refuse(value)
        return super().__new__(cls, value)


SERVICE_NAME = "bandroom"
"""Stands where a tenant stands in the service roles' user names; never a tenant's."""

DOCTOR_TENANT = "bandroom-doctor"
"""Where `bandroom doctor` opens its test room."""
DEMO_TENANT = "bandroom-demo"
"""Where `bandroom demo` plays."""
OWN_TENANTS = frozenset({DOCTOR_TENANT, DEMO_TENANT})
"""Made by our own commands: on no list of tenants, so that they never count as one of the schools."""


class RoomId(_Id):
    """A room within a tenant, fixed for the room's life."""

    __slots__ = ()
    kind = "room"
    pattern = re.compile(r"[A-Z]{2,8}-[0-9]{4}")
    form = "2 to 8 letters A-Z, a -, and 4 digits, as MUSIC-1234"


class JoinCode(_Id):
    """What pupils type. At first equal to the room's id; a new code leaves the room's id as it is."""

    __slots__ = ()
    kind = "join code"
    pattern = RoomId.pattern
    form = RoomId.form

    @classmethod
    def typed(cls, text: object) -> JoinCode:
        """The code a person meant: case, surrounding and inner blanks, and a missing ``-`` are forgiven."""
        if isinstance(text, str) and len(text) <= 32 and text.isascii():
            plain = re.sub(r"[\s_-]+", "", text).upper()
            code = f"{plain[:-4]}-{plain[-4:]}"
            if cls.pattern.fullmatch(code):
                return cls(code)
        return cls.refuse(text)


class Subject(_Id):
    """A person or device within a tenant. The first letter is the role and is checked against it."""

    __slots__ = ()
    kind = "subject"
    pattern = re.compile(r"[stvd]-[a-z0-9][a-z0-9-]{0,17}")
    form = "s-, t-, v- or d- (pupil, teacher, viewer, device), then 1 to 18 of a-z, 0-9 and -, as d-drum-3"

    @property
    def role(self) -> Role:
        """The role that the first letter names."""
        return ROLE_OF_LETTER[self[0]]


class ClientId(_Id):
    """An MQTT client id: tenant, subject, and for a second connection one digit."""

    __slots__ = ()
    kind = "client id"
    pattern = re.compile(rf"(?:{TenantId.pattern.pattern})_(?:{Subject.pattern.pattern})(?:_[0-9])?")
    form = "<tenant>_<subject> or <tenant>_<subject>_<digit>, as lincoln_d-drum-3"

    @classmethod
    def of(cls, tenant: TenantId, subject: Subject, digit: int | None = None) -> ClientId:
        """The client id of a subject's connection; ``digit`` 0 to 9 tells several apart."""
        if digit is not None and not 0 <= digit <= 9:
            raise BadId("connection digit", digit, "0 to 9")
        return cls(f"{tenant}_{subject}" if digit is None else f"{tenant}_{subject}_{digit}")

    @property
    def tenant(self) -> TenantId:
        """The tenant named in the id (neither form of a tenant nor of a subject has a ``_``)."""
        return TenantId(self.split("_")[0])

    @property
    def subject(self) -> Subject:
        """The subject named in the id."""
        return Subject(self.split("_")[1])

    @property
    def digit(self) -> int | None:
        """The connection's digit, or None where it has none."""
        parts = self.split("_")
        return int(parts[2]) if len(parts) == 3 else None


class UserName(_Id):
    """An MQTT user name: ``<tenant>/<subject>``, a device's with its generation behind."""

    __slots__ = ()
    kind = "user name"
    pattern = re.compile(
        rf"(?:{TenantId.pattern.pattern})/(?:[stv]-[a-z0-9][a-z0-9-]{{0,17}}|d-[a-z0-9][a-z0-9-]{{0,17}}/(?:[1-9][0-9]{{0,8}}))"
    )
    form = "<tenant>/<subject>, a device's <tenant>/<subject>/<generation>, as lincoln/d-drum-3/1"

    @classmethod
    def of(cls, tenant: TenantId, subject: Subject, generation: int | None = None) -> UserName:
        """The user name of a subject; ``generation`` (1 to 999,999,999) for devices and only for them."""
        return cls(f"{tenant}/{subject}" if generation is None else f"{tenant}/{subject}/{generation}")

    @property
    def tenant(self) -> TenantId:
        """The tenant named in the user name."""
        return TenantId(self.split("/")[0])

    @property
    def subject(self) -> Subject:
        """The subject named in the user name."""
        return Subject(self.split("/")[1])

    @property
    def generation(self) -> int | None:
        """A device's generation, None for people."""
        parts = self.split("/")
        return int(parts[2]) if len(parts) == 3 else None
