"""What can go wrong for a device, each with what to do about it."""


class DeviceError(Exception):
    """The base of all that this kit raises of its own."""


class Unreachable(DeviceError):
    """Nobody answers at the address: the text names it, and what to check."""


class JoinRefused(DeviceError):
    """The service answered, and said no. ``code`` is the contract's error code, as ``not_found`` or ``limit``."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Refused(DeviceError):
    """The broker answered, and said no to the credential or to what it asked for."""
