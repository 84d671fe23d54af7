"""A broker that somebody else starts (a container, by broker/start.sh) takes new keys and certificates by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bandroom.paths import Home
from bandroom.supervisor.gate import find_gate
from bandroom.testing import wait_until

from .certificates import NAME, Authority
from .test_tls import shown_by

StartStack = Callable[..., Any]
SCRIPT = Path(__file__).parents[3] / "broker" / "start.sh"


@pytest.fixture
def broker(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """start.sh, waiting for the configuration that `up` will write."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    process = subprocess.Popen([str(SCRIPT), str(home.broker_conf)], env={**os.environ, "PATH": path})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def test_new_keys_and_certificate(
    start_stack: StartStack,
    home: Home,
    free_port: Callable[[], int],
    tmp_path: Path,
    broker: subprocess.Popen[bytes],
) -> None:
    """`keys rotate` succeeds, a renewed certificate is shown, a changed configuration takes effect; told to end, the
    script ends its broker.
    """
    authority = Authority(tmp_path / "certificates")
    files = authority.sign("server", NAME)
    elsewhere = {"BANDROOM_EXTERNAL_BROKER": "true", "BANDROOM_GATE": str(find_gate(home))}
    mqtt = ("--mqtt-port", str(free_port()))
    plain = start_stack(home, *mqtt, **elsewhere)
    assert plain.stop() == 0
    tls = ("--mqtts-port", str(free_port()), "--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    stack = start_stack(home, *mqtt, "--https-port", "0", *tls, **elsewhere)
    port = stack.info.tls.mqtts_port

    def shows() -> str:
        try:
            return shown_by("127.0.0.1", port, authority)
        except OSError:
            return ""

    wait_until(lambda: shows() == files.fingerprint, timeout_s=20, what="the listener with TLS")
    stack.cli("keys", "rotate")
    files = authority.sign("server", NAME)
    wait_until(lambda: shows() == files.fingerprint, timeout_s=20, what="the new certificate")
    assert stack.stop() == 0
    assert broker.poll() is None
    broker.terminate()
    assert broker.wait(10) == 0
    assert not home.broker_socket.exists() or shows() == ""
