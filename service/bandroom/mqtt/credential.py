"""Who a connection is, and how it proves that."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credential:
    """User name, client id and where the password comes from.

    `password` is asked anew at each connect, because tokens expire: a connection that reconnects for hours must not
    offer the token that it began with. It is never shown in a repr.
    """

    username: str
    client_id: str
    password: Callable[[], str] = field(repr=False)

    @classmethod
    def fixed(cls, username: str, client_id: str, password: str) -> "Credential":
        """A credential with one password for its whole life, as a device has."""
        return cls(username, client_id, lambda: password)

    @property
    def is_device(self) -> bool:
        """Whether the user name `<tenant>/<subject>[/<generation>]` is a device's (`d-`)."""
        _, _, subject = self.username.partition("/")
        return subject.startswith("d-")
