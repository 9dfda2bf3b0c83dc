"""One connection, without its socket: bytes in, messages out, and back.

    SEED -- extend() --> EXTENDED
      \\____ close() _____/  \\____> CLOSING

A connection begins with the protocol of the Rust crate (SEED); when `rob.hello` was answered both ends call `extend`.
After a frame over the limit, or `close`, it is CLOSING: what is queued is still sent, what arrives is ignored.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable

from ..events import Event
from ..messages import (
    Call,
    Error,
    HasObject,
    HasObjectResult,
    Invalid,
    Message,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Subscribe,
    Subscribed,
)
from .codec import Decoder, Received, encode
from .framing import SEED_MAX_FRAME, FrameReader


class Role(enum.Enum):
    """Which end of the connection this is."""

    BROKER = "broker"
    CLIENT = "client"


class State(enum.Enum):
    SEED = "seed"
    EXTENDED = "extended"
    CLOSING = "closing"


_CLOSING = State.CLOSING  # looked up once: it is compared for every batch

_NEXT_STATE: dict[tuple[State, str], State] = {
    (State.SEED, "extend"): State.EXTENDED,
    (State.SEED, "close"): State.CLOSING,
    (State.EXTENDED, "close"): State.CLOSING,
    (State.CLOSING, "extend"): State.CLOSING,
    (State.CLOSING, "close"): State.CLOSING,
}

_DECODERS: dict[Role, Decoder] = {
    Role.BROKER: Decoder((Call, Result, Publish, Error, HasObject, Subscribe, RegisterObject, RegisterService)),
    Role.CLIENT: Decoder((Result, Call, Event, Error, HasObjectResult, Subscribed, Registered)),
}


class Connection:
    """What both brains, the router and the session, keep of a connection.

    `wake` is called when the first frame is queued, and again after each `wake_every` bytes more; the shell then has to
    call `data_to_send` and write what it gives. `queued` counts the bytes that wait for that.
    """

    __slots__ = ("_decode_all", "_outbox", "_reader", "_wake", "_wake_at", "_wake_every", "queued", "state")

    def __init__(
        self, role: Role, wake: Callable[[], None], max_frame: int = SEED_MAX_FRAME, wake_every: int = sys.maxsize
    ) -> None:
        self.state = State.SEED
        self.queued = 0
        self._reader = FrameReader(max_frame)
        self._decode_all = _DECODERS[role].decode_all
        self._outbox: list[bytes] = []
        self._wake = wake
        self._wake_at = 0
        self._wake_every = wake_every

    @property
    def frames_received(self) -> int:
        return self._reader.count

    @property
    def max_frame(self) -> int:
        """The largest body, in bytes, that the other side may send."""
        return self._reader.limit

    def receive_data(self, data: bytes) -> list[Received]:
        """The messages that are now complete, in order. Never raises: what is wrong stands among them as `Invalid`."""
        if self.state is _CLOSING:
            return []
        received = self._decode_all(self._reader.feed(data))
        if self._reader.oversize:
            self.close()
            reason = f"a frame of {self._reader.oversize} bytes is over the limit of {self._reader.limit} bytes"
            received.append((Invalid(reason, code="too_large", fatal=True), b""))
        return received

    def send(self, message: Message) -> None:
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Queues a whole frame, header included."""
        self._outbox.append(frame)
        self.queued += len(frame)
        if self.queued >= self._wake_at:
            self._wake_at = self.queued + self._wake_every
            self._wake()

    def data_to_send(self, limit: int | None = None) -> bytes:
        """Takes what is queued, or the frames of its beginning that pass `limit` bytes first; b"" when there is nothing."""
        outbox = self._outbox
        if len(outbox) == 1:
            data = outbox.pop()
        elif limit is None or self.queued <= limit:
            data = b"".join(outbox)
            outbox.clear()
        else:
            size = count = 0
            while size < limit:
                size += len(outbox[count])
                count += 1
            data = b"".join(outbox[:count])
            del outbox[:count]
        self.queued -= len(data)
        self._wake_at = 0
        return data

    def extend(self) -> None:
        """Both sides have agreed by `rob.hello`."""
        self.state = _NEXT_STATE[self.state, "extend"]

    def close(self) -> None:
        self.state = _NEXT_STATE[self.state, "close"]
