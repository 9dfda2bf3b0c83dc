"""A stand-in for the seed's broker, with its limits and its faults.

It speaks the seed's messages and nothing else. Where their document is silent it does what is hardest on its peers:
each `Subscribe` counts, so whoever subscribes twice gets each event twice.
"""

import asyncio
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from tests.seed.address import split_tcp
from tests.seed.decoding import InvalidMessage, decode
from tests.seed.frames import Json, OverlongFrame, frame, read_frame

logger = logging.getLogger(__name__)

DEFAULT_ADDRESS = "tcp://127.0.0.1:0" if sys.platform == "win32" else "unix://"


class SeedBroker:
    """Serves while its `async with` block runs; `address` is then where.

    `unix://` alone takes a new temporary path, port 0 a free port. While `not_ready` is true the broker does not know
    its own object `rob` yet; the first `Call` of it is answered with an `Error` and ends that state.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, not_ready: bool = False) -> None:
        self.address = address
        self.not_ready = not_ready
        self.ignored: list[bytes] = []  # bodies that were no messages
        self.services: dict[str, str] = {}  # object name -> unit; nothing is ever started
        self._owners: dict[str, asyncio.StreamWriter] = {}
        self._callers: dict[str, asyncio.StreamWriter] = {}  # call id -> who waits for its answer
        self._subscribers: dict[tuple[str, str], list[asyncio.StreamWriter]] = {}
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        if self.address.startswith("tcp://"):
            self._server = await asyncio.start_server(self._connected, *split_tcp(self.address))
            host, port = self._server.sockets[0].getsockname()[:2]
            self.address = f"tcp://{host}:{port}"
        elif sys.platform == "win32":
            raise ValueError(f"{self.address!r}: only tcp:// works on this platform")
        else:
            if self.address == "unix://":
                self._folder = tempfile.TemporaryDirectory(prefix="seed-")
                self.address = f"unix://{self._folder.name}/broker.sock"
            self._server = await asyncio.start_unix_server(self._connected, self.address.removeprefix("unix://"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()
        self._remove_socket()

    def _remove_socket(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        elif self.address.startswith("unix://"):
            Path(self.address.removeprefix("unix://")).unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                body = await read_frame(reader)
                try:
                    variant, fields = decode(body)
                except InvalidMessage as error:
                    logger.warning("ignored a message: %s", error)
                    self.ignored.append(body)
                else:
                    await self._handle(writer, variant, fields)
        except (asyncio.IncompleteReadError, OverlongFrame, OSError) as error:
            logger.info("a connection ended: %s", error)
        finally:
            self._forget(writer)
            writer.close()

    def _forget(self, writer: asyncio.StreamWriter) -> None:
        """What the connection owned goes; the calls it was given stay, and their callers wait for ever."""
        self._owners = {name: owner for name, owner in self._owners.items() if owner is not writer}
        for subscribers in self._subscribers.values():
            subscribers[:] = [subscriber for subscriber in subscribers if subscriber is not writer]

    async def _handle(self, writer: asyncio.StreamWriter, variant: str, fields: dict[str, Json]) -> None:
        name = cast(str, fields["object_name"])
        match variant:
            case "RegisterObject":
                self._owners[name] = writer
                await _send(writer, "Registered", fields)
            case "RegisterService":
                self.services[name] = cast(str, fields["service_name"])
            case "Call":
                await self._call(writer, name, fields)
            case "Result" | "Error":
                caller = self._callers.pop(str(fields["call_id"]), None)
                if caller is not None:
                    await _send(caller, variant, fields)
            case "Subscribe":
                self._subscribers.setdefault((name, cast(str, fields["topic"])), []).append(writer)
                await _send(writer, "Subscribed", fields)
            case "Publish":
                for subscriber in list(self._subscribers.get((name, cast(str, fields["topic"])), ())):
                    await _send(subscriber, "Event", fields)
            case "HasObject":
                await _send(writer, "HasObjectResult", {"object_name": name, "exists": name in self._names()})
            case _:
                logger.warning("ignored a message that only a broker sends: %s", variant)

    def _names(self) -> list[str]:
        return sorted(self._owners if self.not_ready else {*self._owners, "rob"})

    async def _call(self, writer: asyncio.StreamWriter, name: str, fields: dict[str, Json]) -> None:
        call_id = cast(str, fields["call_id"])
        if name == "rob" and not self.not_ready:
            value: Json = [*self._names()] if fields["method"] == "listObjects" else None
            await _send(writer, "Result", {"call_id": call_id, "object_name": name, "value": value})
        elif name in self._owners:
            self._callers[call_id] = writer
            await _send(self._owners[name], "Call", fields)
        else:
            if name == "rob":
                self.not_ready = False
            message = f"No such object '{name}'"
            await _send(writer, "Error", {"call_id": call_id, "object_name": name, "message": message})


async def _send(writer: asyncio.StreamWriter, variant: str, fields: dict[str, Json]) -> None:
    """Waits while the receiver does not read, and with it the connection whose message this answers or forwards."""
    if writer.is_closing():
        return
    writer.write(frame({variant: fields}))
    try:
        await writer.drain()
    except OSError as error:
        logger.info("a message was lost: %s", error)


@contextmanager
def running(broker: SeedBroker) -> Iterator[SeedBroker]:
    """Serves from a thread with its own event loop, for tests that block."""
    serving = threading.Event()
    failure: list[Exception] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with broker:
            stopping = asyncio.Event()
            stop.append((asyncio.get_running_loop(), stopping))
            serving.set()
            await stopping.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:
            failure.append(error)
        finally:
            serving.set()

    thread = threading.Thread(target=run, name="seed broker")
    thread.start()
    serving.wait()
    try:
        if failure:
            raise failure[0]
        yield broker
    finally:
        for loop, stopping in stop:
            loop.call_soon_threadsafe(stopping.set)
        thread.join()
    if failure:
        raise failure[0]
