"""D-Bus on dbus-broker. Its launcher takes a listening socket as systemd hands it over, and logs to the journal only."""

from __future__ import annotations

import os
import socket
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


def missing() -> str:
    if reason := not_installed("dbus-fast") or no_program(PROGRAM, "dbus-broker"):
        return reason
    return "" if JOURNAL.exists() else f"{PROGRAM} does not start without systemd's journal ({JOURNAL})"


def start(place: Place) -> Served:
    path = place.socket_path()
    place.write("dbus.conf", dbus.CONFIG.format(path=path))
    order = msgspec.json.encode(RunBroker(str(path))).decode()
    launcher = place.start_role(PEER.module, order)
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
    programs={"dbus-broker": ("dbus-broker-launch", "--version")},
)


if __name__ == "__main__":
    main(PEER)
