"""One connection, without its socket: bytes in, messages out, and back.

    SEED -- extend() --> EXTENDED
      \\____ close() _____/  \\____> CLOSING

A connection begins with the protocol of the Rust crate (SEED); when `rob.hello` was answered both ends call `extend`.
After a frame over the limit, or `close`, it is CLOSING: what is queued is still sent, what arrives is ignored.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from msgspec import MsgspecError, Raw

from .. import allocation
from ..messages import Batch as UndecodedBatch
from ..messages import Call, Invalid, Lent, Message
from .batching import Run, one_by_one
from .codec import Codec, Decoded, NotOneMessage, Received
from .encodings import ENCODINGS, JSON
from .framing import HEADER_SIZE, LARGE, SEED_MAX_FRAME, Frame, FrameReader, Parts, write_length
from .roles import OTHER_END, decoder_of
from .roles import Role as Role

if TYPE_CHECKING:
    from .lending import Lending


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


_NO_EVENT: tuple[str, str, Raw, int] = "", "", Raw(), 0


class Connection:
    """What both brains, the router and the session, keep of a connection.

    `wake` is called when the first frame is queued, and again after each `wake_every` bytes more; the shell then has to
    call `data_to_send` and write what it gives. `queued` counts the bytes that wait for that. `codec` is the encoding
    that both ends use; `send_limit` the largest body, in bytes, that the other side takes.
    """

    __slots__ = (
        "_decode_all",
        "_lone",
        "_lone_event",
        "_outbox",
        "_reader",
        "_role",
        "_run",
        "_wake",
        "_wake_at",
        "_wake_every",
        "codec",
        "lending",
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
        self.lending: Lending | None = None
        """Memory that both ends have; set by `share`."""
        self._role = role
        self._reader = FrameReader(max_frame)
        self._decode_all = decoder_of(role, JSON, extended=False).decode_all
        # A memoryview is the rest of the frame whose beginning was taken.
        self._outbox: list[Frame | memoryview | Run] = []
        self._run: Run | None = None  # the last that was begun, while any stands in the outbox
        # The last event that was queued with no other of its names before it, and its frame.
        self._lone: bytes | None = None
        self._lone_event = _NO_EVENT
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
            received.append(self._oversize(self._reader.oversize))
        if self.lending is not None:
            for place, (message, _) in enumerate(received):
                if isinstance(message, Lent):
                    received[place] = self._borrow(message, self.lending)
        return received

    def read_large_by(self, begun: Callable[[FrameReader], None]) -> None:
        """`begun` is called when a large frame begins: the shell may then read it straight to its place.

        When the reader has all of it, `receive_data` gives its message, also for b"".
        """
        self._reader.on_large = begun

    @property
    def had_large(self) -> bool:
        """Whether any large frame has come, or begun to."""
        return self._reader.had_large

    def receive_call(self, data: bytes) -> Call | None:
        """Where that is one call and nothing else. None: nothing has happened, and `receive_data` finds out what it is."""
        if self.state is _CLOSING or not self._reader.is_one_frame(data):
            return None
        try:
            call = self.codec.decode_call(data)
        except (MsgspecError, UnicodeDecodeError, RecursionError, NotOneMessage):
            return None
        self._reader.count += 1
        return call

    def receive_one_by_one(self, data: bytes) -> Iterator[Received]:
        """The same while hello is not answered: what stands behind the answer is encoded as that says."""
        if self.state is not _CLOSING:
            for frame in self._reader.feed(data):
                yield from self._decode_all([frame])
            if self._reader.oversize:
                yield self._oversize(self._reader.oversize)

    def _oversize(self, size: int) -> Received:
        self.close()
        reason = f"a frame of {size} bytes is over the limit of {self._reader.limit} bytes"
        return Invalid(reason, code="too_large", fatal=True), b""

    def _borrow(self, lent: Lent, lending: Lending) -> Received:
        """What stands in the memory; its payload is a view of that."""
        if lent.size - HEADER_SIZE > self._reader.limit:
            return self._oversize(lent.size - HEADER_SIZE)
        view = lending.borrow(lent)
        # What is passed on begins with this header, and would put all that follows it out of step.
        header = bytes(view[:HEADER_SIZE]) if view is not None else b""
        if view is None or header != write_length(lent.size - HEADER_SIZE):
            self.close()
            return Invalid(f"no message of {lent.size} bytes was lent in slot {lent.slot}", fatal=True), b""
        message, frame = decoder_of(self._role, self.codec, extended=True).decode_large(view)
        return message, cast(bytes, Parts(header, view[HEADER_SIZE:])) if frame is view else frame

    def send(self, message: Message) -> None:
        self.send_frame(self.codec.encode(message))

    def send_frame(self, frame: Frame) -> None:
        """Queues a whole frame, header included."""
        self._outbox.append(frame)
        self.queued += len(frame)
        if self.queued >= self._wake_at:
            self._wake_at = self.queued + self._wake_every
            self._wake()

    def send_frames(self, frames: Sequence[Frame], size: int) -> None:
        """Several of them, of so many bytes together."""
        if frames:
            self._outbox += frames
            self.queued += size
            if self.queued >= self._wake_at:
                self._wake_at = self.queued + self._wake_every
                self._wake()

    def publish(self, object_name: str, topic: str, value: Raw, size: int) -> None:
        """Queues an event with a small value, of so many bytes: together with those of the same names right before it.

        `queued` counts several as somewhat more than they take, never less. For connections that have agreed to batches.
        Raises InvalidArgs.
        """
        run, outbox = self._run, self._outbox
        if run is not None and outbox and outbox[-1] is run and run.takes(object_name, topic):
            self.queued += run.append(value, size)
        elif outbox and outbox[-1] is self._lone and self._lone_event[:2] == (object_name, topic):
            self._begin_run(value, size)
        else:  # where the topics take turns, each event of them
            frame = self.codec.publish_frame(object_name, topic, value)  # which looks at the names
            self._lone_event = object_name, topic, value, size
            self._lone = frame
            outbox.append(frame)
            self.queued += len(frame)
        if self.queued >= self._wake_at:
            self._wake_at = self.queued + self._wake_every
            self._wake()

    def _begin_run(self, value: Raw, size: int) -> None:
        """A second event of the same names stands behind the one that is last in the outbox."""
        object_name, topic, first, first_size = self._lone_event
        run = Run(object_name, topic, len(self.codec.publish_opening(object_name, topic)))
        run.append(first, first_size)
        run.append(value, size)
        frame = self._outbox[-1]
        assert isinstance(frame, bytes)
        self._run = run  # first: Ctrl-C may come in between
        self._outbox[-1] = run
        self.queued += run.size - len(frame)

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
        """Takes what is queued, or the frames of its beginning that reach `limit` bytes; b"" when there is nothing.

        With a limit, a large frame may come in several parts.
        """
        outbox = self._end_runs() if self._run is not None else cast(list[bytes], self._outbox)
        if len(outbox) == 1:
            data = outbox.pop()
        elif limit is None or self.queued <= limit:
            data = b"".join(outbox) if self.queued <= LARGE else b"".join(map(bytes, outbox))
            outbox.clear()
        else:
            size = count = 0
            while size < limit and (not count or len(outbox[count]) <= LARGE):  # which goes alone, not copied
                size += len(outbox[count])
                count += 1
            data = b"".join(outbox[:count]) if count > 1 else outbox[0]
            del outbox[:count]
        size = len(data)
        if size > LARGE:
            data, size = self._large_to_send(data, whole=limit is None)
        self.queued -= size
        self._wake_at = 0
        return data

    def _large_to_send(self, data: Frame, *, whole: bool) -> tuple[bytes, int]:
        """What is to be written now, and how many bytes of the queue that is."""
        allocation.keep_large_pieces()
        size = len(data)
        if not isinstance(data, Parts):
            return data, size
        lent = None if self.lending is None else self.lending.lend(data)
        if lent is not None:
            return self.codec.encode(lent), size
        if whole:
            return bytes(data), size
        self._outbox[0:0] = data.rest
        return data.opening, len(data.opening)

    def discard(self) -> None:
        """Nothing of what is queued will be sent."""
        self._outbox.clear()
        self._run = self._lone = None
        self.queued = 0

    def take_back(self, data: bytes) -> None:
        """What `data_to_send` gave last could not be sent, not even in part."""
        if data:
            self._outbox.insert(0, data)
            self.queued += len(data)

    def unsent(self) -> list[Decoded | Invalid]:
        """The messages that are queued: of a connection that is lost, those that were surely not sent."""
        decoder = decoder_of(OTHER_END[self._role], self.codec, extended=True, lending=True)
        self._end_runs()
        whole = [bytes(cast(bytes, one)) for one in self._outbox if not isinstance(one, memoryview)]
        frames = FrameReader(sys.maxsize).feed(b"".join(whole))
        messages: list[Decoded | Invalid] = []
        for message, _ in decoder.decode_all(frames):
            if isinstance(message, Lent) and self.lending is not None:
                message, _ = decoder.decode_large(self.lending.lent(message))
            messages += one_by_one(message, self.codec) if isinstance(message, UndecodedBatch) else (message,)
        return messages

    def extend(self, encoding: str, send_limit: int, max_frame: int) -> None:
        """Both sides have agreed by `rob.hello`: what comes and goes from now on is encoded so, and so large at most."""
        self.state = _NEXT_STATE[self.state, "extend"]
        self.codec = ENCODINGS[encoding]
        self.send_limit = send_limit
        self._reader.limit = max_frame
        self._decode_all = decoder_of(self._role, self.codec, extended=True).decode_all

    def share(self, lending: Lending | None) -> None:
        """What is large may come by this memory from now on, and is sent by it where that can be; None: not any more."""
        self.lending = lending
        self._decode_all = decoder_of(self._role, self.codec, extended=True, lending=lending is not None).decode_all

    def close(self) -> None:
        self.state = _NEXT_STATE[self.state, "close"]
