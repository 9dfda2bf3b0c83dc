"""What a session's shell brings along, as objects that keep what they are told."""

from __future__ import annotations

from typing import Any, cast

from ipc_broker.errors import IPCError
from ipc_broker.events import Event, Gap
from ipc_broker.messages import Call
from ipc_broker.protocol.connection import Connection
from ipc_broker.protocol.payload import decode_payload
from tests.seed.frames import Json


class Answer:
    """A `Reply`. It fails when it is set twice."""

    def __init__(self) -> None:
        self.cancelled = False
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
        return decode_payload(cast(Any, self.result))

    @property
    def error(self) -> IPCError:
        [outcome] = self._outcome
        assert isinstance(outcome, IPCError), repr(outcome)
        return outcome


class RecordingServer:
    """A `Server` that keeps what it is told. The test answers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Connection]] = []
        self.registrations: list[tuple[str, IPCError | None]] = []
        self.interruptions = 0

    def call(self, call: Call, connection: Connection) -> None:
        self.calls.append((call, connection))

    def registered(self, name: str, error: IPCError | None) -> None:
        self.registrations.append((name, error))

    def interrupted(self) -> None:
        self.interruptions += 1


class RecordingSink:
    """A `Sink`: the values of its events in order, and as words what else it is told: "missed 1", "interrupted", "ended"."""

    def __init__(self) -> None:
        self.seen: list[Json] = []

    def deliver(self, event: Event | Gap) -> None:
        self.seen.append(f"missed {event.missed}" if isinstance(event, Gap) else cast(Json, event.value))

    def interrupted(self) -> None:
        self.seen.append("interrupted")

    def ended(self) -> None:
        self.seen.append("ended")
