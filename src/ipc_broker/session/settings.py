"""What a session says of itself when it opens a connection, and what was agreed then."""

from __future__ import annotations

from msgspec import MsgspecError, Raw, Struct

from ..messages import Hello, Welcome
from ..protocol.encodings import ENCODINGS, JSON
from ..protocol.framing import SEED_MAX_FRAME

FEATURES = ("multiplex", "cancel", "caller", "streams", "flow", "resume", "heartbeat", "batches", "direct", "memory")

MAX_FRAME = 64 * 1024 * 1024
"""The largest body, in bytes, that a session takes."""


class Settings(Struct, frozen=True):
    """What a session says of itself, and the most that it can do; less is for tests."""

    name: str = ""
    pid: int = 0
    encodings: tuple[str, ...] = tuple(ENCODINGS)
    features: tuple[str, ...] = FEATURES
    max_frame: int = MAX_FRAME
    token: str = ""
    """Made for whoever connects, by `ipc-broker token`."""

    def hello(self, session: str, direct: str = "") -> Hello:
        """`session` is the token of the connection before this one, "" for the first; `direct` as in `Hello`."""
        return Hello(
            encodings=self.encodings,
            features=self.features,
            max_frame=self.max_frame,
            name=self.name,
            pid=self.pid,
            session=session,
            token=self.token,
            direct=direct,
        )

    def welcome(self, value: Raw) -> Welcome | None:
        """The broker's answer to hello; None from one that does not know it, or says what was not offered."""
        if value == JSON.null:
            return None
        try:
            welcome: Welcome = JSON.decode_payload(value, Welcome)
        except (MsgspecError, RecursionError):
            return None
        return welcome if welcome.encoding in self.encodings else None


DEFAULT_SETTINGS = Settings()


class Agreement(Struct, frozen=True):
    """What client and broker have agreed on.

    `name` is "extended", or "seed" with a broker that speaks the Rust crate's protocol only; `max_frame` the largest body
    of a message that the broker takes, in bytes.
    """

    name: str
    encoding: str
    features: tuple[str, ...] = ()
    max_frame: int = SEED_MAX_FRAME

    @classmethod
    def of(cls, welcome: Welcome | None) -> Agreement:
        if welcome is None:
            return cls("seed", JSON.name)
        return cls("extended", welcome.encoding, welcome.features, welcome.max_frame)
