"""D-Bus on dbus-broker. Its launcher takes a listening socket as systemd hands it over, and logs to the journal only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

from . import dbus
from .orders import RunBroker
from .peer import not_installed
from .place import Place, Served, no_program
from .roles import main

LISTENER = 3
"""The descriptor where sockets that are handed over begin."""
JOURNAL = Path("/run/systemd/journal/socket")
PROGRAM = "dbus-broker-launch"

OWN_RUN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")
"""What stands before a command that is to see a `/run` of its own, where a journal can be put; it takes root."""


def missing() -> str:
    if reason := not_installed("dbus-fast") or no_program(PROGRAM, "dbus-broker"):
        return reason
    if JOURNAL.exists() or subprocess.run([*OWN_RUN, "true"], capture_output=True, check=False).returncode == 0:
        return ""
    return f"{PROGRAM} does not start without systemd's journal"


def start(place: Place) -> Served:
    path = place.socket_path()
    place.write("dbus.conf", dbus.CONFIG.format(path=path))
    order = msgspec.json.encode(RunBroker(str(path))).decode()
    command = [sys.executable, "-m", PEER.module, order]
    launcher = place.start(command if JOURNAL.exists() else [*OWN_RUN, *command])
    place.wait_until_it_listens(launcher, path)
    return Served(f"unix:path={path}", [launcher])


def launch(address: str) -> None:
    """Becomes the launcher, which starts the broker as its child."""
    if sys.platform == "win32":
        raise SystemExit("dbus-broker needs Unix sockets")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.dup2(listener.fileno(), LISTENER)
    os.set_inheritable(LISTENER, True)  # also where it was that descriptor already
    if not JOURNAL.exists():  # in a /run of its own: nobody reads it, and what is over its queue is dropped
        JOURNAL.parent.mkdir(parents=True)
        journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        journal.bind(str(JOURNAL))
        journal.set_inheritable(True)
    folder = Path(address).parent
    handed_over = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "dbus.socket"}
    places = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={address}", "XDG_RUNTIME_DIR": str(folder)}
    command = [PROGRAM, "--scope", "user", "--config-file", str(folder / "dbus.conf")]
    os.execvpe(PROGRAM, command, os.environ | handed_over | places)


PEER = replace(
    dbus.PEER,
    name="dbus-broker",
    title="D-Bus (dbus-broker)",
    start=start,
    missing=missing,
    ends=replace(dbus.ENDS, broker=launch),
    settings=(*dbus.SETTINGS, "a socket that nobody reads stands in for systemd's journal where that is not there"),
    programs={"dbus-broker": ("dbus-broker-launch", "--version")},
)


if __name__ == "__main__":
    main(PEER)
