"""Pyro5: a daemon on a Unix socket, and proxies."""

from __future__ import annotations

from typing import Any

from .peer import Ends, Peer, Ready, not_installed
from .place import Place, Served
from .roles import main

CONNECTIONS = 2000


def missing() -> str:
    return not_installed("Pyro5", "msgpack")


def start(place: Place) -> Served:
    return Served(str(place.socket_path()))


def _configure() -> Any:
    import Pyro5.api

    Pyro5.api.config.SERIALIZER = "msgpack"
    Pyro5.api.config.SERVERTYPE = "thread"
    Pyro5.api.config.THREADPOOL_SIZE = CONNECTIONS
    return Pyro5.api


class Calculator:
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    def echo(self, data: bytes) -> bytes:
        return data


def serve(address: str, ready: Ready) -> None:
    api = _configure()
    daemon = api.Daemon(unixsocket=address)
    daemon.register(api.expose(Calculator)(), objectId="math")
    ready()
    daemon.requestLoop()


class Blocking:
    def __init__(self, address: str) -> None:
        self._proxy = _configure().Proxy(f"PYRO:math@./u:{address}")
        self._proxy._pyroBind()

    def add(self, a: int, b: int) -> int:
        result: int = self._proxy.add(a=a, b=b)["sum"]
        return result

    def echo(self, data: bytes) -> bytes:
        result: bytes = self._proxy.echo(data)
        return result

    def close(self) -> None:
        self._proxy._pyroRelease()


PEER = Peer(
    name="pyro",
    title="Pyro5",
    start=start,
    missing=missing,
    ends=Ends(serve=serve, blocking=Blocking),
    distributions=("Pyro5", "msgpack"),
    settings=(
        "a Unix socket; the serializer msgpack; a thread of the server for each connection, which is its default; the object's "
        "address is known, no name server is asked",
    ),
    promise="No broker but a name server, which is not in the way; a proxy waits for ever unless given a time-out.",
    brokered=False,
    lacks={
        "asyncio": "it blocks",
        "in-flight": "a proxy waits for each answer; its batches are many calls in one message",
        "events": "it has none; callbacks are calls",
    },
)


if __name__ == "__main__":
    main(PEER)
