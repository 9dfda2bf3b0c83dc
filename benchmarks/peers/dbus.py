"""D-Bus: dbus-fast on dbus-daemon, by plain messages, which is the fastest that it offers."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from .peer import Ends, Peer, Ready, Take, not_installed
from .place import Place, Served, no_program
from .roles import main

NAME, PATH, INTERFACE = "org.example.Math", "/org/example/Math", "org.example.Math"
BUS = {"destination": "org.freedesktop.DBus", "path": "/org/freedesktop/DBus", "interface": "org.freedesktop.DBus"}

MOST_SIGNALS, MOST_BYTES = 100, 64 * 1024
"""Of a publisher, until it asks the bus for an answer."""

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_completed_connections">100000</limit>
  <limit name="max_incomplete_connections">10000</limit>
  <limit name="max_connections_per_user">100000</limit>
  <limit name="max_pending_service_starts">10000</limit>
  <limit name="max_names_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">50000</limit>
  <limit name="max_replies_per_connection">50000</limit>
</busconfig>
"""
"""The limits are those that D-Bus ships for its session bus, which thereby is meant to refuse nobody."""


def missing() -> str:
    return not_installed("dbus-fast") or no_program("dbus-daemon", "dbus-daemon")


def start(place: Place) -> Served:
    path = place.socket_path()
    config = place.write("dbus.conf", CONFIG.format(path=path))
    daemon = place.start(["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"])
    place.wait_until_it_listens(daemon, path)
    return Served(f"unix:path={path}", [daemon])


async def _connect(address: str) -> Any:
    from dbus_fast.aio import MessageBus

    return await MessageBus(bus_address=address).connect()


def serve(address: str, ready: Ready) -> None:
    from dbus_fast import Message, MessageType

    async def run() -> None:
        bus = await _connect(address)

        def answer(message: Message) -> Any:
            if message.message_type is not MessageType.METHOD_CALL or message.interface != INTERFACE:
                return None
            if message.member == "Add":
                a, b = message.body
                return Message.new_method_return(message, "i", [a + b])
            return Message.new_method_return(message, "ay", message.body)

        bus.add_message_handler(answer)
        await bus.request_name(NAME)
        ready()
        await asyncio.Event().wait()

    uvloop.run(run())


class Asyncio:
    def __init__(self, bus: Any) -> None:
        from dbus_fast import Message, MessageType

        self._bus = bus
        self._message = Message
        self._error = MessageType.ERROR

    async def _call(self, member: str, signature: str, body: list[object]) -> Any:
        message = self._message(
            destination=NAME, path=PATH, interface=INTERFACE, member=member, signature=signature, body=body
        )
        reply = await self._bus.call(message)
        if reply.message_type is self._error:
            raise RuntimeError(f"{reply.error_name}: {reply.body}")
        return reply.body[0]

    async def add(self, a: int, b: int) -> int:
        result: int = await self._call("Add", "ii", [a, b])
        return result

    async def echo(self, data: bytes) -> bytes:
        result: bytes = await self._call("Echo", "ay", [data])
        return result

    async def close(self) -> None:
        self._bus.disconnect()


async def open_asyncio(address: str) -> Asyncio:
    return Asyncio(await _connect(address))


class Publisher:
    """dbus-fast ends the connection when the kernel takes no more, so the bus is asked for an answer now and then."""

    def __init__(self, bus: Any) -> None:
        from dbus_fast import Message

        self._bus = bus
        self._message = Message
        self._signal = Message.new_signal
        self._signals = self._bytes = 0

    async def publish(self, topic: str, data: bytes) -> None:
        await self._bus.send(self._signal(PATH, INTERFACE, topic, "ay", [data]))
        self._signals += 1
        self._bytes += len(data)
        if self._signals == MOST_SIGNALS or self._bytes >= MOST_BYTES:
            await self.flush()

    async def flush(self) -> None:
        self._signals = self._bytes = 0
        await self._bus.call(self._message(member="GetId", **BUS))

    async def close(self) -> None:
        self._bus.disconnect()


async def open_publisher(address: str) -> Publisher:
    return Publisher(await _connect(address))


async def subscribe(address: str, topic: str, take: Take) -> None:
    from dbus_fast import Message

    bus = await _connect(address)
    ended = asyncio.get_running_loop().create_future()

    def receive(message: Message) -> None:
        if message.member == topic and not ended.done() and take(message.body[0]):
            ended.set_result(None)

    bus.add_message_handler(receive)
    await bus.call(
        Message(
            member="AddMatch",
            signature="s",
            **BUS,
            body=[f"type='signal',interface='{INTERFACE}',member='{topic}'"],
        )
    )
    await ended
    bus.disconnect()


ENDS = Ends(serve=serve, asyncio=open_asyncio, asyncio_publisher=open_publisher, asyncio_subscriber=subscribe)
SETTINGS = (
    "uvloop; a Unix socket; dbus-fast's compiled modules",
    "messages by `MessageBus.call` and `add_message_handler`, without proxies, introspection and checks of signatures",
    "a publisher asks the bus for an answer after 100 signals or 64 KiB: dbus-fast ends a connection whose socket is full",
    "the limits of D-Bus's own session bus, which are as good as none",
)

PEER = Peer(
    name="dbus",
    title="D-Bus (dbus-daemon)",
    start=start,
    missing=missing,
    ends=ENDS,
    distributions=("dbus-fast",),
    programs={"dbus-daemon": ("dbus-daemon", "--version")},
    settings=SETTINGS,
    promise="Signals are ordered and not dropped; a connection whose backlog is over the limit gets no more messages.",
    lacks={"blocking": "dbus-fast has an asyncio client only"},
    one_at_a_time="asyncio",
)


if __name__ == "__main__":
    main(PEER)
