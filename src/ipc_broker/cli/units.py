"""The units by which systemd runs the broker: a socket, at which programs can connect from the start, and the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Scope = Literal["user", "system"]

WATCHDOG = 30
"""Seconds without a sign of life after which systemd ends the broker and starts it again."""


class Unit(NamedTuple):
    file: str
    text: str


def units_for(scope: Scope, command: Sequence[str]) -> list[Unit]:
    """`command` starts the broker."""
    return [
        Unit("ipc-broker.socket", _socket(scope)),
        Unit("ipc-broker.service", _service(scope, command)),
    ]


SOCKETS: dict[Scope, str] = {"user": "/tmp/ipc_broker.sock", "system": "/run/ipc-broker/bus.sock"}
"""Where programs look anyway; and where only root can put a socket, so that nobody else can be there first."""


def _socket(scope: Scope) -> str:
    comment = {
        "user": "# Where programs look when nobody tells them otherwise. For them only whom the broker lets in counts.\n",
        "system": "# Everybody may knock: whom the broker lets in its settings allow_users and allow_groups say.\n",
    }[scope]
    mode = {"user": "0600", "system": "0666"}[scope]
    return f"""\
[Unit]
Description=The socket of ipc-broker
Documentation=https://pypi.org/project/ipc-broker/

[Socket]
{comment}ListenStream={SOCKETS[scope]}
SocketMode={mode}
Backlog=4096

[Install]
WantedBy=sockets.target
"""


def _service(scope: Scope, command: Sequence[str]) -> str:
    return f"""\
[Unit]
Description=ipc-broker, the bus that lets the programs on this machine talk
Documentation=https://pypi.org/project/ipc-broker/
Requires=ipc-broker.socket
After=ipc-broker.socket
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={_command_line(*command)}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
WatchdogSec={WATCHDOG}
# Ten seconds for services to drain, five for calls in flight.
TimeoutStopSec=30
LimitNOFILE=65536:1048576
{_HARDENING[scope]}
[Install]
WantedBy={"default.target" if scope == "user" else "multi-user.target"}
Also=ipc-broker.socket
"""


_EVERYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
UMask=0077
"""

_HARDENING: dict[Scope, str] = {
    "user": f"""
# These hold for the services too that the broker starts with exec: whoever needs more is given a unit (systemd_unit).
{_EVERYWHERE}""",
    "system": f"""
# A user that is there only while the broker runs; units of systemd it may start as polkit says.
DynamicUser=yes
# So that /etc/ipc-broker is the configuration folder. All must be able to read there: the file of tokens has only hashes.
Environment=XDG_CONFIG_HOME=/etc
# These hold for the services too that the broker starts with exec: whoever needs more is given a unit (systemd_unit).
{_EVERYWHERE}CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
RestrictNamespaces=yes
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
""",
}


def _command_line(program: str, *arguments: str) -> str:
    """Variables are looked for in the arguments only."""
    return " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in arguments)])


def _quoted(word: str) -> str:
    """A word as systemd.service(5) reads it in a command line, for itself and nothing else."""
    word = word.replace("%", "%%")
    if word and all(char.isalnum() or char in "-_./:=,+@%$" for char in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
