"""A client's session: everything is open, and its broker says what is wrong. Then it gets a connection to a good broker."""

from __future__ import annotations

from mmap import mmap
from random import Random
from typing import Any

from msgspec import Raw

from ipc_broker.errors import IPCError
from ipc_broker.events import Event, Gap
from ipc_broker.messages import (
    Call,
    Cancel,
    Direct,
    DirectOffer,
    Error,
    Invalid,
    Lent,
    Registered,
    Result,
    Subscribed,
    Welcome,
)
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import ENCODINGS, JSON, MSGPACK
from ipc_broker.protocol.framing import SEED_MAX_FRAME
from ipc_broker.protocol.lending import FIRST, SLOT_SIZE, SLOTS
from ipc_broker.session import Session, Settings
from ipc_broker.session.direct import Path
from ipc_broker.session.streams import Incoming
from ipc_broker.session.subscriptions import ClientSubscription
from ipc_broker.shared_memory import TOKEN
from tests.fuzz import corpus, inputs
from tests.fuzz.coverage import Coverage
from tests.fuzz.inputs import Input

STATES = ("before welcome", "seed", "json", "msgpack", "direct")
NOW = 1000.0
_FEATURES = ("multiplex", "cancel", "caller", "streams", "flow", "resume", "batches", "direct", "memory")
_OFFER = DirectOffer("there", 4712)


class _Memory:
    """The session's, which nobody else opens."""

    token = "00" * TOKEN
    descriptor = 3

    def __init__(self, size: int) -> None:
        self.memory = mmap(-1, size)

    def close(self) -> None:
        self.descriptor = -1


def _lent(call_id: str) -> list[bytes]:
    """What the worker's slots hold."""
    result, error = Result(call_id, "direct", MSGPACK.null), Error(call_id, "direct", "no", code="indirect")
    return [MSGPACK.encode(one) for one in (result, error, Lent(4, 9), Cancel(call_id))]


def _scene(prefix: str, kinds: tuple[str, ...] = corpus.BY_BROKER) -> corpus.Scene:
    return corpus.Scene(
        kinds,
        {
            "call_id": (*(f"{prefix}{number}" for number in range(1, 12)), "9.1", "9.2"),
            "object_name": ("math", "logs", "sensor", "calc", "rob", "nobody"),
            "topic": ("temp", "x", "*"),
            "subscription": (1, 2, 3, 4, 0, 9),
            "id": (1, 2, 3, 4, 0, 9),
            "prefix": ("7.", "9.", ""),
            "session": ("e-7", ""),
            "features": (list(_FEATURES), ["streams"], []),
            "address": ("there", "elsewhere", ""),
            "token": (_Memory.token, ""),
            "size": (*map(len, _lent("7.10")), 0, 4, 5, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 2**53 - 1),
        },
        ("add", "tail"),
        "9.",
    )


_SCENES = {
    "seed": _scene("n."),
    "json": _scene("7."),
    "msgpack": _scene("7."),
    "direct": _scene("7.", corpus.BY_WORKER),
    "before welcome": _scene("n"),
}
_SETTINGS = Settings(name="client", pid=99)
_DATA = {"a": 1, "b": 2}


class Outcome:
    """A `Reply`. Setting it twice is a fault."""

    def __init__(self) -> None:
        self.outcome: list[object] = []

    def done(self) -> bool:
        return bool(self.outcome)

    def set_result(self, result: Any, /) -> None:
        assert not self.outcome, f"set twice: {self.outcome}, {result!r}"
        self.outcome.append(result)

    def set_exception(self, exception: Any, /) -> None:
        assert isinstance(exception, IPCError), exception
        self.set_result(exception)


class EventSink:
    """A `Sink` that takes every second event at once, the others later."""

    def __init__(self) -> None:
        self.subscription: ClientSubscription | None = None
        self.came: list[Event | Gap] = []
        self.ends = 0
        self._untaken = 0

    def deliver_all(self, events: list[Event], size: int) -> None:
        for event in events:
            self.deliver(event, size)
            size = 0

    def deliver(self, event: Event | Gap, size: int) -> None:
        self.came.append(event)
        self._untaken += size
        if self.subscription is not None and len(self.came) % 2:
            self.subscription.taken(self._untaken)
            self._untaken = 0

    def ended(self) -> None:
        self.ends += 1


class Server:
    """A `Server` that answers some calls at once and some not at all."""

    def __init__(self, session: Session) -> None:
        self._serving = session.serving
        self.told = 0

    def call(self, call: Call, connection: Connection) -> None:
        self.told += 1
        if self.told % 2:
            self._serving.answer(call, connection, connection.codec.null)
        elif call.credit:
            self._serving.send_item(connection, self._serving.item_frame(call, connection, connection.codec.null))
            self._serving.end_stream(call, connection)
        elif self.told % 3:
            self._serving.fail(call, connection, "remote_error", call.method, type="ValueError")

    def cancel(self, call_id: str) -> None:
        self.told += 1

    def credit(self, call_id: str, size: int) -> None:
        self.told += 1

    def registered(self, name: str, error: IPCError | None) -> None:
        self.told += 1

    def interrupted(self) -> None:
        self.told += 1


class OneSession:
    """A session and all that it has open."""

    def __init__(self, coverage: Coverage) -> None:
        self.session = session = Session(nonce="n", settings=_SETTINGS)
        coverage.count_messages(session)
        session.on_notice = self._notice
        session.serving.server = Server(session)
        self.replies: list[Outcome] = []
        self.streams: list[Incoming] = []
        self.sinks: list[EventSink] = []
        self.notices: list[Error | Invalid] = []
        self.broker = Connection(Role.BROKER, _nothing)
        self.path: Path | None = None
        session.make_memory = _Memory
        session.directs.on_offer = lambda object_name, offer: None

    def _notice(self, notice: Error | Invalid) -> None:
        self.notices.append(notice)

    def connect(self) -> str:
        """Gives the id of its hello."""
        self.broker = Connection(Role.BROKER, _nothing)
        self.session.connection_made(_nothing, self.reply())
        [hello] = self.sent()
        assert isinstance(hello, Call)
        return hello.call_id

    def open(self, encoding: str) -> None:
        """A connection to a good broker."""
        hello_id = self.connect()
        if encoding == "seed":
            self.session.receive_data(JSON.encode(Result(hello_id, "rob", JSON.null)))
            return
        welcome = Welcome(encoding, _FEATURES, 65_536, "7.", "e", "e-7", "1.2.3", 4711)
        self.session.receive_data(JSON.encode(Result(hello_id, "rob", JSON.encode_payload(welcome))))
        self.broker.extend(encoding, 65_536, 65_536)

    def reply(self) -> Outcome:
        reply = Outcome()
        self.replies.append(reply)
        return reply

    def subscribe(self, object_name: str, topic: str, group: str = "", overflow: str = "") -> EventSink:
        sink = EventSink()
        reply = self.reply()
        sink.subscription = self.session.subscribe(object_name, topic, sink, reply, group=group, overflow=overflow)
        self.sinks.append(sink)
        return sink

    def open_everything(self) -> None:
        """The first id is the hello's, so that these calls are 2 to 11."""
        session, extended = self.session, self.session.welcome is not None
        payload = session.codec.encode_payload(_DATA)
        session.call("math", "add", payload, self.reply(), NOW)
        session.call("math", "add", payload, self.reply(), NOW, 5.0)
        session.call("math", "add", payload, self.reply(), NOW, 0.2, headers={"tenant": "a"})
        if extended:
            for _ in range(2):
                stream = Incoming(session, "logs", "tail")
                stream.open(payload, NOW, None, None)
                self.streams.append(stream)
        for topic in ("temp", "temp", "x", "temp"):
            session.publisher.publish("sensor", topic, payload)
        session.publisher.publish_with("sensor", "x", payload, self.reply(), NOW, retain=extended)
        session.names.has("math", self.reply())
        session.names.has("math", self.reply())
        self.subscribe("sensor", "temp")
        if extended:
            self.subscribe("sensor", "*", group="g")
            self.subscribe("sensor.>", "x", overflow="latest")
            session.publisher.set_will("will", "x", 1, self.reply(), NOW, retain=True)
            session.publisher.clear("sensor", "y", self.reply(), NOW)
        self.subscribe("sensor", "temp")
        session.serving.expose("calc", "exclusive", 0)

    def call_directly(self) -> None:
        """Calls of `direct` go over a connection of their own."""
        session = self.session
        path = session.directs.open("direct", _OFFER, _nothing, 1, self._close_path)
        assert path is not None
        self.path = path
        session.directs.begin(path)
        session.directs.receive_data(path, session.codec.encode(Direct("direct", _OFFER.address, memory=True)))
        session.directs.share(path)
        for timeout in (None, 5.0, 0.2):
            call_id = session.call("direct", "add", session.codec.null, self.reply(), NOW, timeout)
        assert path.in_flight == 3
        if path.sharing._memory is not None:
            for slot, frame in enumerate(_lent(call_id), SLOTS):
                start = FIRST + slot * SLOT_SIZE
                path.sharing._memory.memory[start : start + len(frame)] = frame

    def hear_worker(self, piece: bytes) -> None:
        """As a shell does, which closes what makes no sense."""
        path = self.path
        if path is not None and (not self.session.directs.receive_data(path, piece) or path.is_done):
            self._close_path()

    def _close_path(self) -> None:
        path, self.path = self.path, None
        if path is not None:
            self.session.directs.lost(path, "it was closed")
            assert not path.in_flight

    def sent(self) -> list[Any]:
        """What the session has sent since the last time; a good broker understands all of it."""
        messages = []
        for message, frame in self.broker.receive_data(self.session.data_to_send()):
            assert not isinstance(message, Invalid), f"the session sent {frame!r}: {message.reason}"
            messages.append(message)
        return messages

    def lose(self) -> None:
        self.session.connection_lost("the connection ended")
        assert all(reply.done() for reply in self.replies), "not everybody was told that the connection is lost"
        assert all(stream.ended for stream in self.streams), "a stream goes on without a connection"
        assert not self.session.calls_in_flight
        assert not self.session.directs._connected
        assert self.session.next_deadline() is None
        assert not self.session._questions._asked


def _nothing() -> None:
    pass


class SessionTarget:
    name = "session"

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage

    def make(self, number: int, rng: Random) -> Input:
        state = rng.choice(STATES)
        scene = _SCENES[state]
        opening = []
        if state == "before welcome":
            opening = [corpus.welcome(rng, scene, HELLO_AGAIN), corpus.message(rng, scene, "Error")]
        encoding = "msgpack" if state in ("msgpack", "direct") else "json"
        return inputs.make(number, f"session, {state}", rng, scene, encoding, opening)

    def play(self, given: Input) -> None:
        state = given.target.partition(", ")[2]
        choices = Random(int(given.way * 2**53))
        one = OneSession(self.coverage)
        session = one.session
        if state == "before welcome":
            one.open(choices.choice(("json", "msgpack", "seed")))
            one.open_everything()
            session.data_to_send()
            one.lose()
            session._calls._last_id = 20
            assert one.connect() == HELLO_AGAIN
        else:
            one.open("msgpack" if state == "direct" else state)
            one.open_everything()
            if session.welcome is not None:
                one.call_directly()
            one.sent()
        with self.coverage.fuzzing():
            for piece in given.pieces:
                if state == "direct":
                    one.hear_worker(piece)
                else:
                    session.receive_data(piece)
                session.data_to_send()
        for notice in one.notices:
            if isinstance(notice, Error):
                self.coverage.sent(notice)
        for stream in one.streams:
            while stream.take() is not None:
                pass
            if choices.random() < 0.3:
                stream.cancel()
        if choices.random() < 0.3:
            session.handle_timer(NOW + choices.choice((0.3, 6.0)))
        session.data_to_send()
        fatal = any(isinstance(notice, Invalid) and notice.fatal for notice in one.notices)
        takes_calls = session.ready and session.welcome is not None and session.welcome.max_frame >= SEED_MAX_FRAME
        if takes_calls and not fatal and (state == "direct" or inputs.is_whole(given.pieces)):
            self._ask_again(one)
        self.coverage.ends["closed" if fatal else "stayed"] += 1
        one.lose()
        self._play_on(one, choices.choice(("json", "msgpack", "seed")))

    def check(self) -> None:
        """Nothing is kept between inputs."""

    def close(self) -> None:
        """It holds nothing open."""

    def _ask_again(self, one: OneSession) -> None:
        """What a broker says in good order is still understood, over the same connection."""
        session = one.session
        reply = one.reply()
        call_id = session.call("probe", "add", session.codec.null, reply, NOW)
        session.receive_data(session.codec.encode(Result(call_id, "probe", session.codec.encode_payload(42))))
        [value] = reply.outcome
        assert isinstance(value, Raw), value
        assert session.codec.decode_any(value) == 42

    def _play_on(self, one: OneSession, encoding: str) -> None:
        """Over a new connection everything goes on as if nothing had happened."""
        session = one.session
        one.open(encoding)
        assert session.ready
        codec: Codec = ENCODINGS.get(encoding, JSON)
        asked = [type(message).__name__ for message in one.sent()]
        assert "RegisterObject" in asked, asked
        session.receive_data(codec.encode(Registered("calc")))
        sink = one.subscribe("probe", "tick")
        assert sink.subscription is not None
        id = sink.subscription.id if encoding != "seed" else 0
        session.receive_data(codec.encode(Subscribed("probe", "tick", id)))
        session.receive_data(codec.event_frame("probe", "tick", codec.encode_payload([1]), id))
        assert [getattr(event, "value", None) for event in sink.came] == [[1]], sink.came
        session.publisher.publish("probe", "tick", codec.null)
        self._ask_again(one)
        assert {"Subscribe", "Publish", "Call"} <= {type(message).__name__ for message in one.sent()}
        one.lose()


HELLO_AGAIN = "n21"
