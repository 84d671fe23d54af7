"""Who somebody is: signing keys, tokens, device passwords, the owner of the machine."""

from bandroom.auth.service_credential import service_credential

__all__ = ["service_credential"]
