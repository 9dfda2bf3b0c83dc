"""ZeroMQ: pyzmq through two proxies in one process, ROUTER/DEALER for calls and XSUB/XPUB for events."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from . import maths
from .orders import RunBroker
from .peer import Ends, Peer, Ready, Take, not_installed
from .place import Place, Served
from .roles import main

BACKLOG = 2048
ENDPOINTS = ("calls", "workers", "publishers", "subscribers")


def missing() -> str:
    return not_installed("pyzmq")


def start(place: Place) -> Served:
    """The address is the folder of the four sockets, and whether what waits has no limit."""
    for name in ENDPOINTS:
        (place.folder / name).unlink(missing_ok=True)
    address = f"{place.folder}{':wide' if place.wide else ''}"
    broker = place.start_role(PEER.module, msgspec.json.encode(RunBroker(address)).decode())
    for name in ENDPOINTS:
        place.wait_until_it_listens(broker, place.folder / name)
    return Served(address, [broker])


def _socket(context: Any, kind: str, address: str) -> Any:
    import zmq

    made = context.socket(getattr(zmq, kind))
    made.linger = 0
    made.backlog = BACKLOG
    if address.endswith(":wide"):
        made.set_hwm(0)
    return made


def _endpoint(address: str, name: str) -> str:
    return f"ipc://{Path(address.removesuffix(':wide')) / name}"


def _connected(context: Any, kind: str, address: str, name: str) -> Any:
    made = _socket(context, kind, address)
    made.connect(_endpoint(address, name))
    return made


def run_broker(address: str) -> None:
    import zmq

    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4096)

    def bound(kind: str, name: str) -> Any:
        made = _socket(context, kind, address)
        made.bind(_endpoint(address, name))
        return made

    calls = bound("ROUTER", "calls"), bound("DEALER", "workers")
    events = bound("XSUB", "publishers"), bound("XPUB", "subscribers")
    threading.Thread(target=zmq.proxy, args=events, daemon=True).start()
    zmq.proxy(*calls)


def serve(address: str, ready: Ready) -> None:
    import zmq

    worker = _connected(zmq.Context(), "REP", address, "workers")
    ready()
    while True:
        method, call_id, data = worker.recv_multipart()
        worker.send_multipart((call_id, maths.answer(method, data)))


class Blocking:
    def __init__(self, address: str) -> None:
        import zmq

        self._socket = _connected(zmq.Context.instance(), "DEALER", address, "calls")
        self._numbers = 0

    def _call(self, method: bytes, data: bytes) -> bytes:
        self._numbers += 1
        call_id = self._numbers.to_bytes(8, "big")
        self._socket.send_multipart((b"", method, call_id, data))
        _, answered, result = self._socket.recv_multipart()
        if answered != call_id:
            raise RuntimeError("an answer to another call")
        checked: bytes = result
        return checked

    def add(self, a: int, b: int) -> int:
        return maths.sum_of(self._call(maths.ADD, maths.args(a, b)))

    def echo(self, data: bytes) -> bytes:
        return self._call(maths.ECHO, data)

    def close(self) -> None:
        self._socket.close()


class Pipelining:
    def __init__(self, address: str) -> None:
        import zmq

        self._socket = _connected(zmq.Context.instance(), "DEALER", address, "calls")
        self._numbers = 0
        self._waiting: deque[bytes] = deque()

    def begin(self, a: int, b: int) -> None:
        self._numbers += 1
        call_id = self._numbers.to_bytes(8, "big")
        self._waiting.append(call_id)
        self._socket.send_multipart((b"", maths.ADD, call_id, maths.args(a, b)))

    def finish(self) -> int:
        _, answered, result = self._socket.recv_multipart()
        if answered != self._waiting.popleft():
            raise RuntimeError("an answer to another call")
        return maths.sum_of(result)

    def close(self) -> None:
        self._socket.close()


class Asyncio:
    def __init__(self, address: str) -> None:
        import zmq.asyncio

        self._socket = _connected(zmq.asyncio.Context.instance(), "DEALER", address, "calls")
        self._loop = asyncio.get_running_loop()
        self._numbers = 0
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._reader = self._loop.create_task(self._read())

    async def _read(self) -> None:
        while True:
            _, call_id, result = await self._socket.recv_multipart()
            self._waiting.pop(call_id).set_result(result)

    async def _call(self, method: bytes, data: bytes) -> bytes:
        self._numbers += 1
        call_id = self._numbers.to_bytes(8, "big")
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[call_id] = future
        await self._socket.send_multipart((b"", method, call_id, data))
        return await future

    async def add(self, a: int, b: int) -> int:
        return maths.sum_of(await self._call(maths.ADD, maths.args(a, b)))

    async def echo(self, data: bytes) -> bytes:
        return await self._call(maths.ECHO, data)

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        self._socket.close()


async def open_asyncio(address: str) -> Asyncio:
    return Asyncio(address)


class Publisher:
    def __init__(self, address: str) -> None:
        import zmq

        self._socket = _connected(zmq.Context.instance(), "PUB", address, "publishers")

    def publish(self, topic: str, data: bytes) -> None:
        self._socket.send_multipart((topic.encode(), data))

    def flush(self) -> None:
        """ZeroMQ sends in a thread of its own, and does not tell when it has."""

    def close(self) -> None:
        self._socket.close()


def subscribe(address: str, topic: str, take: Take) -> None:
    import zmq

    socket = _connected(zmq.Context.instance(), "SUB", address, "subscribers")
    socket.subscribe(topic)
    while True:
        _, data = socket.recv_multipart()
        if take(data):
            break
    socket.close()


PEER = Peer(
    name="zeromq",
    title="ZeroMQ (proxies)",
    start=start,
    missing=missing,
    ends=Ends(
        serve=serve,
        blocking=Blocking,
        asyncio=open_asyncio,
        pipelining=Pipelining,
        publisher=Publisher,
        subscriber=subscribe,
        broker=run_broker,
    ),
    distributions=("pyzmq",),
    settings=(
        "`ipc://` sockets; `zmq.proxy`, which is a loop in C, for both proxies; multipart messages of bytes",
        "blocking sockets for calls in flight and events, as they are faster than `zmq.asyncio`; uvloop for the latter",
        "but for the burst, no high-water mark, so that nothing is dropped and memory is the limit",
    ),
    promise=(
        "No delivery is promised: a publisher drops what is over the high-water mark (1,000 messages unless told otherwise), "
        "and a call to a worker that has gone is never answered."
    ),
)


if __name__ == "__main__":
    main(PEER)
