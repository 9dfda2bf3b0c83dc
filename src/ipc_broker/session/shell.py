"""What a shell brings along for its session to put things into."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import IPCError
from ..events import Event, Gap
from ..messages import Call
from ..protocol.connection import Connection


class Reply(Protocol):
    """Where an answer goes: an `asyncio.Future` is one. Nothing is set when it is `done` already: cancelled, or timed out."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Any, /) -> None: ...


class Sink(Protocol):
    """Where the events of a subscription go."""

    def deliver(self, event: Event | Gap) -> None: ...
    def interrupted(self) -> None:
        """The connection was lost and another made: events in between are missing."""

    def ended(self) -> None:
        """The broker does not want the subscription any more: no event will come."""


class Server(Protocol):
    """What a worker's shell does with the objects that were exposed."""

    def call(self, call: Call, connection: Connection) -> None:
        """To be answered with `answer` or `fail` and the same connection, also when the object is not served here."""

    def registered(self, name: str, error: IPCError | None) -> None:
        """How a registration ended: after `expose`, and after every new connection."""

    def interrupted(self) -> None:
        """The connection was lost: nobody waits for the answers of the calls that run."""
