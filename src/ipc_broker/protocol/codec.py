"""What both encodings have in common: messages to frames and frames to messages.

A body is a map with one key, the message's type. Nearly all bodies come in the shortest form: for these a decoder looks
up the opening and decodes what stands behind it. Any other form takes a slower way to the same result.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, cast

import msgspec
from msgspec import Raw

from .. import events
from ..errors import InvalidArgs
from ..messages import MAX_NAME, Batch, Call, Event, Invalid, Message, Name
from .framing import HEADER_SIZE, LARGE, Parts, write_length
from .pieces import Payload, Pieces

Decoded = Message | events.Event | events.Batch
"""A client gets the events it subscribed to with their values decoded, in one step."""

Received = tuple[Decoded | Invalid, bytes]
"""A message and the frame it came in."""

Encoded = bytes | memoryview | Raw

NOTHING = Raw(b"")
"""No payload at all: for a frame that gets it otherwise, see `Codec.in_parts`."""

Shape = Literal["map", "list", "null", "one"]

_BRACE = 0x7D


ABOUT_CALLS = ("Call", "Result", "Error", "Item")
"""Types whose first field is the id of a call that somebody waits for."""


MOST_TOPICS = 16_384
"""Of a publisher, for which it is kept how their messages begin, in about 500 bytes each. Where more of them take turns, an
event takes twice as long."""


class CallId(msgspec.Struct):
    """What is looked for in a message that is no valid one, so that whoever waits for the call can be told."""

    call_id: Name | None


class DecodedResult(msgspec.Struct):
    """What a caller looks at in a `Result`."""

    call_id: str
    value: Any


class NotOneMessage(Exception):
    """A body is a map, but not with exactly one key; the text says with what."""


class Codec(abc.ABC):
    """One encoding. Payloads are `Raw`: values that are encoded already."""

    name: ClassVar[str]
    null: ClassVar[Raw]
    """The payload that says nothing."""

    # Payloads

    @abc.abstractmethod
    def encode_payload(self, value: Any) -> Raw:
        """Raises Unsendable."""

    def encode_value(self, value: Any) -> Payload:
        """As `encode_payload`, but what is large may stay where it is: for a `Call`, `Result` or `Publish`. Raises Unsendable."""
        return self.encode_payload(value)

    @abc.abstractmethod
    def decoder(self, kind: Any) -> Callable[[Encoded], Any]:
        """Decodes a payload to `kind`; kept for each.

        It raises msgspec.MsgspecError, which names the path, UnicodeDecodeError or RecursionError.
        """

    encode_any: Callable[[Any], bytes | Raw]
    """As `encode_payload`, for whoever looks by itself why something cannot be sent; raises as the encoders do."""

    decode_any: Callable[[Encoded], Any]
    """A payload to whatever it says; raises as the decoders do."""

    def decode_payload(self, payload: Encoded, kind: Any = Any) -> Any:
        return self.decode_any(payload) if kind is Any else self.decoder(kind)(payload)

    @abc.abstractmethod
    def shape(self, payload: bytes | Raw) -> Shape:
        """What stands in it, by its first byte."""

    @abc.abstractmethod
    def most_levels(self, payload: Raw) -> int:
        """At least as many as it is nested deep, found without decoding it."""

    @abc.abstractmethod
    def list_of(self, values: Sequence[Encoded]) -> bytes:
        """A list with these values."""

    @abc.abstractmethod
    def length_of(self, payload: Raw) -> int:
        """How many values stand in a list. Raises msgspec.MsgspecError where it is none."""

    def values_of(self, payload: Raw) -> list[Raw]:
        """What stands in a list. Raises msgspec.MsgspecError where it is none."""
        values: list[Raw] = self.decoder(list[Raw])(payload)
        return values

    @abc.abstractmethod
    def as_list(self, payload: bytes) -> bytes:
        """A list with this one value; of null an empty one."""

    # Frames

    @abc.abstractmethod
    def opening(self, kind: type[Decoded]) -> bytes:
        """What a body of this type begins with, in the shortest form."""

    closing: ClassVar[bytes]
    """What it ends with."""

    @abc.abstractmethod
    def encode(self, message: Message) -> bytes:
        """The whole frame. Its size is not checked here: the limit belongs to the connection it is for."""

    @abc.abstractmethod
    def call_frame(self, call_id: str, object_name: str, method: str, timeout_ms: int, args: bytes | Raw) -> bytes:
        """The frame of a `Call` that asks for nothing else. `call_id` is one of ours. Raises InvalidArgs."""

    def decode_call(self, frame: bytes) -> Call:
        """Of one frame, in the shortest form: at once, for the usual case.

        Whatever is wrong, or unusual, raises NotOneMessage, or what decoders raise, and tells nothing.
        """
        raise NotOneMessage("in another form")

    @abc.abstractmethod
    def result_frame(self, call: Call, value: Raw) -> bytes:
        """The frame of the `Result` for a call."""

    def decode_result(self, data: bytes, kind: Any) -> DecodedResult:
        """Of one frame, header included, in the shortest form, and with a value of this kind: at once, for the usual case.

        Whatever is wrong, or unusual, raises NotOneMessage, or what decoders raise, and tells nothing.
        """
        raise NotOneMessage("in another form")

    def publish_frame(self, object_name: str, topic: str, value: Raw) -> bytes:
        """The frame of a `Publish` that asks for nothing else. Raises InvalidArgs."""
        return self._framed(self.publish_opening(object_name, topic), value)

    def event_frame(self, object_name: str, topic: str, value: Raw, subscription: int) -> bytes:
        """The frame of an `Event` that is not retained. The names are those of a message that was decoded."""
        return self._framed(self.event_opening(object_name, topic, subscription), value)

    @abc.abstractmethod
    def publish_opening(self, object_name: str, topic: str) -> bytes:
        """What stands before the value in the body of a `Publish`, in its usual form. Raises InvalidArgs."""

    @abc.abstractmethod
    def event_opening(self, object_name: str, topic: str, subscription: int) -> bytes:
        """What stands before the value in the body of an `Event`, behind which comes what comes in that of a `Publish`."""

    publish_closing: ClassVar[bytes]
    """What stands behind the value in both, behind the values of a `Batch`, and behind the payload of a call or an answer."""

    @abc.abstractmethod
    def batch_opening(self, object_name: str, topic: str, subscription: int) -> bytes:
        """What stands before the values in the body of a `Batch`. The names are those of a message that was decoded or sent."""

    def batch_frame(self, object_name: str, topic: str, values: bytes | Raw, subscription: int = 0) -> bytes:
        """The frame of a `Batch` with this list of values."""
        return self._framed(self.batch_opening(object_name, topic, subscription), values)

    def _framed(self, opening: bytes, value: bytes | Raw) -> bytes:
        closing = self.publish_closing
        return b"%b%b%b%b" % (write_length(len(opening) + len(value) + len(closing)), opening, value, closing)

    def in_parts(self, frame: bytes, payload: Payload) -> Parts:
        """The frame of a `Call`, `Result` or `Publish` that was made with `NOTHING`, with a large payload in its place."""
        end = len(frame) - len(self.publish_closing)
        opening = write_length(len(frame) - HEADER_SIZE + len(payload)) + frame[HEADER_SIZE:end]
        if isinstance(payload, Pieces):
            first, *others = payload.pieces
            return Parts(opening + first, *others, frame[end:])
        return Parts(opening, payload, frame[end:])

    # Bodies in other forms than the shortest

    @abc.abstractmethod
    def decode_body(self, body: bytes) -> tuple[str, Raw]:
        """The type's name and what belongs to it. Raises NotOneMessage, and what the decoders raise."""

    @abc.abstractmethod
    def check_text(self, body: bytes) -> None:
        """Raises UnicodeDecodeError where msgspec left text unchecked."""

    @abc.abstractmethod
    def early_call(self, body: bytes) -> tuple[str, str] | None:
        """The id of a call in a body that cannot be decoded, if it stands at its beginning."""


def _never(body: Encoded) -> Decoded:
    raise AssertionError("no frame has this opening")


_Kind = tuple[bytes | None, int, Callable[[Encoded], Decoded]]
_NONE: _Kind = (None, HEADER_SIZE, _never)
"""The type of a frame whose opening nobody knows: what it begins with, where that ends, how the rest is decoded."""


def _is_text(data: bytes) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Decoder:
    """Decodes the frames of the message types one side of a connection may receive."""

    __slots__ = ("_by_name", "_by_start", "_codec", "_decode_call_id", "_lost_events", "_stop")

    START = 6
    """Bytes of a body by which its type is looked up."""

    def __init__(self, codec: Codec, kinds: Collection[type[Decoded]]) -> None:
        self._codec = codec
        self._stop = -len(codec.closing) if codec.closing else None
        self._by_name: dict[str, Callable[[Encoded], Decoded]] = {}
        self._by_start: dict[bytes, _Kind] = {}
        self._decode_call_id = codec.decoder(CallId)
        undecoded: tuple[type[Event | Batch], ...] = (Event, Batch) if events.Event in kinds else ()
        self._lost_events = {codec.opening(kind): codec.decoder(kind) for kind in undecoded}
        for kind in kinds:
            decode = codec.decoder(kind)
            opening = codec.opening(kind)
            self._by_name[kind.__name__] = decode
            # Where several types begin alike, the first, which comes most often, is found here and the others more slowly.
            self._by_start.setdefault(opening[: self.START], (opening, HEADER_SIZE + len(opening), decode))

    def decode_all(self, frames: Iterable[bytes]) -> list[Received]:
        """For each, the message and its frame in the shortest form, fit to be forwarded.

        Never raises: a body that is no message gives an `Invalid` that says why.
        """
        received: list[Received] = []
        by_start, stop = self._by_start, self._stop
        opening, end, decode = _NONE
        for frame in frames:
            if len(frame) > LARGE:
                received.append(self.decode_large(frame))
                continue
            if frame[HEADER_SIZE:end] != opening:  # of another type than the one before it
                opening, end, decode = by_start.get(frame[HEADER_SIZE : HEADER_SIZE + self.START], _NONE)
                if frame[HEADER_SIZE:end] != opening:
                    received.append(self._decode_other_form(frame))
                    continue
            inner = frame[end:stop]
            try:
                message = decode(inner)
                if stop is not None and (frame[-1] != _BRACE or not (inner.isascii() or _is_text(inner))):
                    received.append(self._decode_other_form(frame))
                    continue
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                received.append(self._decode_other_form(frame))  # which finds out what is wrong with it
            else:
                received.append((message, frame))
        return received

    def decode_large(self, frame: bytes | memoryview) -> Received:
        """What is large is not copied; JSON is, to look through its text."""
        if self._stop is not None:
            frame = bytes(frame)
        start = bytes(frame[HEADER_SIZE : HEADER_SIZE + self.START])
        opening, end, decode = self._by_start.get(start, _NONE)
        if frame[HEADER_SIZE:end] == opening:
            try:
                message = decode(memoryview(frame)[end : self._stop])
                if self._stop is None or (frame[-1] == _BRACE and _is_text(bytes(frame[HEADER_SIZE:]))):
                    return message, cast(bytes, frame)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # the slower way finds out what is wrong with it
        return self._decode_other_form(bytes(frame))

    def _decode_other_form(self, frame: bytes) -> Received:
        codec = self._codec
        body = frame[HEADER_SIZE:]
        about, call_id = codec.early_call(body) or ("", None)
        try:
            name, inner = codec.decode_body(body)
            decode = self._by_name.get(name)
            if decode is None:
                return Invalid(f"unknown message {name[:64]!r}; known here: {', '.join(self._by_name)}"), frame
            if name in ABOUT_CALLS:
                about, call_id = name, self._decode_call_id(inner).call_id
            message = decode(inner)
            codec.check_text(body)
        except NotOneMessage as error:
            return Invalid(f"a message is a map with exactly one key, this one has {error}"), frame
        except RecursionError:
            return self._lost_event(frame) or Invalid(
                "the body is nested too deeply", call_id=call_id, about=about
            ), frame
        except UnicodeDecodeError as error:
            return self._lost_event(frame) or Invalid(
                f"the body is not UTF-8: {error}", call_id=call_id, about=about
            ), frame
        except msgspec.MsgspecError as error:
            return self._lost_event(frame) or Invalid(f"not a message: {error}", call_id=call_id, about=about), frame
        return message, frame if isinstance(message, events.Event | events.Batch) else codec.encode(message)

    def _lost_event(self, frame: bytes) -> Event | Batch | None:
        """Events with a value that cannot be decoded, all left as they came: their subscriber is to know what it missed."""
        for opening, decode in self._lost_events.items():
            if frame.startswith(opening, HEADER_SIZE):
                try:
                    event: Event | Batch = decode(frame[HEADER_SIZE + len(opening) : self._stop])
                    if isinstance(event, Batch):
                        self._codec.values_of(event.values)  # a list it has to be
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    return None
                return event
        return None


@lru_cache(maxsize=4096)
def checked_name(name: str) -> bytes:
    """In UTF-8. Raises InvalidArgs for a name that is too long, or that UTF-8 cannot say."""
    if len(name) > MAX_NAME:
        raise InvalidArgs(f"the name {name[:32]!r}... is longer than {MAX_NAME} characters", delivered="no")
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgs(f"the name {name!r} cannot be said in UTF-8: {error.reason}", delivered="no") from error
