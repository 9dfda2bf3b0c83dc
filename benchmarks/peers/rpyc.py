"""RPyC: a threaded server on a Unix socket, whose service is called by its root's methods."""

from __future__ import annotations

from collections import deque
from typing import Any

from .peer import Ends, Peer, Ready, not_installed
from .place import Place, Served
from .roles import main

CONFIG = {"allow_pickle": True}
BACKLOG = 1024


def missing() -> str:
    return not_installed("rpyc")


def start(place: Place) -> Served:
    return Served(str(place.socket_path()))


def _add(self: object, a: int, b: int) -> int:
    return a + b


def _echo(self: object, data: bytes) -> bytes:
    return data


def serve(address: str, ready: Ready) -> None:
    import rpyc
    from rpyc.utils.server import ThreadedServer

    service = type("Math", (rpyc.Service,), {"exposed_add": _add, "exposed_echo": _echo})
    server = ThreadedServer(service(), socket_path=address, backlog=BACKLOG, protocol_config=CONFIG)
    ready()
    server.start()


def _connect(address: str) -> Any:
    import rpyc

    return rpyc.utils.factory.unix_connect(address, config=CONFIG)


class Blocking:
    def __init__(self, address: str) -> None:
        self._connection = _connect(address)
        self._add = self._connection.root.add
        self._echo = self._connection.root.echo

    def add(self, a: int, b: int) -> int:
        result: int = self._add(a, b)
        return result

    def echo(self, data: bytes) -> bytes:
        result: bytes = self._echo(data)
        return result

    def close(self) -> None:
        self._connection.close()


class Pipelining:
    def __init__(self, address: str) -> None:
        import rpyc

        self._connection = _connect(address)
        self._add = rpyc.async_(self._connection.root.add)
        self._waiting: deque[Any] = deque()

    def begin(self, a: int, b: int) -> None:
        self._waiting.append(self._add(a, b))

    def finish(self) -> int:
        result: int = self._waiting.popleft().value
        return result

    def close(self) -> None:
        self._connection.close()


PEER = Peer(
    name="rpyc",
    title="RPyC",
    start=start,
    missing=missing,
    ends=Ends(serve=serve, blocking=Blocking, pipelining=Pipelining),
    distributions=("rpyc",),
    settings=(
        "a Unix socket; a thread of the server for each connection; the remote method is looked up once and kept; numbers and "
        "bytes go by value; `allow_pickle`; `async_` for calls in flight",
    ),
    promise=(
        "No broker and full trust: a client reaches the server's objects themselves, which is not for programs that do not "
        "trust each other."
    ),
    brokered=False,
    lacks={"asyncio": "it blocks", "events": "it has none; callbacks are calls"},
)


if __name__ == "__main__":
    main(PEER)
