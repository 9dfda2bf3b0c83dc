"""MQTT: aiomqtt on mosquitto, with MQTT 5's response topics and correlation data for calls."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from . import maths
from .peer import Ends, Peer, Ready, Take, not_installed
from .place import Place, Served, find_program, no_program
from .roles import main

REQUESTS = "math"


def missing() -> str:
    return not_installed("aiomqtt") or no_program("mosquitto", "mosquitto")


def start(place: Place) -> Served:
    path = place.socket_path()
    settings = [
        f"listener 0 {path}",
        "allow_anonymous true",
        "persistence false",
        "log_dest none",
        *(["user root"] if sys.platform != "win32" and os.geteuid() == 0 else []),
        *(["max_queued_messages 0"] if place.wide else []),
    ]
    config = place.write("mosquitto.conf", "\n".join(settings) + "\n")
    server = place.start([str(find_program("mosquitto")), "-c", str(config)])
    place.wait_until_it_listens(server, path)
    return Served(str(path), [server])


def _client(address: str) -> Any:
    import aiomqtt

    quiet = logging.getLogger("mqtt")
    quiet.setLevel(logging.ERROR)
    return aiomqtt.Client(address, transport="unix", protocol=aiomqtt.ProtocolVersion.V5, logger=quiet)


def serve(address: str, ready: Ready) -> None:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    async def run() -> None:
        async with _client(address) as client:
            await client.subscribe(f"{REQUESTS}/+")
            ready()
            async for message in client.messages:
                method = message.topic.value.rpartition("/")[2]
                properties = Properties(PacketTypes.PUBLISH)
                properties.CorrelationData = message.properties.CorrelationData
                answer = maths.answer(method, message.payload)
                await client.publish(message.properties.ResponseTopic, answer, properties=properties)

    uvloop.run(run())


class Asyncio:
    def __init__(self, client: Any) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self._client = client
        self._properties: Callable[[], Any] = functools.partial(Properties, PacketTypes.PUBLISH)
        self.replies = f"replies/{secrets.token_hex(6)}"
        self._numbers = 0
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._reader = self._loop.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._client.messages:
            self._waiting.pop(message.properties.CorrelationData).set_result(message.payload)

    async def _call(self, method: str, data: bytes) -> bytes:
        self._numbers += 1
        call_id = self._numbers.to_bytes(8, "big")
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[call_id] = future
        properties = self._properties()
        properties.ResponseTopic = self.replies
        properties.CorrelationData = call_id
        await self._client.publish(f"{REQUESTS}/{method}", data, properties=properties)
        return await future

    async def add(self, a: int, b: int) -> int:
        return maths.sum_of(await self._call("add", maths.args(a, b)))

    async def echo(self, data: bytes) -> bytes:
        return await self._call("echo", data)

    async def close(self) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._client.__aexit__(None, None, None)


async def open_asyncio(address: str) -> Asyncio:
    client = _client(address)
    await client.__aenter__()
    opened = Asyncio(client)
    await client.subscribe(opened.replies)
    return opened


class Publisher:
    def __init__(self, client: Any) -> None:
        self._client = client
        self.publish = client.publish

    async def flush(self) -> None:
        """aiomqtt's `publish` returns when the bytes are with the kernel."""

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


async def open_publisher(address: str) -> Publisher:
    client = _client(address)
    await client.__aenter__()
    return Publisher(client)


async def subscribe(address: str, topic: str, take: Take) -> None:
    async with _client(address) as client:
        await client.subscribe(topic)
        async for message in client.messages:
            if take(message.payload):
                break


PEER = Peer(
    name="mqtt",
    title="MQTT (mosquitto)",
    start=start,
    missing=missing,
    ends=Ends(serve=serve, asyncio=open_asyncio, asyncio_publisher=open_publisher, asyncio_subscriber=subscribe),
    distributions=("aiomqtt", "paho-mqtt"),
    programs={"mosquitto": ("mosquitto", "-h")},
    settings=(
        "uvloop; a Unix socket; quality of service 0, the fastest; mosquitto without persistence and log",
        "calls by MQTT 5's response topic and correlation data",
        "but for the burst, mosquitto with `max_queued_messages 0`",
    ),
    promise=(
        "With quality of service 0 at most once; 1 and 2 deliver after a reconnect too, and cost round trips. A request that "
        "nobody serves is not answered."
    ),
    lacks={"blocking": "aiomqtt has an asyncio client only"},
    one_at_a_time="asyncio",
)


if __name__ == "__main__":
    main(PEER)
