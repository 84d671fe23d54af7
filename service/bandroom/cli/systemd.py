"""`bandroom systemd`: a unit for this installation, to be put into /etc/systemd/system."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from bandroom.cli.errors import CliError
from bandroom.cli.output import JsonOption, print_json

app = typer.Typer(add_completion=False)
_STATE = Path("/var/lib")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

_UNIT = """\
# bandroom systemd > /etc/systemd/system/bandroom.service; then: systemctl enable --now bandroom
[Unit]
Description=Bandroom, a shared beat for classrooms
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={user}
Environment=BANDROOM_HOME={home}
ExecStart={program} up
# Keys and certificate are read again; a certificate is also noticed by itself.
ExecReload=/bin/kill -HUP $MAINPID
# Asked first, the supervisor ends its parts in order; whatever is left after that is ended by force.
KillMode=mixed
TimeoutStopSec=30
# The first start may have to build the gate.
TimeoutStartSec=300
WatchdogSec=30
Restart=on-failure
RestartSec=2
# A wrong setting, and a folder or port that is in use, do not mend themselves.
RestartPreventExitStatus=2 3
# One part that is killed for want of memory is started again by the supervisor; the others play on.
OOMPolicy=continue
LimitNOFILE=1048576
UMask=0077

{folders}
CacheDirectory=bandroom
Environment=XDG_CACHE_HOME=/var/cache
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@app.command()
def systemd(
    user: Annotated[str, typer.Option("--user", help="Who it runs as.")] = "bandroom",
    home: Annotated[Path, typer.Option("--home", help="The data folder.")] = _STATE / "bandroom",
    low_ports: Annotated[
        bool, typer.Option("--low-ports", help="Allow ports below 1024, 443 say, to be listened on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a systemd unit that runs this installation as a user of its own.

    What else is to be set (--lan, ports, a certificate) goes into bandroom.toml in the data folder.
    """
    text = unit(user, home, low_ports=low_ports)
    if as_json:
        print_json({"unit": text})
    else:
        typer.echo(text, nl=False)


def unit(user: str, home: Path, *, low_ports: bool = False, program: Path | None = None) -> str:
    """The unit's text. Raises ``CliError`` for a user or a path that a unit cannot hold."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        text = f"--user cannot be {user!r}: a user's name has small letters, digits, - and _"
        raise CliError(text, err="bad_request")
    home = Path(os.path.abspath(home))
    program = program or Path(os.path.abspath(sys.argv[0]))
    for path in (home, program):
        if re.search(r"[\s\"'%$\\]", str(path)):
            raise CliError(f"a unit cannot name the path {str(path)!r}: it has spaces or signs", err="bad_request")
    own = home.is_relative_to(_STATE) and home != _STATE
    folders = f"StateDirectory={home.relative_to(_STATE)}\nStateDirectoryMode=0700" if own else f"ReadWritePaths={home}"
    in_homes = any(path.is_relative_to(top) for path in (home, program, Path(sys.prefix)) for top in _HOMES)
    return _UNIT.format(
        user=user,
        home=home,
        program=program,
        folders=folders,
        protect_home="read-only" if in_homes else "yes",
        capabilities="CAP_NET_BIND_SERVICE" if low_ports else "",
    )
