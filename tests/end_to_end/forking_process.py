"""A client that forks: `forking_process.py blocking|asyncio ADDRESS`. Says what child and parent got of each use of it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipc_broker
import ipc_broker.sync

assert sys.platform != "win32"  # which has no fork


def say(who: str, what: object) -> None:
    print(f"{who}: {what}", flush=True)


def say_error(name: str, use: Callable[[], Any]) -> None:
    try:
        use()
    except ipc_broker.IPCError as error:
        say(f"child {name}", f"{type(error).__name__}: {error}")
    else:
        say(f"child {name}", "nothing was raised")


def say_descriptor(number: int) -> None:
    """What the child has under the number of the connection."""
    try:
        say("child descriptor", os.readlink(f"/proc/self/fd/{number}"))
    except FileNotFoundError:
        say("child descriptor", "closed")


@contextmanager
def child() -> Iterator[bool]:
    """Whether this is the child, which ends here; the parent waits for that."""
    pid = os.fork()
    if pid:
        yield False
        _, status = os.waitpid(pid, 0)
        say("parent", f"the child ended with {status}")
        return
    status = 1
    try:
        yield True
        gc.collect()
        status = 0
    finally:
        os._exit(status)


def blocking(address: str) -> None:
    with ipc_broker.sync.connect(address) as client:
        events = client.subscribe("sensor", "heat")
        stream = client.stream("tape", "run", {"size": 10})
        next(stream)
        number = client.link.transport._socket.fileno()  # type: ignore[union-attr]  # a socket's transport
        with child() as is_child:
            if is_child:
                say_error("call", lambda: client.call("echo", "back", [1]))
                say_error("publish", lambda: client.publish("sensor", "heat", 1))
                say_error("get", lambda: events.get(1))
                say_error("next", lambda: next(stream))
                say_error("has", lambda: client.has("echo"))
                events.close()
                stream.close()
                client.close()
                say_descriptor(number)
                with ipc_broker.sync.connect(address) as another:
                    say("child another", another.call("echo", "back", [2]))
        client.publish("sensor", "heat", 3)
        say("parent event", events.get(10).value)  # type: ignore[union-attr]  # a Gap would fail the test
        say("parent item", next(stream)[0])
        say("parent call", client.call("echo", "back", [4]))


async def with_asyncio(address: str) -> None:
    async with ipc_broker.connect(address) as client:
        events = await client.subscribe("sensor", "heat")
        number = client.link._protocol.transport.get_extra_info("socket").fileno()  # type: ignore[union-attr]  # it has one
        with child() as is_child:
            if is_child:
                say_error("call", lambda: asyncio.run(client.call("echo", "back", [1])))
                say_error("publish", lambda: asyncio.run(client.publish("sensor", "heat", 1)))
                say_error("has", lambda: asyncio.run(client.has("echo")))
                asyncio.run(client.close())
                say_descriptor(number)
        await client.publish("sensor", "heat", 3)
        say("parent event", (await events.get(10)).value)  # type: ignore[union-attr]  # a Gap would fail the test
        say("parent call", await client.call("echo", "back", [4]))


def main() -> None:
    kind, address = sys.argv[1], sys.argv[2]
    if kind == "asyncio":
        asyncio.run(with_asyncio(address))
    else:
        blocking(address)


if __name__ == "__main__":
    main()
