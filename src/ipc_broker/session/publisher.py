"""The publishing side of a session: events, retained values and the last will."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from ..errors import TooLarge
from ..messages import Error, Publish
from ..protocol import batching
from ..protocol.codec import NOTHING, Codec, checked_name
from ..protocol.connection import Connection
from ..protocol.encodings import transcode
from ..protocol.framing import HEADER_SIZE, LARGE, Frame
from ..protocol.payload import Unsendable
from ..protocol.pieces import Payload, together
from .calls import Calls
from .names import BROKER_OBJECT
from .serving import over_frame_limit
from .shell import UNHEARD, Reply
from .values import payload_of

if TYPE_CHECKING:
    from .session import Session


class _Kept(Struct, frozen=True):
    """The value of a retained event or a will, to be sent again over another connection."""

    value: Raw
    codec: Codec


class _LastWill(Struct, frozen=True):
    object_name: str
    topic: str
    kept: _Kept
    retain: bool


class Publisher:
    """See the module. What it keeps outlives the connections."""

    __slots__ = (
        "_calls",
        "_directs",
        "_retained",
        "_session",
        "_shallow",
        "_small",
        "_to_come",
        "_unsent",
        "_will",
    )

    def __init__(self, session: Session, calls: Calls) -> None:
        self._session = session
        self._calls = calls
        self._directs = calls.directs
        self._retained: dict[tuple[str, str], _Kept] = {}
        # Bytes of a value that may travel with others in one message, and of one of which nothing more has to be asked.
        self._small = self._shallow = 0
        self._unsent: list[tuple[Publish, Codec]] = []
        self._to_come: set[tuple[str, str]] = set()  # by whoever waits for the acknowledgement
        self._will: _LastWill | None = None

    def publish(self, object_name: str, topic: str, value: Payload) -> int:
        """Gives the bytes that wait for the shell to write them. Raises TooLarge, InvalidArgs, ConnectionLost."""
        session = self._session
        connection = session.connection
        if connection is None or not session.ready:
            connection = session.require_connection()
        self._directs.published += 1
        size = len(value)
        small: Any = value  # which stands together
        if size <= self._shallow or (size <= self._small and connection.codec.most_levels(small) <= batching.SHALLOW):
            connection.publish(object_name, topic, small, size)
            return connection.queued
        codec = connection.codec
        frame: Frame
        if size > LARGE:
            self._session.sharing.begin()
            frame = codec.in_parts(codec.publish_frame(object_name, topic, NOTHING), value)
        else:
            frame = codec.publish_frame(object_name, topic, small)
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise _too_large(frame, connection, object_name, topic)
        connection.send_frame(frame)
        return connection.queued

    def publish_with(
        self, object_name: str, topic: str, payload: Payload, reply: Reply | None, now: float, *, retain: bool
    ) -> int:
        """As `publish`. `reply` gets a result when the event was routed; with `retain` it is kept for later subscribers."""
        value = together(payload)
        session = self._session
        connection = session.require_connection()
        for name in (object_name, topic):
            checked_name(name)
        extended = session.welcome is not None
        if retain:
            session.require_extended("retained events")
        call_id = self._calls.next_id() if reply is not None and extended else ""
        frame = connection.codec.encode(Publish(object_name, topic, value, call_id, retain))
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise _too_large(frame, connection, object_name, topic)
        if retain:
            self._retained[object_name, topic] = _Kept(value, connection.codec)
        if reply is not None and extended:
            self._calls.pending.add(call_id, reply, object_name, topic, now, None)
        self._directs.published += 1
        connection.send_frame(frame)
        if reply is not None and not extended:
            # The Rust crate's broker handles what a connection sends in its order: the answer to a later question will do.
            session.names.has(BROKER_OBJECT, reply)
        return connection.queued

    def clear(self, object_name: str, topic: str, reply: Reply, now: float) -> None:
        """Removes what is retained there. Raises InvalidArgs, ConnectionLost."""
        for name in (object_name, topic):
            checked_name(name)
        self._session.require_extended("retained events")
        self._session.ask_broker("clear", {"object_name": object_name, "topic": topic}, reply, now)
        self._retained.pop((object_name, topic), None)

    def set_will(self, object_name: str, topic: str, value: Any, reply: Reply, now: float, *, retain: bool) -> None:
        """Published by the broker when a connection of ours ends without goodbye. With an empty topic there is none.

        Raises TooLarge, InvalidArgs, ConnectionLost.
        """
        codec = self._session.require_connection().codec
        self._session.require_extended("wills")
        for name in (object_name, topic):
            checked_name(name)
        kept = _Kept(together(payload_of(value, codec, object_name, topic)), codec)
        will = _LastWill(object_name, topic, kept, retain) if topic else None
        self._ask_for(will, _WillReply(self, will, reply), now)

    def _ask_for(self, will: _LastWill | None, reply: Reply, now: float) -> None:
        """Raises Unsendable where this connection's encoding cannot say it, and what `Session.call` raises."""
        args: dict[str, Any] = {}
        if will is not None:
            value = transcode(will.kept.value, will.kept.codec, self._session.codec)
            args = {"object_name": will.object_name, "topic": will.topic, "args": value, "retain": will.retain}
        self._session.ask_broker("setWill", args, reply, now)

    @property
    def has_unsent(self) -> bool:
        """Whether events wait for the next connection."""
        return bool(self._unsent)

    def connection_lost(self, unsent: list[Publish], codec: Codec) -> None:
        """These events were surely not sent. One that is to be acknowledged is left to whoever waits for that."""
        self._unsent += [(event, codec) for event in unsent if not event.call_id]
        self._to_come = {(event.object_name, event.topic) for event in unsent if event.call_id}

    def reopen(self, connection: Connection, *, new_broker: bool) -> None:
        """There is a new connection."""
        batches = self._session.supports("batches") and connection.send_limit >= batching.ROOM
        self._small, self._shallow = (batching.LARGEST_VALUE, batching.SHALLOW) if batches else (0, 0)
        # What this encoding cannot say, or this broker not take, is left out; whoever publishes next is told.
        if self._session.welcome is not None:
            if self._will is not None:
                with suppress(Unsendable, TooLarge):
                    self._ask_for(self._will, UNHEARD, 0.0)
            if new_broker:
                to_come = {
                    (event.object_name, event.topic) for event, _ in self._unsent if event.retain
                } | self._to_come
                for (object_name, topic), kept in self._retained.items():
                    if (object_name, topic) in to_come:
                        continue
                    with suppress(Unsendable, TooLarge):
                        again = Publish(object_name, topic, kept.value, retain=True, if_absent=True)
                        self._send_again(again, kept.codec, connection)
        self._to_come = set()
        unsent, self._unsent = self._unsent, []
        for event, codec in unsent:
            try:
                self._send_again(event, codec, connection)
            except (Unsendable, TooLarge) as error:
                self._session.notice(Error(None, event.object_name, f"an event that was to be sent again: {error}"))

    def _send_again(self, event: Publish, codec: Codec, connection: Connection) -> None:
        """Raises Unsendable, TooLarge."""
        if event.retain and self._session.welcome is None:
            raise Unsendable("this broker speaks the Rust crate's protocol: it has no retained events")
        event = replace(event, args=transcode(event.args, codec, connection.codec))
        frame = connection.codec.encode(event)
        if len(frame) - HEADER_SIZE > connection.send_limit:
            raise _too_large(frame, connection, event.object_name, event.topic)
        connection.send_frame(frame)

    def accepted(self, will: _LastWill | None) -> None:
        self._will = will


class _WillReply:
    """The reply to a will: one that was refused is not asked for again."""

    def __init__(self, publisher: Publisher, will: _LastWill | None, reply: Reply) -> None:
        self._publisher = publisher
        self._will = will
        self._reply = reply
        self.done = reply.done

    def set_result(self, result: Any, /) -> None:
        self._publisher.accepted(self._will)
        self._reply.set_result(None)

    def set_exception(self, exception: Any, /) -> None:
        self._reply.set_exception(exception)


def _too_large(frame: Frame, connection: Connection, object_name: str, topic: str) -> TooLarge:
    what = f"the event '{topic}' of '{object_name}'"
    return TooLarge(over_frame_limit(frame, connection, what), object=object_name)
