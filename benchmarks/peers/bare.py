"""The bare bus of `benchmarks/bare.py`: the least that a bus of uvloop and msgspec can be, without any of our features."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import sys

import msgspec
import uvloop

from .. import bare
from .peer import Ends, Peer, Ready
from .place import Place, Served
from .roles import main

_sum_of = msgspec.json.Decoder(dict[str, int]).decode
_decode = msgspec.json.Decoder(bare.Message).decode


def start(place: Place) -> Served:
    path = str(place.socket_path())
    broker = place.start([sys.executable, "-m", "benchmarks.bare", "broker", path])
    place.processes.wait_line(broker, b"ready")
    return Served(path, [broker])


def serve(address: str, ready: Ready) -> None:
    """It says itself when it is ready."""
    uvloop.run(bare.serve_worker(address))


def _connected(address: str) -> socket.socket:
    if sys.platform == "win32":
        raise NotImplementedError("the bare bus needs Unix sockets")
    made = socket.socket(socket.AF_UNIX)
    made.connect(address)
    return made


class Blocking:
    def __init__(self, address: str) -> None:
        self._socket = _connected(address)
        self._prefix = secrets.token_hex(3) + "."
        self._numbers = itertools.count()

    def add(self, a: int, b: int) -> int:
        call_id = f"{self._prefix}{next(self._numbers)}"
        self._socket.sendall(bare.frame(call_id, True, {"a": a, "b": b}))
        return _sum_of(_decode(self._socket.recv(65536)[4:]).payload)["sum"]

    def echo(self, data: bytes) -> bytes:
        raise NotImplementedError("the bare bus adds")

    def close(self) -> None:
        self._socket.close()


class Asyncio:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, asyncio.Future[msgspec.Raw]] = {}
        self._numbers = itertools.count()
        self._prefix = secrets.token_hex(3) + "."
        self.peer = bare.Peer(self._receive)

    def _receive(self, _: bare.Peer, received: bytes) -> None:
        message = _decode(received[4:])
        self._waiting.pop(message.call_id).set_result(message.payload)

    async def add(self, a: int, b: int) -> int:
        call_id = f"{self._prefix}{next(self._numbers)}"
        future = self._waiting[call_id] = self._loop.create_future()
        if not self.peer.outbox:
            self._loop.call_soon(self.peer.flush)
        self.peer.outbox.append(bare.frame(call_id, True, {"a": a, "b": b}))
        return _sum_of(await future)["sum"]

    async def echo(self, data: bytes) -> bytes:
        raise NotImplementedError("the bare bus adds")

    async def close(self) -> None:
        self.peer.close()


async def open_asyncio(address: str) -> Asyncio:
    client = Asyncio()
    await asyncio.get_running_loop().create_unix_connection(lambda: client.peer, address)
    return client


PEER = Peer(
    name="bare",
    title="bare bus",
    start=start,
    missing=lambda: "",
    ends=Ends(serve=serve, blocking=Blocking, asyncio=open_asyncio),
    distributions=("uvloop", "msgspec"),
    settings=("uvloop, msgspec and JSON frames over a Unix socket, nothing else",),
    promise="It promises nothing and checks nothing: it shows what this machine makes of the parts that ours is built of.",
    lacks={"echo": "it adds, and nothing else", "events": "it has none"},
)


if __name__ == "__main__":
    main(PEER)
