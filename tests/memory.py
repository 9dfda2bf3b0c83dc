"""A bus without sockets: one router, sessions and raw peers around it, and a clock that moves only when told.

Nothing moves by itself. `Bus.step` delivers what one connection has, `Bus.settle` delivers until nothing moves,
`Bus.advance` moves the clock and runs the timers that come due on the way.
"""

from __future__ import annotations

import json
from typing import Any, Protocol, cast

from msgspec import UNSET
from msgspec.structs import replace

from ipc_broker.config import Limits, Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.messages import Error, Invalid
from ipc_broker.protocol.framing import FrameReader
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router
from ipc_broker.security.principal import OWNER, Principal
from ipc_broker.session import Session, Settings
from tests.messages import call, register, subscribe
from tests.recording import Answer, RecordingServer, RecordingSink
from tests.seed.decoding import decode_message
from tests.seed.frames import Json, Message, frame

IDENTITY = Identity(version="1.2.3", epoch="epoch", pid=4711)
WRITE_SIZE = 256 * 1024  # what one write takes at most, as in the broker's shell


class End(Protocol):
    """The other side of a link."""

    def outgoing(self) -> bytes: ...
    def incoming(self, data: bytes) -> None: ...
    def lost(self) -> None: ...


class Link:
    """One connection to the router. `takes` False: its transport is full, so that all the rest waits in the outbox."""

    def __init__(
        self,
        bus: Bus,
        end: End,
        credentials: Credentials = Credentials(),
        principal: Principal | None = OWNER,
        refusal: str = "",
    ) -> None:
        self.peer: Peer = bus.router.connect(credentials, bus.now, principal, refusal)
        self.takes = True
        self.open = True  # as the broker sees it
        self._bus = bus
        self._end = end
        self._told = False
        self._to_broker = b""
        self._to_end = b""
        self._end_of_input = False
        bus.links[self.peer] = self
        bus.flush()

    def stop_taking(self) -> None:
        self.takes = False

    def take_again(self) -> None:
        """The transport has room again."""
        self.takes = True
        self.update()
        self._bus.flush()
        self._bus.settle()

    def take(self, size: int) -> None:
        """The transport takes so many bytes, rounded up to whole frames, and is full again."""
        self._to_end += self.peer.connection.data_to_send(size)
        self._bus.router.written(self.peer, self._bus.now)
        self._bus.flush()
        self._bus.settle()

    def end_input(self) -> None:
        """The end sends nothing any more, after what it has sent."""
        self._end_of_input = True
        self._bus.settle()

    def disconnect(self) -> None:
        """The connection breaks. What is on its way is lost."""
        self._to_broker = self._to_end = b""
        self.close()
        self._bus.flush()
        self._bus.settle()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._bus.router.disconnect(self.peer, self._bus.now)

    def update(self) -> None:
        """What the broker's shell does for a peer that was woken."""
        connection = self.peer.connection
        while self.open and self.takes and connection.queued:
            self._to_end += connection.data_to_send(WRITE_SIZE)
            self._bus.router.written(self.peer, self._bus.now)
        if self.peer.closing and not connection.queued:
            self.close()

    def step(self) -> bool:
        """Delivers what is on its way; False when nothing was."""
        now, router = self._bus.now, self._bus.router
        if self.open:
            self._to_broker += self._end.outgoing()
            if self.peer.reads and self._to_broker:
                data, self._to_broker = self._to_broker, b""
                router.receive(self.peer, data, now)
                return True
            if self._end_of_input and self.peer.reads:
                self._end_of_input = False
                router.end_of_input(self.peer, now)
                return True
        if self._to_end:
            data, self._to_end = self._to_end, b""
            self._end.incoming(data)
            return True
        if not self.open and not self._told:
            self._told = True
            self._end.lost()
            return True
        return False


class Bus:
    """The router and all its links."""

    def __init__(self, limits: Limits = Limits(), quotas: Quotas | None = None, epoch: str = IDENTITY.epoch) -> None:
        self.now = 1000.0
        self.router = Router(replace(IDENTITY, epoch=epoch), limits, self.now, quotas=quotas)
        self.links: dict[Peer, Link] = {}
        self.clients: list[Client] = []

    def step(self) -> bool:
        """Delivers what one link has; False when nothing is on its way."""
        for link in list(self.links.values()):
            if link.step():
                self.flush()
                return True
        return False

    def settle(self) -> None:
        """Delivers until nothing moves."""
        while self.step():
            pass
        for link in self.links.values():
            waiting = link.peer.connection.queued
            assert not (link.open and link.takes and waiting), f"{link.peer} was not woken for what waits for it"
            assert not (link.open and link.peer.closing and not waiting), f"{link.peer} was not woken to be closed"

    def flush(self) -> None:
        for peer in self.router.woken:  # more may be appended on the way
            self.links[peer].update()
        self.router.woken.clear()

    def advance(self, seconds: float) -> None:
        """Moves the clock, and runs each timer when it comes due."""
        end = self.now + seconds
        while True:
            self.settle()
            brains: tuple[Router | Session, ...] = (self.router, *(client.session for client in self.clients))
            due = [deadline for brain in brains if (deadline := brain.next_deadline()) is not None and deadline <= end]
            if not due:
                break
            self.now = max(self.now, min(due))
            for brain in brains:
                brain.handle_timer(self.now)
                left = brain.next_deadline()
                assert left is None or left > self.now, f"{brain} would have its timer run for ever"
            self.flush()
        self.now = end

    def assert_no_call_is_left(self) -> None:
        assert self.router.calls.in_flight == 0
        for peer in self.links:
            assert not peer.calls, peer
            assert not peer.serving, peer

    def assert_empty(self) -> None:
        """Nothing is left in the router when all have gone, and their sessions are forgotten."""
        router = self.router
        self.advance(router.limits.resume + 1)
        assert not router.peers
        assert not len(router.names)
        assert router.events.subscriptions.count == 0
        assert router.next_deadline() is None
        self.assert_no_call_is_left()
        for peer in self.links:
            assert not any((peer.registrations, peer.subscriptions, peer.waits_for, peer.knows, peer.known_to)), peer


class RawPeer:
    """A peer of a few lines: it sends what the test says, and keeps what comes. Seed's protocol, until `hello`."""

    def __init__(
        self,
        bus: Bus,
        *names: str,
        credentials: Credentials = Credentials(),
        principal: Principal | None = OWNER,
        refusal: str = "",
    ) -> None:
        self.bus = bus
        self.ended = False
        self.prefix = ""
        self._outgoing = b""
        self._reader = FrameReader()
        self._frames: list[bytes] = []
        self.link = Link(bus, self, credentials, principal, refusal)
        self.peer = self.link.peer
        self.register(*names)

    def hello(self, **fields: Json) -> Message:
        """Opens the extended protocol; gives the broker's answer."""
        self.send(call("hello", "rob", "hello", {"name": "", "features": ["multiplex"], **fields}))
        [answer] = self.receive()
        if "Result" in answer:
            self.prefix = cast(dict[str, str], answer["Result"]["value"])["prefix"]
            self._reader.limit = cast(int, fields.get("max_frame", self._reader.limit))
        return answer

    def register(self, *names: str) -> None:
        for name in names:
            self.send(register(name))
            assert self.receive() == [{"Registered": {"object_name": name}}]

    def subscribe(self, object_name: str, topic: str) -> None:
        self.send(subscribe(object_name, topic))
        assert self.receive() == [{"Subscribed": {"object_name": object_name, "topic": topic}}]

    def send(self, *messages: Message) -> None:
        """In one piece. They are on their way only: `receive`, or the bus, delivers them."""
        self.send_bytes(b"".join(map(frame, messages)))

    def send_bytes(self, data: bytes) -> None:
        self._outgoing += data

    def receive(self) -> list[Message]:
        """What has come since the last time, once nothing moves any more. Whatever a seed could not read fails."""
        decode = json.loads if self.prefix else decode_message
        return [decode(raw[4:]) for raw in self.receive_frames()]

    def receive_frames(self) -> list[bytes]:
        self.bus.settle()
        frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        self.link.disconnect()

    # What the link calls

    def outgoing(self) -> bytes:
        data, self._outgoing = self._outgoing, b""
        return data

    def incoming(self, data: bytes) -> None:
        self._frames += self._reader.feed(data)
        assert not self._reader.oversize, f"the broker sent a frame of {self._reader.oversize} bytes"

    def lost(self) -> None:
        self.ended = True


def extended_peer(bus: Bus, *names: str, name: str = "", credentials: Credentials = Credentials()) -> RawPeer:
    """A raw peer that has said hello."""
    peer = RawPeer(bus, credentials=credentials)
    assert "Result" in peer.hello(name=name)
    peer.register(*names)
    return peer


class Client:
    """A `Session` with a server and a link to the router; `connect` again after it was lost."""

    def __init__(self, bus: Bus, name: str = "client", *, nonce: str | None = None, **settings: Any) -> None:
        """`settings` are further fields of the session's `Settings`, such as `encodings`."""
        self.bus = bus
        self.server = RecordingServer()
        self.notices: list[Error | Invalid] = []
        self.session = Session(nonce=nonce or f"nonce{len(bus.clients)}", settings=Settings(name=name, **settings))
        self.session.serving.server = self.server
        self.session.on_notice = self.notices.append
        bus.clients.append(self)
        self.connect()

    def connect(self) -> None:
        opened = Answer()
        self.link = Link(self.bus, self)
        self.session.connection_made(lambda: None, opened)
        self.bus.settle()
        assert opened.result is self.session.welcome

    def call(self, object_name: str, method: str, args: object = None, timeout: float | None = None) -> Answer:
        answer = Answer()
        payload = self.session.codec.encode_payload(args)
        answer.codec = self.session.codec
        self.session.call(object_name, method, payload, answer, self.bus.now, timeout)
        return answer

    def subscribe(self, object_name: str, topic: str, *, group: str = "", overflow: str = "") -> RecordingSink:
        """Its sink takes events at once, unless `takes` is set to False."""
        sink, answer = RecordingSink(), Answer()
        sink.subscription = self.session.subscribe(object_name, topic, sink, answer, group=group, overflow=overflow)
        self.bus.settle()
        assert answer.result is None
        return sink

    def publish(self, object_name: str, topic: str, value: object = None) -> None:
        self.session.publisher.publish(object_name, topic, self.session.codec.encode_payload(value))

    def serve(self, name: str, mode: str = "exclusive", concurrency: int = 0) -> None:
        self.session.serving.expose(name, mode, concurrency)
        self.bus.settle()
        assert self.server.registrations.pop() == (name, None)

    def answer(self, value: object = None) -> None:
        """The result of the oldest call it was given."""
        self.bus.settle()
        given, connection = self.server.calls.pop(0)
        self.session.serving.answer(given, connection, connection.codec.encode_payload(value))

    def fail(self, code: str, message: str, *, type: str = "", data: object = None) -> None:
        """The error of the oldest call it was given."""
        self.bus.settle()
        given, connection = self.server.calls.pop(0)
        payload = connection.codec.encode_payload(data) if data is not None else UNSET
        self.session.serving.fail(given, connection, code, message, type=type, data=payload)

    # What the link calls

    def outgoing(self) -> bytes:
        return self.session.data_to_send()

    def incoming(self, data: bytes) -> None:
        self.session.receive_data(data)

    def lost(self) -> None:
        self.session.connection_lost("the connection ended")
