"""Who somebody is: signing keys, tokens, device passwords, the owner of the machine."""
