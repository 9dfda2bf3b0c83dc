"""Redis: publish/subscribe for events, and for calls what its users do, lists as queues of requests and of replies."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

import msgspec

from . import maths
from .peer import Ends, Peer, Ready, Take, not_installed
from .place import Place, Served, find_program, no_program
from .roles import main

REQUESTS = "math"
LAST = 0
"""The number of a reply that ends its reader; calls count from 1."""

TOGETHER = 100
"""Publishes that are sent in one pipeline, and requests or replies that are taken at once."""


class Request(msgspec.Struct, array_like=True, frozen=True):
    number: int
    method: str
    data: bytes
    reply_to: str


class Reply(msgspec.Struct, array_like=True, frozen=True):
    number: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


def missing() -> str:
    return not_installed("redis", "hiredis") or no_program("redis-server", "redis-server")


def start(place: Place) -> Served:
    path = place.socket_path()
    settings = [
        "port 0",
        f"unixsocket {path}",
        'save ""',
        "appendonly no",
        "maxclients 12000",
        "tcp-backlog 2048",
        f"dir {place.folder}",
        f"logfile {place.folder / 'redis.log'}",
        *(["client-output-buffer-limit pubsub 0 0 0"] if place.wide else []),
    ]
    config = place.write("redis.conf", "\n".join(settings) + "\n")
    server = place.start([str(find_program("redis-server")), str(config)])
    place.wait_until_it_listens(server, path)
    return Served(str(path), [server])


def _connect(address: str) -> Any:
    import redis

    return redis.Redis(unix_socket_path=address, single_connection_client=True)


def _connect_asyncio(address: str) -> Any:
    import redis.asyncio

    return redis.asyncio.Redis(unix_socket_path=address)


def serve(address: str, ready: Ready) -> None:
    """Takes all requests that wait, and answers them by one pipeline."""
    client = _connect(address)
    ready()
    while True:
        _, waiting = client.blmpop(0, 1, REQUESTS, direction="LEFT", count=TOGETHER)
        pipeline = client.pipeline(transaction=False)
        for packed in waiting:
            request = _decode_request(packed)
            data = maths.answer(request.method, request.data)
            pipeline.rpush(request.reply_to, _encode(Reply(request.number, data)))
        pipeline.execute()


class Blocking:
    """Pushes the request and waits for the reply in one round trip to the server."""

    def __init__(self, address: str) -> None:
        self._client = _connect(address)
        self._reply_to = f"reply.{secrets.token_hex(6)}"
        self._numbers = 0

    def _call(self, method: str, data: bytes) -> bytes:
        self._numbers += 1
        pipeline = self._client.pipeline(transaction=False)
        pipeline.rpush(REQUESTS, _encode(Request(self._numbers, method, data, self._reply_to)))
        pipeline.blpop(self._reply_to, timeout=0)
        reply = _decode_reply(pipeline.execute()[1][1])
        if reply.number != self._numbers:
            raise RuntimeError("an answer to another call")
        return reply.data

    def add(self, a: int, b: int) -> int:
        return maths.sum_of(self._call("add", maths.args(a, b)))

    def echo(self, data: bytes) -> bytes:
        return self._call("echo", data)

    def close(self) -> None:
        self._client.close()


class Asyncio:
    """Requests of one turn of the loop are sent in one pipeline; a second connection waits for the replies."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._reply_to = f"reply.{secrets.token_hex(6)}"
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._unsent: list[bytes] = []
        self._any = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reader, self._sender = (self._loop.create_task(work) for work in (self._read(), self._send()))

    async def _read(self) -> None:
        while True:
            _, replies = await self._client.blmpop(0, 1, self._reply_to, direction="LEFT", count=TOGETHER)
            for packed in replies:
                reply = _decode_reply(packed)
                if reply.number == LAST:
                    return
                self._waiting.pop(reply.number).set_result(reply.data)

    async def _send(self) -> None:
        while True:
            await self._any.wait()
            self._any.clear()
            unsent, self._unsent = self._unsent, []
            await self._client.rpush(REQUESTS, *unsent)

    async def _call(self, method: str, data: bytes) -> bytes:
        self._numbers += 1
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[self._numbers] = future
        self._unsent.append(_encode(Request(self._numbers, method, data, self._reply_to)))
        self._any.set()
        return await future

    async def add(self, a: int, b: int) -> int:
        return maths.sum_of(await self._call("add", maths.args(a, b)))

    async def echo(self, data: bytes) -> bytes:
        return await self._call("echo", data)

    async def close(self) -> None:
        """The reader is told, as redis-py lets nobody cancel a command that blocks."""
        await self._client.rpush(self._reply_to, _encode(Reply(LAST, b"")))
        await self._reader
        self._sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sender
        await self._client.aclose()


async def open_asyncio(address: str) -> Asyncio:
    return Asyncio(_connect_asyncio(address))


class Publisher:
    """By pipelines, as each command's answer is waited for otherwise."""

    def __init__(self, address: str) -> None:
        self._client = _connect(address)
        self._pipeline = self._client.pipeline(transaction=False)

    def publish(self, topic: str, data: bytes) -> None:
        self._pipeline.publish(topic, data)
        if len(self._pipeline) >= TOGETHER:
            self._pipeline.execute()

    def flush(self) -> None:
        self._pipeline.execute()

    def close(self) -> None:
        self._client.close()


def subscribe(address: str, topic: str, take: Take) -> None:
    client = _connect(address)
    with client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(topic)
        for message in subscription.listen():
            if take(message["data"]):
                break
    client.close()


PEER = Peer(
    name="redis",
    title="Redis",
    start=start,
    missing=missing,
    ends=Ends(
        serve=serve,
        blocking=Blocking,
        asyncio=open_asyncio,
        publisher=Publisher,
        subscriber=subscribe,
    ),
    distributions=("redis", "hiredis"),
    programs={"redis-server": ("redis-server", "--version")},
    settings=(
        "a Unix socket, nothing is written to disk; redis-py with hiredis, uvloop in its asyncio client",
        f"publishes by pipelines of {TOGETHER}, without transactions",
        "calls by lists: RPUSH of the request and BLPOP of the reply in one pipeline, a list of replies for each client; the "
        "worker takes what waits together",
        "blocking clients for events, as they are faster than its asyncio ones",
        "but for the burst, no limit on the output buffers of subscribers",
    ),
    promise=(
        "Publish/subscribe is at most once: a subscriber whose output buffer is over the limit is disconnected; a request in a "
        "list waits for a worker for ever, and is lost with the worker that took it."
    ),
)


if __name__ == "__main__":
    main(PEER)
