"""One connection as the broker sees it, with all that it owns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..credentials import Credentials
from ..messages import Publish
from ..protocol.connection import Connection, Role, State
from ..protocol.encodings import MSGPACK
from ..protocol.framing import HEADER_SIZE, SEED_MAX_FRAME
from ..security.principal import Principal

if TYPE_CHECKING:
    from .access import Access
    from .accounts import Account
    from .feeds import ConnectionFeed, Feed
    from .names import Registration
    from .pending import PendingCall
    from .sessions import DetachedSession
    from .subscriptions import Subscription
    from .taps import Handler


class Peer:
    """Names, subscriptions and calls are kept here by the one who owns them, so that a lost peer is cleared without a search.

    `calls` are those it waits for, by their id; `serving` those it was given to answer, by the id it knows them under.
    """

    __slots__ = (
        "access",
        "account",
        "calls",
        "connection",
        "credentials",
        "direct_address",
        "features",
        "feed",
        "handlers",
        "id",
        "input_ended",
        "invalid_messages",
        "known_to",
        "knows",
        "longest_frame",
        "name",
        "overrun",
        "parting",
        "paused",
        "prefix",
        "principal",
        "reads",
        "registrations",
        "resumes",
        "said_goodbye",
        "send_frame",
        "serving",
        "shell",
        "since",
        "subscriptions",
        "throttled",
        "token",
        "waits_for",
        "will",
    )

    def __init__(self, id: int, credentials: Credentials, wake: Callable[[Peer], None], since: float = 0.0) -> None:
        self.id = id
        self.since = since
        self.parting = ""  # why its connection ends
        self.said_goodbye = False
        self.name = ""
        self.credentials = credentials
        self.connection = Connection(Role.BROKER, partial(wake, self))
        self.send_frame = self.connection.send_frame
        self.longest_frame = SEED_MAX_FRAME + HEADER_SIZE  # that it takes
        self.prefix = ""  # of its call ids; given by `rob.hello`
        self.features: frozenset[str] = frozenset()
        self.token = ""  # of its session
        self.direct_address = ""  # where it takes direct calls (direct.py)
        self.resumes: DetachedSession | None = None  # the session before this one
        self.registrations: dict[str, Registration] = {}
        # By the id that an extended peer gave it, else by object and topic.
        self.subscriptions: dict[int | tuple[str, str], Subscription] = {}
        self.feed: ConnectionFeed | None = None  # for subscriptions without an id
        self.calls: dict[str, PendingCall] = {}
        self.serving: dict[str, PendingCall] = {}
        self.will: Publish | None = None
        # Callers that it was told of, and workers that were told of it (`Caller`).
        self.knows: set[Peer] = set()
        self.known_to: set[Peer] = set()
        self.input_ended = False
        self.invalid_messages = 0
        self.shell: Any = None  # whatever the shell keeps here, to find its part of the connection
        # Back-pressure (backpressure.py): what it publishes to that is full, and what was done about it.
        self.waits_for: set[Feed] = set()
        self.paused = False
        self.overrun = 0  # bytes published after `Pause`
        self.reads = True  # whether the shell should read from this peer
        # Its standing (gatekeeper.py): what it may do, None where that is everything, and who handles what it sends.
        self.principal: Principal | None = None  # None: it has yet to show a token
        self.access: Access | None = None
        self.account: Account | None = None  # None: nothing is counted
        self.throttled = False  # it is over its rate, and not read from for a moment
        self.handlers: dict[type, Handler] = {}

    @property
    def is_seed(self) -> bool:
        """Whether it speaks the Rust crate's protocol and nothing more."""
        return not self.prefix

    @property
    def is_unchecked(self) -> bool:
        """Whether it is a process of this machine that may do everything, and speaks as all such do."""
        return (
            self.access is None
            and self.account is None
            and self.connection.codec is MSGPACK
            and self.credentials.pid is not None
            and not self.credentials.address
        )

    @property
    def closing(self) -> bool:
        """Whether the shell should close the connection as soon as what is queued is written."""
        return self.connection.state is State.CLOSING

    def extend(
        self, prefix: str, token: str, features: frozenset[str], encoding: str, longest: int, takes: int
    ) -> None:
        """Hello was answered. `longest` body it takes, `takes` the broker."""
        self.prefix = prefix
        self.token = token
        self.features = features
        self.longest_frame = longest + HEADER_SIZE
        self.connection.extend(encoding, longest, takes)

    def describe(self) -> str:
        """For messages to people: "'thermostat' (process 4711)", "connection 7 (127.0.0.1:54321)"."""
        name = repr(self.name) if self.name else f"connection {self.id}"
        where = f"process {self.credentials.pid}" if self.credentials.pid else self.credentials.address
        return f"{name} ({where})" if where else name

    def __repr__(self) -> str:
        return (
            f"<Peer {self.describe()} {self.connection.state.value} names={len(self.registrations)}"
            f" subscriptions={len(self.subscriptions)} calls={len(self.calls)} serving={len(self.serving)}"
            f" queued={self.connection.queued}>"
        )
