"""What a peer is: how its server starts, and its clients, each a thin cover in the peer's own idiom.

Loops, clocks and counting belong to nobody: they are in `roles.py`, and the same for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Protocol

from .place import Place, Served

Take = Callable[[bytes], bool]
"""Called with each event; true when that was the last, and the subscription ends."""

Ready = Callable[[], None]

Ability = Literal["blocking", "asyncio", "in-flight", "echo", "events", "idle"]


class BlockingClient(Protocol):
    """`add` and `echo` are calls to the worker, one at a time."""

    def add(self, a: int, b: int) -> int: ...
    def echo(self, data: bytes) -> bytes: ...
    def close(self) -> None: ...


class AsyncioClient(Protocol):
    """The same; any number of tasks may call at once where the peer offers "in-flight"."""

    async def add(self, a: int, b: int) -> int: ...
    async def echo(self, data: bytes) -> bytes: ...
    async def close(self) -> None: ...


class PipeliningClient(Protocol):
    """A blocking client with many calls in flight: `begin` sends one, `finish` returns the result of the oldest."""

    def begin(self, a: int, b: int) -> None: ...
    def finish(self) -> int: ...
    def close(self) -> None: ...


class BlockingPublisher(Protocol):
    """`flush` returns when what was published has left the publisher's own buffers, as far as the peer can tell."""

    def publish(self, topic: str, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class AsyncioPublisher(Protocol):
    """As `BlockingPublisher`."""

    def publish(self, topic: str, data: bytes) -> Awaitable[object]: ...
    async def flush(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Ends:
    """The ends of a peer's connections; what is None is not offered. All take the address that `Peer.start` gave.

    `serve` answers calls until it is ended, and calls `Ready` once it does. A subscriber takes one topic over a
    connection of its own, and returns when `Take` says so.
    """

    serve: Callable[[str, Ready], None] | None = None
    blocking: Callable[[str], BlockingClient] | None = None
    asyncio: Callable[[str], Awaitable[AsyncioClient]] | None = None
    pipelining: Callable[[str], PipeliningClient] | None = None
    publisher: Callable[[str], BlockingPublisher] | None = None
    asyncio_publisher: Callable[[str], Awaitable[AsyncioPublisher]] | None = None
    subscriber: Callable[[str, str, Take], None] | None = None
    asyncio_subscriber: Callable[[str, str, Take], Coroutine[object, object, None]] | None = None
    broker: Callable[[str], None] | None = None
    """Runs the server where that is Python too; it is started by `Peer.start`."""


@dataclass(frozen=True)
class Peer:
    """`missing` says why the peer can't be measured here, empty when it can; it imports nothing of the peer's.

    `lacks` has a reason for each ability that the peer does not offer. `settings` are those that its documents recommend
    for speed, and what else was chosen; `promise` is how its guarantees differ, in a sentence.
    """

    name: str
    title: str
    start: Callable[[Place], Served]
    missing: Callable[[], str]
    ends: Ends
    distributions: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    promise: str = ""
    lacks: Mapping[Ability, str] = field(default_factory=dict)
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands that print the version of a program, by its name."""
    brokered: bool = True
    most_connections: int = 100_000
    """That the server takes; fewer idle ones are measured then."""
    one_at_a_time: Literal["blocking", "asyncio"] = "blocking"
    """The client that is faster at one call after the other, where there is a choice."""

    @property
    def module(self) -> str:
        return f"benchmarks.peers.{self.name.replace('-', '_')}"


def not_installed(*distributions: str) -> str:
    """Why a peer is absent whose packages are not all here; empty when they are."""
    for each in distributions:
        try:
            version(each)
        except PackageNotFoundError:
            return f"{each} is not installed in this environment: run it by `make bench-peers`"
    return ""
