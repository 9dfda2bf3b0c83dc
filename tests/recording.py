"""What a session's shell brings along, as objects that keep what they are told."""

from __future__ import annotations

from typing import Any, cast

from ipc_broker.errors import IPCError
from ipc_broker.events import Event, Gap
from ipc_broker.messages import Call
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.connection import Connection
from ipc_broker.protocol.encodings import JSON
from ipc_broker.session import ClientSubscription
from tests.seed.frames import Json


class Answer:
    """A `Reply`. It fails when it is set twice."""

    def __init__(self) -> None:
        self.cancelled = False
        self.codec: Codec = JSON
        self._outcome: list[object] = []

    def done(self) -> bool:
        return self.cancelled or bool(self._outcome)

    def set_result(self, result: Any, /) -> None:
        assert not self.done()
        self._outcome.append(result)

    def set_exception(self, exception: Any, /) -> None:
        assert not self.done()
        self._outcome.append(exception)

    @property
    def result(self) -> object:
        [outcome] = self._outcome
        assert not isinstance(outcome, Exception), repr(outcome)
        return outcome

    @property
    def value(self) -> object:
        """A call's result, decoded."""
        return self.codec.decode_any(cast(Any, self.result))

    @property
    def error(self) -> IPCError:
        [outcome] = self._outcome
        assert isinstance(outcome, IPCError), repr(outcome)
        return outcome


class RecordingServer:
    """A `Server` that keeps what it is told. The test answers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Connection]] = []
        self.cancelled: list[str] = []
        self.credits: list[tuple[str, int]] = []
        self.registrations: list[tuple[str, IPCError | None]] = []
        self.interruptions = 0

    def call(self, call: Call, connection: Connection) -> None:
        self.calls.append((call, connection))

    def cancel(self, call_id: str) -> None:
        self.cancelled.append(call_id)

    def credit(self, call_id: str, size: int) -> None:
        self.credits.append((call_id, size))

    def registered(self, name: str, error: IPCError | None) -> None:
        self.registrations.append((name, error))

    def interrupted(self) -> None:
        self.interruptions += 1


class RecordingSink:
    """A `Sink`: the values of its events in order, and as words what else it is told: "missed 1", "missed None", "ended".

    While it `takes`, it gives back the bytes of every event at once; else it keeps them until `take_all`.
    """

    def __init__(self) -> None:
        self.seen: list[Json] = []
        self.takes = True
        self.subscription: ClientSubscription | None = None
        self._untaken = 0

    def deliver_all(self, events: list[Event], size: int) -> None:
        for event in events:
            self.deliver(event, size)
            size = 0

    def deliver(self, event: Event | Gap, size: int) -> None:
        self.seen.append(f"missed {event.missed}" if isinstance(event, Gap) else cast(Json, event.value))
        self._untaken += size
        if self.takes:
            self.take_all()

    def take_all(self) -> None:
        if self.subscription is not None:
            self.subscription.taken(self._untaken)
            self._untaken = 0

    def ended(self) -> None:
        self.seen.append("ended")
