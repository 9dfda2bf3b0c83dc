"""One connection, without its socket: bytes in, messages out, and back.

    SEED -- extend() --> EXTENDED
      \\____ close() _____/  \\____> CLOSING

A connection begins with the protocol of the Rust crate (SEED); when `rob.hello` was answered both ends call `extend`.
After a frame over the limit, or `close`, it is CLOSING: what is queued is still sent, what arrives is ignored.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import cast

from msgspec import Raw

from .. import allocation
from ..events import Batch, Event
from ..messages import Batch as UndecodedBatch
from ..messages import (
    Call,
    Caller,
    CallerGone,
    Cancel,
    Credit,
    Direct,
    DirectEnded,
    Error,
    EventCredit,
    Goodbye,
    HasObject,
    HasObjectResult,
    Invalid,
    Item,
    Message,
    Missed,
    Pause,
    Ping,
    Pong,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Resume,
    Served,
    Subscribe,
    Subscribed,
)
from .batching import Run, one_by_one
from .codec import Codec, Decoded, Decoder, Received
from .encodings import ENCODINGS, JSON
from .framing import LARGE, SEED_MAX_FRAME, FrameReader


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

# The types that each end may receive, those that come most often first; and what extended peers may say besides.
_KINDS: dict[Role, tuple[type[Decoded], ...]] = {
    Role.BROKER: (Call, Result, Publish, Error, HasObject, Subscribe, RegisterObject, RegisterService),
    Role.CLIENT: (Result, Call, Event, Error, HasObjectResult, Subscribed, Registered),
}
_EXTENDED_KINDS: dict[Role, tuple[type[Decoded], ...]] = {
    Role.BROKER: (UndecodedBatch, Item, Credit, EventCredit, Cancel, Pong, Direct, DirectEnded, Served, Goodbye),
    Role.CLIENT: (
        Batch,
        Item,
        Credit,
        Cancel,
        Caller,
        CallerGone,
        Missed,
        Pause,
        Resume,
        Ping,
        Direct,
        DirectEnded,
        Goodbye,
    ),
}


@lru_cache(maxsize=8)
def _decoder(role: Role, codec: Codec, *, extended: bool) -> Decoder:
    """Made when it is needed: most programs play one role and use one encoding."""
    return Decoder(codec, _KINDS[role] + (_EXTENDED_KINDS[role] if extended else ()))


class Connection:
    """What both brains, the router and the session, keep of a connection.

    `wake` is called when the first frame is queued, and again after each `wake_every` bytes more; the shell then has to
    call `data_to_send` and write what it gives. `queued` counts the bytes that wait for that. `codec` is the encoding
    that both ends use; `send_limit` the largest body, in bytes, that the other side takes.
    """

    __slots__ = (
        "_decode_all",
        "_outbox",
        "_reader",
        "_role",
        "_run",
        "_wake",
        "_wake_at",
        "_wake_every",
        "codec",
        "queued",
        "send_limit",
        "state",
    )

    def __init__(
        self, role: Role, wake: Callable[[], None], max_frame: int = SEED_MAX_FRAME, wake_every: int = sys.maxsize
    ) -> None:
        self.state = State.SEED
        self.codec: Codec = JSON
        self.queued = 0
        self.send_limit = SEED_MAX_FRAME
        self._role = role
        self._reader = FrameReader(max_frame)
        self._decode_all = _decoder(role, JSON, extended=False).decode_all
        self._outbox: list[bytes | Run] = []
        self._run: Run | None = None  # the last that was begun, while any stands in the outbox
        self._wake = wake
        self._wake_at = 0
        self._wake_every = wake_every

    @property
    def frames_received(self) -> int:
        return self._reader.count

    @property
    def progress(self) -> tuple[int, int]:
        """Another one after anything has come, also a part of a frame."""
        return self._reader.count, self._reader.missing

    @property
    def held(self) -> int:
        """Bytes that have come of a message that is not complete."""
        return self._reader.held

    @property
    def max_frame(self) -> int:
        """The largest body, in bytes, that is taken from the other side."""
        return self._reader.limit

    def receive_data(self, data: bytes) -> list[Received]:
        """The messages that are now complete, in order. Never raises: what is wrong stands among them as `Invalid`."""
        if self.state is _CLOSING:
            return []
        received = self._decode_all(self._reader.feed(data))
        if self._reader.oversize:
            received.append(self._oversize())
        return received

    def receive_call(self, data: bytes) -> Call | None:
        """Where that is one call and nothing else. None: nothing has happened, and `receive_data` finds out what it is."""
        if self.state is _CLOSING or not self._reader.is_one_frame(data):
            return None
        try:
            call = self.codec.decode_call(data)
        except Exception:
            return None
        self._reader.count += 1
        return call

    def receive_one_by_one(self, data: bytes) -> Iterator[Received]:
        """The same while hello is not answered: what stands behind the answer is encoded as that says."""
        if self.state is not _CLOSING:
            for frame in self._reader.feed(data):
                yield from self._decode_all([frame])
            if self._reader.oversize:
                yield self._oversize()

    def _oversize(self) -> Received:
        self.close()
        reason = f"a frame of {self._reader.oversize} bytes is over the limit of {self._reader.limit} bytes"
        return Invalid(reason, code="too_large", fatal=True), b""

    def send(self, message: Message) -> None:
        self.send_frame(self.codec.encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Queues a whole frame, header included."""
        self._outbox.append(frame)
        self.queued += len(frame)
        if self.queued >= self._wake_at:
            self._wake_at = self.queued + self._wake_every
            self._wake()

    def send_frames(self, frames: list[bytes], size: int) -> None:
        """Several of them, of so many bytes together."""
        if frames:
            self._outbox += frames
            self.queued += size
            if self.queued >= self._wake_at:
                self._wake_at = self.queued + self._wake_every
                self._wake()

    def publish(self, object_name: str, topic: str, value: Raw, size: int) -> None:
        """Queues an event with a small value, of so many bytes: together with those of the same names right before it.

        `queued` counts it as somewhat more than it takes, never less. For connections that have agreed to batches. Raises
        InvalidArgs.
        """
        run = self._run
        if run is None or not self._outbox or self._outbox[-1] is not run or not run.takes(object_name, topic):
            opening = self.codec.publish_opening(object_name, topic)  # which looks at the names
            run = self._run = Run(object_name, topic, len(opening))
            self._outbox.append(run)
            self.queued += run.size
        self.queued += run.append(value, size)
        if self.queued >= self._wake_at:
            self._wake_at = self.queued + self._wake_every
            self._wake()

    def _end_runs(self) -> list[bytes]:
        """The outbox, with frames in the place of the runs."""
        outbox = cast(list[bytes], self._outbox)
        if self._run is not None:
            for place, one in enumerate(self._outbox):
                if isinstance(one, Run):
                    frame = outbox[place] = one.frame(self.codec)
                    self.queued += len(frame) - one.size
            self._run = None  # at the end: Ctrl-C may come in between
        return outbox

    def data_to_send(self, limit: int | None = None) -> bytes:
        """Takes what is queued, or the frames of its beginning that reach `limit` bytes; b"" when there is nothing."""
        outbox = self._end_runs() if self._run is not None else cast(list[bytes], self._outbox)
        if len(outbox) == 1:
            data = outbox.pop()
        elif limit is None or self.queued <= limit:
            data = b"".join(outbox)
            outbox.clear()
        else:
            size = count = 0
            while size < limit and (not count or len(outbox[count]) <= LARGE):  # which goes alone, not copied
                size += len(outbox[count])
                count += 1
            data = b"".join(outbox[:count]) if count > 1 else outbox[0]
            del outbox[:count]
        size = len(data)
        if size > LARGE and not allocation.asked:
            allocation.keep_large_pieces()
        self.queued -= size
        self._wake_at = 0
        return data

    def discard(self) -> None:
        """Nothing of what is queued will be sent."""
        self._outbox.clear()
        self._run = None
        self.queued = 0

    def take_back(self, data: bytes) -> None:
        """What `data_to_send` gave last could not be sent, not even in part."""
        if data:
            self._outbox.insert(0, data)
            self.queued += len(data)

    def unsent(self) -> list[Decoded | Invalid]:
        """The messages that are queued: of a connection that is lost, those that were surely not sent."""
        other = Role.BROKER if self._role is Role.CLIENT else Role.CLIENT
        frames = FrameReader(sys.maxsize).feed(b"".join(self._end_runs()))
        messages: list[Decoded | Invalid] = []
        for message, _ in _decoder(other, self.codec, extended=True).decode_all(frames):
            messages += one_by_one(message, self.codec) if isinstance(message, UndecodedBatch) else (message,)
        return messages

    def extend(self, encoding: str, send_limit: int, max_frame: int) -> None:
        """Both sides have agreed by `rob.hello`: what comes and goes from now on is encoded so, and so large at most."""
        self.state = _NEXT_STATE[self.state, "extend"]
        self.codec = ENCODINGS[encoding]
        self.send_limit = send_limit
        self._reader.limit = max_frame
        self._decode_all = _decoder(self._role, self.codec, extended=True).decode_all

    def close(self) -> None:
        self.state = _NEXT_STATE[self.state, "close"]
