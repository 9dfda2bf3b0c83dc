"""What a shell brings along for its session to put things into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Raw

from ..errors import IPCError
from ..events import Event, Gap
from ..messages import Call, Direct
from ..protocol.connection import Connection

if TYPE_CHECKING:
    from mmap import mmap


class Reply(Protocol):
    """Where an answer goes: an `asyncio.Future` is one. Nothing is set when it is `done` already: cancelled, or timed out."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Any, /) -> None: ...


class _Unheard:
    def done(self) -> bool:
        return True

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: Any, /) -> None: ...


UNHEARD = _Unheard()
"""The reply to what is asked though nobody waits for the answer."""

STREAM_ENDED = object()
"""The result of a `StreamReply` whose stream has ended; anything else is the value of a method that does not stream."""


class StreamReply(Reply, Protocol):
    """Where the items of a stream go; its result says that it ended, or that the method is none that streams."""

    def item(self, value: Raw, size: int) -> None:
        """The bytes that it took are given back with `Session.give_credit` when the item was consumed."""


class Sink(Protocol):
    """Where the events of a subscription go."""

    def deliver(self, event: Event | Gap, size: int) -> None:
        """The bytes that it took are given back with `ClientSubscription.taken` when it was consumed."""

    def deliver_all(self, events: list[Event], size: int) -> None:
        """Several, of so many bytes together, which are given back when the last was consumed."""

    def ended(self) -> None:
        """The broker does not want the subscription any more: no event will come."""


class Server(Protocol):
    """What a worker's shell does with the objects that were exposed."""

    def call(self, call: Call, connection: Connection) -> None:
        """To be answered with `answer` or `fail` and the same connection, also when the object is not served here."""

    def cancel(self, call_id: str) -> None:
        """Nobody waits for the answer of this call any more; it may have been answered already."""

    def credit(self, call_id: str, size: int) -> None:
        """The call may stream so many bytes more."""

    def registered(self, name: str, error: IPCError | None) -> None:
        """How a registration ended: after `expose`, and after every new connection."""

    def interrupted(self) -> None:
        """The connection was lost: nobody waits for the answers of the calls that run."""


class OwnMemory(Protocol):
    """What this process has made, and another may open by the number of its descriptor, as long as it is not closed here."""

    memory: mmap
    token: str
    """With which it begins, in hex."""
    descriptor: int

    def close(self) -> None:
        """Who has opened it keeps it. May be called again."""


class DirectServer(Protocol):
    """What a worker's shell does with those who call it directly (direct.py)."""

    address: str
    """Of its socket."""

    def admit(self, direct: Direct) -> None:
        """The caller may; it may have connected already, or will."""

    def send_back(self) -> None:
        """Nobody may any more: what comes is to be failed with "indirect", undone."""

    def caller_gone(self, prefix: str) -> None:
        """Its connection to the broker has ended, and so does all that it has called."""
