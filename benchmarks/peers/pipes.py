"""multiprocessing.connection of the standard library: a listener with a thread for each connection."""

from __future__ import annotations

import threading
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener

from . import maths
from .peer import Ends, Peer, Ready
from .place import Place, Served
from .roles import main

METHODS = {b"a": maths.ADD, b"e": maths.ECHO}
BACKLOG = 1024


def start(place: Place) -> Served:
    return Served(str(place.socket_path()))


def serve(address: str, ready: Ready) -> None:
    with Listener(address, "AF_UNIX", backlog=BACKLOG) as listener:
        ready()
        while True:
            threading.Thread(target=_serve_one, args=(listener.accept(),), daemon=True).start()


def _serve_one(connection: Connection) -> None:
    with connection, suppress(EOFError, ConnectionResetError):
        while True:
            data = connection.recv_bytes()
            connection.send_bytes(maths.answer(METHODS[data[:1]], data[1:]))


class Blocking:
    def __init__(self, address: str) -> None:
        self._connection = Client(address, "AF_UNIX")

    def add(self, a: int, b: int) -> int:
        self._connection.send_bytes(b"a" + maths.args(a, b))
        return maths.sum_of(self._connection.recv_bytes())

    def echo(self, data: bytes) -> bytes:
        self._connection.send_bytes(b"e" + data)
        return self._connection.recv_bytes()

    def close(self) -> None:
        self._connection.close()


PEER = Peer(
    name="pipes",
    title="multiprocessing.connection",
    start=start,
    missing=lambda: "",
    ends=Ends(serve=serve, blocking=Blocking),
    settings=(
        "a Unix socket; `send_bytes` and `recv_bytes`, which pickle nothing; arguments in MessagePack; a thread of the "
        "server for each connection; no `authkey`",
    ),
    promise=(
        "No broker and no names: a pipe between two processes; who calls must know where, and a caller has no time-out."
    ),
    brokered=False,
    lacks={
        "asyncio": "it blocks",
        "in-flight": "a connection answers one request at a time",
        "events": "a pipe has one other end: nobody subscribes to it",
    },
)


if __name__ == "__main__":
    main(PEER)
