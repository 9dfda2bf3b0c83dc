"""One connection as the broker sees it, with all that it owns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..credentials import Credentials
from ..protocol.connection import Connection, Role, State
from ..protocol.framing import SEED_MAX_FRAME

if TYPE_CHECKING:
    from .calls import PendingCall


class Peer:
    """Names, subscriptions and calls are kept here by the one who owns them, so that a lost peer is cleared without a search.

    `calls` are those it waits for, by their id; `serving` those it was given to answer, by the id it knows them under.
    """

    __slots__ = (
        "blocks",
        "calls",
        "connection",
        "credentials",
        "full",
        "held_bytes",
        "held_events",
        "id",
        "input_ended",
        "invalid_messages",
        "lagging",
        "missed",
        "name",
        "names",
        "prefix",
        "reads",
        "send_frame",
        "serving",
        "shell",
        "stalled_since",
        "subscriptions",
        "waits_for",
    )

    def __init__(
        self, id: int, credentials: Credentials, wake: Callable[[Peer], None], max_frame: int = SEED_MAX_FRAME
    ) -> None:
        self.id = id
        self.name = ""
        self.credentials = credentials
        self.connection = Connection(Role.BROKER, partial(wake, self), max_frame)
        self.send_frame = self.connection.send_frame
        self.prefix = ""  # of its call ids; given by `rob.hello`
        self.names: set[str] = set()
        self.subscriptions: dict[tuple[str, str], None] = {}
        self.calls: dict[str, PendingCall] = {}
        self.serving: dict[str, PendingCall] = {}
        self.input_ended = False
        self.invalid_messages = 0
        self.shell: Any = None  # whatever the shell keeps here, to find its part of the connection
        # A seed peer's events wait here while it waits for an answer, which it would take them for.
        self.held_events: list[bytes] = []
        self.held_bytes = 0
        # Back-pressure (backpressure.py): whether the shell should read from this peer, and who waits for whom.
        self.reads = True
        self.full = False  # its outbox passed the backlog and is not half empty again
        self.waits_for: set[Peer] = set()
        self.blocks: set[Peer] = set()
        self.stalled_since = 0.0
        self.lagging = False
        self.missed = 0

    @property
    def is_seed(self) -> bool:
        """Whether it speaks the Rust crate's protocol and nothing more."""
        return not self.prefix

    @property
    def closing(self) -> bool:
        """Whether the shell should close the connection as soon as what is queued is written."""
        return self.connection.state is State.CLOSING

    def describe(self) -> str:
        """For messages to people: "'thermostat' (process 4711)"."""
        name = repr(self.name) if self.name else f"connection {self.id}"
        return f"{name} (process {self.credentials.pid})" if self.credentials.pid else name

    def __repr__(self) -> str:
        return (
            f"<Peer {self.describe()} {self.connection.state.value} names={len(self.names)}"
            f" subscriptions={len(self.subscriptions)} calls={len(self.calls)} serving={len(self.serving)}"
            f" queued={self.connection.queued}>"
        )
