"""gRPC: grpcio over a Unix socket, with bytes in place of Protocol Buffers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import maths
from .peer import Ends, Peer, Ready, not_installed
from .place import Place, Served
from .roles import main

THREADS = 16
ADD, ECHO = "/bench.Math/Add", "/bench.Math/Echo"
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.optimization_target", "latency"),
)


def missing() -> str:
    return not_installed("grpcio")


def start(place: Place) -> Served:
    return Served(f"unix:{place.socket_path()}")


def serve(address: str, ready: Ready) -> None:
    import grpc

    def add(data: bytes, _: object) -> bytes:
        return maths.answer(maths.ADD, data)

    def echo(data: bytes, _: object) -> bytes:
        return data

    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in (("Add", add), ("Echo", echo))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Math", handlers),))
    server.add_insecure_port(address)
    server.start()
    ready()
    server.wait_for_termination()


class Blocking:
    def __init__(self, address: str) -> None:
        import grpc
        import grpc.experimental

        options = (*OPTIONS, (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1))
        self._channel = grpc.insecure_channel(address, options=options)
        grpc.channel_ready_future(self._channel).result(timeout=30)
        self._add = self._channel.unary_unary(ADD)
        self._echo = self._channel.unary_unary(ECHO)

    def add(self, a: int, b: int) -> int:
        return maths.sum_of(self._add(maths.args(a, b)))

    def echo(self, data: bytes) -> bytes:
        result: bytes = self._echo(data)
        return result

    def close(self) -> None:
        self._channel.close()


class Asyncio:
    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._add = channel.unary_unary(ADD)
        self._echo = channel.unary_unary(ECHO)

    async def add(self, a: int, b: int) -> int:
        return maths.sum_of(await self._add(maths.args(a, b)))

    async def echo(self, data: bytes) -> bytes:
        result: bytes = await self._echo(data)
        return result

    async def close(self) -> None:
        await self._channel.close()


async def open_asyncio(address: str) -> Asyncio:
    import grpc.aio

    channel = grpc.aio.insecure_channel(address, options=OPTIONS)
    await channel.channel_ready()
    return Asyncio(channel)


PEER = Peer(
    name="grpc",
    title="gRPC",
    start=start,
    missing=missing,
    ends=Ends(serve=serve, blocking=Blocking, asyncio=open_asyncio),
    distributions=("grpcio",),
    settings=(
        "a Unix socket; one channel for each client, used again; messages are bytes, without Protocol Buffers",
        "a server with threads, which here is faster than the asyncio one; uvloop at the asyncio client",
        "`SingleThreadedUnaryStream` at the blocking client; `grpc.optimization_target` is latency",
    ),
    promise=(
        "No broker: who calls must know the server's address. Deadlines and cancellation reach the server; nothing is lost in "
        "silence."
    ),
    brokered=False,
    lacks={"events": "it has no publish/subscribe; a server would have to keep its subscribers itself, as streams"},
)


if __name__ == "__main__":
    main(PEER)
