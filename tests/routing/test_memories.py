"""Large messages through the broker, in memory that clients share with it: sessions and the router, without sockets."""

from __future__ import annotations

from mmap import mmap
from typing import Any

import pytest

from ipc_broker.config import Limits, Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.messages import Call, Memory
from ipc_broker.protocol.connection import Connection
from ipc_broker.protocol.framing import LARGE
from ipc_broker.protocol.lending import SLOTS, Lending
from ipc_broker.routing import memories
from ipc_broker.security.policy import Policy
from ipc_broker.security.principal import OWNER, Principal
from tests.memory import Bus, Client, Link
from tests.recording import RecordingServer, RecordingSink
from tests.routing.peers import json_peer, packed_peer

VALUE = "x" * (LARGE + 1)
CHUNK = 64 * 1024  # what is read at once
LIMITS = Limits(max_frame=8 * 1024 * 1024)


class Made:
    """Memory of a client's, which the broker opens by its descriptor."""

    def __init__(self, bus: LendingBus, size: int) -> None:
        self.memory = mmap(-1, size)
        self.descriptor = len(bus.made)
        self.token = f"{self.descriptor:032x}"
        self.closed = False
        bus.made.append(self)

    def close(self) -> None:
        self.closed = True


class LendingBus(Bus):
    def __init__(self, **settings: Any) -> None:
        super().__init__(LIMITS, **settings)
        self.made: list[Made] = []
        self.opens = True
        self.router.memories.open = self._open

    def _open(self, pid: int, descriptor: int, token: str, size: int) -> mmap:
        made = self.made[descriptor]
        assert (pid, token, size) == (100, made.token, len(made.memory))
        assert not made.closed
        if not self.opens:
            raise PermissionError(13, "Permission denied")
        return made.memory

    def make(self, size: int) -> Made:
        return Made(self, size)


class Decoding(RecordingServer):
    """Decodes what it is called with at once, as workers do."""

    def __init__(self) -> None:
        super().__init__()
        self.args: list[object] = []

    def call(self, call: Call, connection: Connection) -> None:
        self.args.append(connection.codec.decode_any(call.args))
        super().call(call, connection)


class Process(Client):
    """A process of this machine."""

    def __init__(self, bus: LendingBus, principal: Principal | None = OWNER, **settings: Any) -> None:
        self.credentials = Credentials(pid=100, uid=1000)
        self.principal = principal
        self.read = 0
        super().__init__(bus, **settings)
        self.session.serving.server = self.server = self.decoding = Decoding()
        self.session.make_memory = bus.make
        self.session.connection_lost("it begins anew, with memory")
        self.link.disconnect()
        self.connect()

    def connect(self) -> None:
        link_of = Link
        bus, credentials, principal = self.bus, self.credentials, self.principal

        def link(_: Bus, end: Client) -> Link:
            return link_of(bus, end, credentials, principal)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.memory.Link", link)
            super().connect()

    def incoming(self, data: bytes) -> None:
        self.read += len(data)
        for start in range(0, len(data), CHUNK):
            super().incoming(data[start : start + CHUNK])

    def bytes_of(self, does: Any) -> int:
        """How many come, when that is done."""
        before = self.read
        does()
        self.bus.settle()
        return self.read - before

    @property
    def lending(self) -> Lending | None:
        connection = self.session.connection
        return None if connection is None else connection.lending

    def publish_large(self) -> None:
        self.publish("sensor", "t", VALUE)
        self.bus.settle()


def taken(sink: RecordingSink) -> int:
    """How many events have come, all of them whole."""
    assert all(value == VALUE for value in sink.seen)
    return len(sink.seen)


def lending_pair(bus: LendingBus) -> tuple[Process, Process, RecordingSink]:
    """A publisher and a subscriber that both lend, and are lent to."""
    publisher, subscriber = Process(bus), Process(bus)
    sink = subscriber.subscribe("sensor", "t")
    for _ in range(2):
        publisher.publish_large()
    assert publisher.lending is not None
    assert publisher.lending.may_lend
    assert subscriber.lending is not None
    assert len(bus.router.memories) == 2
    assert all(one.closed for one in bus.made)
    assert taken(sink) == 2
    return publisher, subscriber, sink


def test_events_are_lent_to_the_broker_and_by_it() -> None:
    bus = LendingBus()
    publisher, subscriber, sink = lending_pair(bus)
    assert subscriber.bytes_of(publisher.publish_large) < 100
    assert taken(sink) == 3
    assert publisher.lending is not None
    assert publisher.lending.lent_slots == 0


def test_nothing_is_shared_before_something_large_comes() -> None:
    bus = LendingBus()
    publisher, subscriber = Process(bus), Process(bus)
    sink = subscriber.subscribe("sensor", "t")
    publisher.publish("sensor", "t", "x" * 1000)
    bus.settle()
    assert len(sink.seen) == 1
    assert bus.made == []


def test_calls_and_answers_are_lent_on_all_four_ways() -> None:
    bus = LendingBus()
    caller, worker = Process(bus), Process(bus)
    worker.serve("it")

    def exchange() -> None:
        answer = caller.call("it", "echo", [VALUE])
        bus.settle()
        assert worker.decoding.args.pop() == [VALUE]
        worker.answer(VALUE)
        bus.settle()
        assert answer.value == VALUE

    for _ in range(2):
        exchange()
    before = worker.read
    assert caller.bytes_of(exchange) < 100
    assert worker.read - before < 100
    assert [end.lending.lent_slots for end in (caller, worker) if end.lending is not None] == [0, 0]


def test_the_arguments_do_not_keep_their_slot_while_the_method_runs() -> None:
    bus = LendingBus()
    caller, worker = Process(bus), Process(bus)
    worker.serve("it")
    answers = [caller.call("it", "echo", [VALUE]) for _ in range(2)]
    bus.settle()
    for _ in range(3 * SLOTS):
        answers.append(caller.call("it", "echo", [VALUE]))
        bus.settle()
    assert len(worker.decoding.args) == len(answers)
    for peer in bus.router.peers:
        assert peer.connection.lending is not None
        assert peer.connection.lending.lent_slots == 0


def test_who_shares_nothing_gets_the_same_events() -> None:
    bus = LendingBus()
    publisher, _, sink = lending_pair(bus)
    plain = packed_peer(bus, max_frame=2 * LARGE)
    plain.subscribe("sensor", "t")
    reader = json_peer(bus, max_frame=2 * LARGE)
    reader.subscribe("sensor", "t")
    publisher.publish_large()
    assert taken(sink) == 3
    for peer in (plain, reader):
        [event] = peer.receive()
        assert event["Event"]["args"] == VALUE


def test_what_the_broker_keeps_takes_no_slot_for_long() -> None:
    bus = LendingBus()
    publisher, subscriber, sink = lending_pair(bus)
    publisher.session.publisher.publish_with(
        "sensor",
        "kept",
        publisher.session.codec.encode_payload(VALUE),
        publisher.call("rob", "ping"),
        bus.now,
        retain=True,
    )
    bus.settle()
    assert publisher.lending is not None
    assert publisher.lending.lent_slots == 0
    late = subscriber.subscribe("sensor", "kept")
    bus.settle()
    assert taken(late) == 1
    assert taken(sink) == 2


def test_a_subscriber_that_takes_nothing_keeps_the_slots_of_what_waits_and_the_rest_is_sent() -> None:
    bus = LendingBus()
    publisher, subscriber, sink = lending_pair(bus)
    subscriber.link.stop_taking()
    for _ in range(SLOTS + 2):
        publisher.publish_large()
    assert publisher.lending is not None
    assert publisher.lending.lent_slots == SLOTS
    subscriber.link.take_again()
    bus.settle()
    assert taken(sink) == 2 + SLOTS + 2
    assert publisher.lending.lent_slots == 0


def test_a_publisher_that_goes_leaves_what_it_has_published() -> None:
    bus = LendingBus()
    publisher, subscriber, sink = lending_pair(bus)
    subscriber.link.stop_taking()
    publisher.publish_large()
    publisher.link.disconnect()
    publisher.session.connection_lost("it went")
    bus.made.clear()
    assert len(bus.router.memories) == 1
    subscriber.link.take_again()
    bus.settle()
    assert taken(sink) == 3


def test_after_a_lost_connection_memory_is_shared_anew() -> None:
    bus = LendingBus()
    publisher, _, sink = lending_pair(bus)
    publisher.link.disconnect()
    publisher.session.connection_lost("it was lost")
    assert len(bus.router.memories) == 1
    publisher.connect()
    assert publisher.lending is None
    for _ in range(2):
        publisher.publish_large()
    assert publisher.lending is not None
    assert publisher.lending.may_lend
    assert len(bus.router.memories) == 2
    assert taken(sink) == 4


def test_a_broker_that_cannot_open_it_is_sent_all() -> None:
    bus = LendingBus()
    bus.opens = False
    publisher, subscriber = Process(bus), Process(bus)
    sink = subscriber.subscribe("sensor", "t")
    for _ in range(3):
        publisher.publish_large()
    assert publisher.lending is None
    assert len(bus.router.memories) == 0
    assert taken(sink) == 3
    assert len(bus.made) == 2


def test_so_many_are_opened_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "MOST_OPEN", 1)
    bus = LendingBus()
    first, second = Process(bus), Process(bus)
    for _ in range(2):
        first.publish_large()
        second.publish_large()
    assert first.lending is not None
    assert second.lending is None
    first.link.disconnect()
    assert len(bus.router.memories) == 0


@pytest.mark.parametrize("principal", [Principal(user="somebody", uid=1001), Principal(token="theirs")], ids=str)
def test_who_may_not_do_everything_is_sent_all(principal: Principal) -> None:
    bus = LendingBus(quotas=Quotas(calls=5))
    publisher = Process(bus, principal)
    for _ in range(2):
        publisher.publish_large()
    assert publisher.lending is None
    assert len(bus.router.memories) == 0


def test_json_is_never_lent() -> None:
    bus = LendingBus()
    publisher, subscriber = Process(bus, encodings=("json",)), Process(bus)
    sink = subscriber.subscribe("sensor", "t")
    for _ in range(2):
        publisher.publish_large()
    assert publisher.lending is None
    assert taken(sink) == 2


def test_what_comes_from_somebody_who_is_restricted_later_is_copied_before_it_is_looked_at() -> None:
    bus = LendingBus()
    publisher, subscriber, sink = lending_pair(bus)
    for peer in bus.router.peers:
        assert peer.connection.lending is not None
        peer.access = object()  # type: ignore[assignment]
    bus.router.memories.standings_changed()
    for peer in bus.router.peers:
        assert peer.connection.lending is not None
        assert peer.connection.lending.copies
        peer.access = None
    subscriber.link.stop_taking()
    publisher.publish_large()
    assert publisher.lending is not None
    assert publisher.lending.lent_slots == 0
    subscriber.link.take_again()
    assert taken(sink) == 3


def test_a_new_policy_is_asked_who_may_still_do_everything() -> None:
    bus = LendingBus()
    lending_pair(bus)
    bus.router.gatekeeper.replace_policy(Policy(), bus.now)
    assert [peer.connection.lending.copies for peer in bus.router.peers if peer.connection.lending] == [False, False]


def test_memory_that_is_told_of_twice_is_opened_once() -> None:
    bus = LendingBus()
    publisher, _, _ = lending_pair(bus)
    made = bus.make(len(bus.made[0].memory))
    [peer] = [one for one in bus.router.peers if one is publisher.link.peer]
    lending = peer.connection.lending
    bus.router.memories.begin(peer, Memory(made.descriptor, made.token), b"", bus.now)
    assert peer.connection.lending is lending
