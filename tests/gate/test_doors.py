"""By which door and with which key the service's own roles come in, and what a keys file may hold."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gatekit import Broker, GateHome, SigningKey
from raw_mqtt import Client, Refused, connect_packet


@pytest.mark.rule("CRED-5")
def test_another_unix_socket_is_not_the_services(home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """A socket that the settings do not name to the gate, a bridge's or a tool's, opens for people and not for the
    service's roles.
    """
    home.log("open lincoln MUSIC-1234")
    other = f"{home.path}/other.sock"
    broker = start_broker(extra_conf=f"listener 0 {other}\n")
    broker.service().disconnect()
    for sub, role in (("rooms", "rooms"), ("tempo-0", "tempo")):
        token = home.token(home.claims("bandroom", role, sub))
        with pytest.raises(Refused):
            Client.open(other, connect_packet(f"bandroom_{sub}", f"bandroom/{sub}", token))
    token = home.token(home.claims("lincoln", "student", "s-ann", "MUSIC-1234"))
    Client.open(other, connect_packet("lincoln_s-ann", "lincoln/s-ann", token)).disconnect()


@pytest.mark.rule("CRED-4")
def test_names_of_the_service(shared_broker: Broker) -> None:
    """`rooms` and `tempo-<n>`, n in plain decimal and at most four digits, with its own role, are all."""
    home = shared_broker.home
    for sub in ("tempo-0", "tempo-17", "tempo-9999"):
        shared_broker.service(sub).disconnect()
    wrong = [("rooms", "tempo-0"), ("rooms", "rooms-2"), ("rooms", "t-kim"), ("tempo", "rooms"), ("teacher", "t-kim")]
    wrong += [("tempo", sub) for sub in ("tempo", "tempo-", "tempo-01", "tempo--1", "tempo-10000", "tempo-x", "t-1")]
    for role, sub in wrong:
        token = home.token(home.claims("bandroom", role, sub))
        with pytest.raises(Refused):
            shared_broker.open(f"bandroom_{sub}", f"bandroom/{sub}", token, local=True)
    for tenant in ("lincoln", "bandroom-2"):
        token = home.token(home.claims(tenant, "rooms", "rooms"))
        with pytest.raises(Refused):
            shared_broker.open(f"{tenant}_rooms", f"{tenant}/rooms", token, local=True)


def key_line(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, roles: str = "student") -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"rsa 01234567 {roles} {base64.b64encode(der).decode()}"


WEAK: dict[str, Callable[[], str]] = {
    "1024 bits": lambda: key_line(rsa.generate_private_key(65537, 1024)),  # noqa: S505  (that is the point)
    "another algorithm": lambda: key_line(ec.generate_private_key(ec.SECP256R1())),
    "no key id": lambda: SigningKey("student", "0123456").line,
    "a fifth word": lambda: f"{SigningKey('student').line} more",
    "a short master key": lambda: f"master 2 {'0' * 62}",
    "an empty line": lambda: "",
}


@pytest.mark.rule("CRED-2")
@pytest.mark.parametrize("leg", ["installed"], indirect=True)
@pytest.mark.parametrize("line", WEAK.values(), ids=WEAK.keys())
def test_keys_that_are_not_taken(line: Callable[[], str], home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """A key that is too short, of another algorithm or half a line: the broker does not start, and names the line."""
    home.write_keys(line())
    refused = start_broker(wait=False)
    assert refused.process.wait(10) != 0
    assert "gate: cannot start: keys: line 5" in refused.log


@pytest.mark.rule("CRED-1")
@pytest.mark.parametrize("leg", ["installed"], indirect=True)
def test_no_key_signs_for_devices(home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """Devices have passwords: a key whose line gives it their role, and all others, still signs no device's token."""
    every = SigningKey("teacher,student,viewer,device")
    home.write_keys(every.line)
    broker = start_broker()
    good = home.claims("lincoln", "student", "s-ann", "MUSIC-1234")
    broker.open("lincoln_s-ann", "lincoln/s-ann", home.token(good, every)).disconnect()
    now = int(time.time())
    bad = home.claims("lincoln", "device", "d-drum", "MUSIC-1234") | {"iat": now, "exp": now + 60}
    with pytest.raises(Refused):
        broker.open("lincoln_d-drum", "lincoln/d-drum", home.token(bad, every))
