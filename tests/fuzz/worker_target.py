"""A worker as programs run it, with its executor and its link, over a transport in memory.

Its broker says what is wrong; then the connection is lost, and the worker, which connects again by itself, serves as before.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ipc_broker import Worker
from ipc_broker.aio import link as link_module
from ipc_broker.context import current_call
from ipc_broker.errors import RemoteError
from ipc_broker.interface import SharedObject, inline
from ipc_broker.messages import Call, Error, Invalid, Registered, RegisterObject, Result, Welcome
from ipc_broker.protocol.connection import Connection, Role, State
from ipc_broker.protocol.encodings import ENCODINGS, JSON
from ipc_broker.session.reconnecting import STABLE
from tests.fuzz import corpus, inputs
from tests.fuzz.coverage import Coverage
from tests.fuzz.inputs import Input

STATES = ("json", "msgpack", "seed")
MOST_TURNS = 200
"""Of the loop, within which everything that an input has begun has ended."""


class Point(Struct):
    x: int
    y: float = 0.0


class Calculator:
    """Methods of all the kinds that run on the loop, with types of all kinds."""

    @inline
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    @inline
    def typed(self, point: Point, names: list[str] | None = None, *, way: Literal["a", "b"] = "a") -> object:
        return [point, names, way]

    @inline
    def bounded(self, data: bytes, share: Annotated[float, Meta(ge=0, le=1)] = 0.5, **more: int) -> object:
        return [data, share, more]

    @inline
    def fail(self, *args: Any, **named: Any) -> None:
        raise RemoteError("it went wrong", data={"args": args, "named": named})

    async def echo(self, value: Any = None) -> Any:
        return value

    async def tell(self, *args: Any) -> object:
        call = current_call()
        return [call.object, call.method, call.call_id, dict(call.headers), call.caller]

    async def wait(self, **named: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async def stream(self, n: int = 3, text: str = "item") -> AsyncIterator[str]:
        for _ in range(min(n, 5)):
            yield text

    async def endless(self) -> AsyncIterator[list[int]]:
        for number in range(100):
            yield [number] * 20


class Everything(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        if method == "add":
            raise LookupError(method)
        return args


_METHODS = ("add", "typed", "bounded", "fail", "echo", "tell", "wait", "stream", "endless")
_SCENE = corpus.Scene(
    ("Call", "Call", "Call", "Call", "Call", "Cancel", "Credit", "Caller", "CallerGone", *corpus.BY_BROKER),
    {
        "call_id": ("9.1", "9.2", "9.3", "9.4", "9.5", "9.6", "9.7", "n1", "7.2"),
        "object_name": ("calc", "all", "rob", "nobody"),
        "topic": ("x",),
        "subscription": (0, 1),
        "id": (0, 1),
        "prefix": ("9.", "7.", ""),
    },
    (*_METHODS, "nothing", "__init__", "_private"),
    "9.",
)
_SETUP: list[tuple[str, str, str, object, int]] = [
    ("9.1", "calc", "wait", None, 0),
    ("9.2", "calc", "endless", None, 100),
    ("9.3", "calc", "stream", {"n": 5}, 2**20),
    ("9.4", "all", "echo", [1], 0),
]


class ManualLoop(asyncio.SelectorEventLoop):
    """Its clock moves only when told, so that nothing comes at another time when the input is replayed."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class Wire(asyncio.Transport):
    """One connection of the worker, and the broker's end of it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.end = Connection(Role.BROKER, lambda: None)
        self.closed = False
        self.lost = False
        self.came = b""

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.came += bytes(data)

    def read(self) -> list[Any]:
        """What the worker has sent since the last time; a good broker understands all of it."""
        data, self.came = self.came, b""
        messages = []
        for message, frame in self.end.receive_data(data):
            if isinstance(message, Invalid):
                # A broker of the Rust crate gives no credit; whoever does over such a connection gets items.
                assert self.end.state is State.SEED, f"the worker sent {frame!r}: {message.reason}"
                assert b'{"Item":' in frame, f"the worker sent {frame!r}: {message.reason}"
            else:
                messages.append(message)
        return messages

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        self.lost = True
        self.protocol.connection_lost(None)


class WorkerTarget:
    name = "worker"

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.faults: list[dict[str, Any]] = []
        self.wire: Wire | None = None
        self.worker: Worker
        self._loop: ManualLoop | None = None

    def make(self, number: int, rng: Random) -> Input:
        state = rng.choice(STATES)
        return inputs.make(number, f"worker, {state}", rng, _SCENE, "msgpack" if state == "msgpack" else "json", [])

    def play(self, given: Input) -> None:
        names = vars(link_module)
        real, names["open_connection"] = names["open_connection"], self._open_connection
        try:
            self.loop.run_until_complete(self._play(given))
        finally:
            names["open_connection"] = real
        assert not self.faults, f"the loop was told of {self.faults}"

    def _told(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A broker that uses an id for two calls at once gets one answer: the worker forgets the first of them.
        if context["message"] != "Task was destroyed but it is pending!":
            self.faults.append(context)

    def check(self) -> None:
        gc.collect()
        tasks = asyncio.all_tasks(self.loop)
        assert len(tasks) <= 2, tasks  # it is connecting again, and has one in reserve

    def close(self) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._stop())
            self._loop.close()

    @property
    def loop(self) -> ManualLoop:
        """Made when something is played."""
        if self._loop is None:
            self._loop = ManualLoop()
            self._loop.set_exception_handler(self._told)
            self._loop.run_until_complete(self._start())
        return self._loop

    async def _open_connection(self, address: object, factory: Callable[[], asyncio.Protocol], timeout: object) -> None:
        protocol = factory()
        self.wire = Wire(protocol)
        protocol.connection_made(self.wire)

    async def _start(self) -> None:
        self.worker = Worker("tcp://127.0.0.1:1", name="fuzzed")
        self.worker.add("calc", Calculator())
        self.worker.add("all", Everything(), mode="shared", concurrency=3)
        self.coverage.count_messages(self.worker.client.link.session)

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _play(self, given: Input) -> None:
        state = given.target.partition(", ")[2]
        choices = Random(int(given.way * 2**53))
        if self.wire is None:
            entering = asyncio.ensure_future(self.worker._enter())
            wire = await self._welcome("json")
            await entering
            await self._lose(wire)
        wire = await self._welcome(state)
        if choices.random() < 0.6:
            codec = wire.end.codec
            calls = [
                Call(id, name, method, codec.encode_payload(args), 0, credit)
                for id, name, method, args, credit in _SETUP
            ]
            self._say(wire, b"".join(map(codec.encode, calls)))
        with self.coverage.fuzzing():
            for piece in given.pieces:
                self._say(wire, piece)
                if choices.random() < 0.3:
                    await asyncio.sleep(0)
        await self._turns(4)
        if not wire.closed:
            for message in wire.read():
                if isinstance(message, Error):
                    self.coverage.sent(message)
        sound = not wire.closed and inputs.is_whole(given.pieces)
        if sound:
            await self._probe(wire)
        self.coverage.ends["stayed" if sound else "closed"] += 1
        await self._lose(wire)
        again = await self._welcome(choices.choice(("json", "msgpack")))
        await self._probe(again)
        await self._lose(again)
        self.loop.now += 60

    async def _probe(self, wire: Wire) -> None:
        """A call is answered."""
        codec = wire.end.codec
        self._say(wire, codec.encode(Call("9.p", "calc", "add", codec.encode_payload({"a": 1, "b": 2}))))
        await self._turns(3)
        results = [one for one in wire.read() if isinstance(one, Result) and one.call_id == "9.p"]
        assert len(results) == 1, f"the worker has not answered: {results}"
        assert codec.decode_any(results[0].value) == {"sum": 3}

    async def _welcome(self, encoding: str) -> Wire:
        """The worker's next connection, once it is ready and the objects are registered."""
        for _ in range(MOST_TURNS):
            if self.wire is not None and self.wire.came and not self.wire.closed:
                break
            await asyncio.sleep(0)
        wire = self.wire
        assert wire is not None
        assert not wire.closed, "the worker does not connect again"
        [hello] = wire.read()
        value = JSON.null
        if encoding != "seed":
            features = ("multiplex", "cancel", "caller", "streams", "flow", "resume")
            value = JSON.encode_payload(Welcome(encoding, features, 65_536, "7.", "e", "e-7", "1.2.3", 4711))
            wire.end.extend(encoding, 65_536, 65_536)
        self._say(wire, JSON.encode(Result(hello.call_id, "rob", value)))
        await self._turns(3)
        registered = [message for message in wire.read() if isinstance(message, RegisterObject)]
        assert [one.object_name for one in registered] == ["calc", "all"], registered
        codec = ENCODINGS.get(encoding, JSON)
        self._say(wire, b"".join(codec.encode(Registered(one.object_name)) for one in registered))
        await self._turns(2)
        return wire

    async def _lose(self, wire: Wire) -> None:
        """Every call that runs is cancelled with its connection. That has lasted: the next one is made at once."""
        self.loop.now += STABLE
        wire.close()
        executor = self.worker._executor
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            if wire.lost and not len(executor):
                break
        assert not len(executor), f"{len(executor)} calls go on without a connection"

    def _say(self, wire: Wire, data: bytes) -> None:
        if not wire.closed:
            wire.protocol.data_received(data)

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
