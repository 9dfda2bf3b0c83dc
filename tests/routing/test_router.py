"""What the broker does for and against its peers as a whole. Calls, names, events and `rob` have their own modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipc_broker.config import Limits
from ipc_broker.messages import MAX_NAME
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, event, publish, register, result, subscribe
from tests.routing.peers import ids_of
from tests.seed.decoding import InvalidMessage, decode
from tests.seed.frames import Message, frame, frame_of, golden
from tests.seed.invalid import INVALID_BODIES
from tests.seed.replay import COMPLETE

KINDS: list[Callable[..., RawPeer]] = [RawPeer, extended_peer]
LONGEST = "\x01" * MAX_NAME  # each character takes six bytes on the wire


def test_seed_peers_get_byte_for_byte_what_their_own_broker_sent(bus: Bus) -> None:
    peers: dict[str, RawPeer] = {}
    received: dict[str, list[bytes]] = {}
    for captured in golden()[:COMPLETE]:
        peer = peers.setdefault(captured.peer, RawPeer(bus))
        frames = received.setdefault(captured.peer, [])
        if captured.direction == "to_broker":
            peer.send_bytes(captured.frame)
        else:
            frames += peer.receive_frames()
            assert frames.pop(0) == captured.frame
    assert not any(received.values())
    assert not any(peer.receive_frames() for peer in peers.values())


def test_an_error_for_a_seed_peer_has_exactly_the_seeds_three_fields(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send(call("1", "ghost", "x"))
    body = b'{"Error":{"call_id":"1","object_name":"ghost","message":"No such object \'ghost\'"}}'
    assert peer.receive_frames() == [frame_of(body)]


def test_an_extended_peer_is_told_the_code_and_that_nothing_was_delivered(bus: Bus) -> None:
    peer = extended_peer(bus)
    peer.send(call(f"{peer.prefix}1", "ghost", "x"))
    [answer] = map(error_of, peer.receive())
    assert answer == {
        "call_id": f"{peer.prefix}1",
        "object_name": "ghost",
        "message": "No such object 'ghost'",
        "code": "no_such_object",
        "delivered": "no",
    }


def test_calls_and_results_between_extended_peers_are_the_bytes_that_came(bus: Bus) -> None:
    worker, caller = extended_peer(bus, "math"), extended_peer(bus)
    call_id = f"{caller.prefix}1"
    call_body = (
        f'{{"Call":{{"call_id":"{call_id}", "object_name":"math","method":"add","args":[ 1.50 ],"headers":{{}} }}}}'
    )
    caller.send_bytes(frame_of(call_body.encode()))
    assert worker.receive_frames() == [frame_of(call_body.encode())]
    result_body = f'{{"Result":{{"call_id":"{call_id}", "object_name":"math","value":{{ "a":1 , "a":2 }},"new":1}}}}'
    worker.send_bytes(frame_of(result_body.encode()))
    assert caller.receive_frames() == [frame_of(result_body.encode())]


def test_register_service_is_not_answered(bus: Bus) -> None:
    peer = RawPeer(bus)
    peer.send({"RegisterService": {"object_name": "math", "service_name": "math.service"}})
    assert peer.receive() == []


# What a seed peer cannot read

UNREADABLE = {
    "nested too deeply": b"[" * 126 + b"]" * 126,
    "a number out of range": b"1e999",
    "an integer out of range": b"9" * 400,
    "an integer of 5,000 digits": b"9" * 5000,
    "a lone surrogate": b'"\\ud800"',
    "a lone surrogate in a list": b'["\\udc00"]',
}
DEEPEST_READABLE = b"[" * 125 + b"]" * 125


@pytest.fixture(params=UNREADABLE)
def unreadable(request: pytest.FixtureRequest) -> bytes:
    return UNREADABLE[request.param]


def send_payload(peer: RawPeer, message: Message, payload: bytes) -> None:
    """The message with the payload in the place of its null."""
    body = frame(message)[4:]
    assert body.count(b"null") == 1
    peer.send_bytes(frame_of(body.replace(b"null", payload)))


def test_a_call_that_a_seed_worker_cannot_read_is_an_error_to_its_caller(bus: Bus, unreadable: bytes) -> None:
    worker = RawPeer(bus, "math")
    for kind in KINDS:
        caller = kind(bus)
        send_payload(caller, call(f"{caller.prefix}1", "math", "add"), unreadable)
        assert len(error_of(caller.receive()[0])) >= 3
        assert worker.receive() == []
    assert bus.router.calls.in_flight == 0


def test_a_result_that_a_seed_caller_cannot_read_is_an_error_to_both(bus: Bus, unreadable: bytes) -> None:
    """Where the broker cannot read it either, the worker is told; always the caller gets an answer."""
    for kind in KINDS:
        worker, caller = kind(bus, f"math{kind.__name__}"), RawPeer(bus)
        name = f"math{kind.__name__}"
        caller.send(call("1", name, "add"))
        [call_id] = ids_of(worker.receive())
        send_payload(worker, result(call_id, name), unreadable)
        assert error_of(caller.receive()[0])["call_id"] == "1"
    assert bus.router.calls.in_flight == 0


def test_the_data_of_an_error_that_a_seed_caller_cannot_read_does_not_keep_the_error_from_it(
    bus: Bus, unreadable: bytes
) -> None:
    worker, caller = extended_peer(bus, "math"), RawPeer(bus)
    caller.send(call("1", "math", "add"))
    [call_id] = ids_of(worker.receive())
    answer = error(call_id, "math", "no")
    answer["Error"]["data"] = None
    send_payload(worker, answer, unreadable)
    assert error_of(caller.receive()[0])["call_id"] == "1"
    assert bus.router.calls.in_flight == 0


def test_an_event_that_a_seed_subscriber_cannot_read_is_an_error_to_its_publisher(bus: Bus, unreadable: bytes) -> None:
    subscriber = RawPeer(bus)
    subscriber.subscribe("sensor", "temperature")
    for kind in KINDS:
        publisher = kind(bus)
        send_payload(publisher, publish("sensor", "temperature"), unreadable)
        refused = error_of(publisher.receive()[0])
        assert refused["call_id"] is None
        if publisher.prefix and refused["object_name"] == "sensor":  # else the broker could not read it either
            assert (refused["code"], refused["type"]) == ("invalid_args", "Publish")
        assert subscriber.receive() == []


def test_what_a_seed_peer_can_just_read_is_delivered(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), RawPeer(bus)
    caller.subscribe("sensor", "temperature")
    send_payload(worker, publish("sensor", "temperature"), DEEPEST_READABLE)
    assert len(caller.receive()) == 1
    send_payload(caller, call("1", "math", "add"), DEEPEST_READABLE)
    assert len(worker.receive()) == 1
    send_payload(worker, result("1", "math"), DEEPEST_READABLE)
    assert list(caller.receive()[0]) == ["Result"]


def test_extended_peers_exchange_what_seed_peers_cannot_read(bus: Bus) -> None:
    subscriber, publisher = extended_peer(bus), extended_peer(bus)
    subscriber.subscribe("sensor", "temperature")
    send_payload(publisher, publish("sensor", "temperature"), UNREADABLE["nested too deeply"])
    assert len(subscriber.receive()) == 1
    assert publisher.receive() == []


UNCLEAN_FIELDS = [
    b'"object_name":"sensor","topic":"x","topic":"temperature","args":1',
    b'"object_name":"x","object_name":"sensor","topic":"temperature","args":1',
    b'"object_name":"sensor","topic":"temperature","args":1e999,"args":1',
    b'"object_name":"sensor","topic":"temperature","args":1,"new":1e999',
    b'"object_name":"sensor","topic":"temperature","args":1,"new":%b' % (b"9" * 400),
    b'"object_name":"sensor","topic":"temperature","args":1,"new":%b' % (b"[" * 200 + b"]" * 200),
]


@pytest.mark.parametrize("fields", UNCLEAN_FIELDS, ids=lambda fields: repr(fields[:80]))
@pytest.mark.parametrize("kind", KINDS)
def test_fields_that_come_twice_or_that_nobody_knows_do_not_reach_a_seed_subscriber(
    bus: Bus, kind: Callable[..., RawPeer], fields: bytes
) -> None:
    seed, waiting, publisher = RawPeer(bus), RawPeer(bus), kind(bus)
    worker = RawPeer(bus, "math")
    for subscriber in (seed, waiting):
        subscriber.subscribe("sensor", "temperature")
    waiting.send(call("1", "math", "add"))
    worker.receive()
    publisher.send_bytes(frame_of(b'{"Publish":{%b}}' % fields))
    assert publisher.receive() == []
    expected = frame(event("sensor", "temperature", 1))
    assert seed.receive_frames() == [expected]
    worker.send(result("1", "math"))
    assert waiting.receive_frames() == [frame(result("1", "math")), expected]


@pytest.mark.parametrize("fields", UNCLEAN_FIELDS, ids=lambda fields: repr(fields[:80]))
def test_calls_and_results_for_a_seed_peer_are_without_what_it_does_not_know(bus: Bus, fields: bytes) -> None:
    """As with events: the fields of the one are put into the places of the other."""
    worker, caller = RawPeer(bus, "sensor"), RawPeer(bus)
    call_fields = fields.replace(b'"topic"', b'"method"')
    caller.send_bytes(frame_of(b'{"Call":{"call_id":"0","call_id":"1",%b}}' % call_fields))
    assert worker.receive_frames() == [frame(call("1", "sensor", "temperature", 1))]
    result_fields = fields.replace(b'"args"', b'"value"')
    worker.send_bytes(frame_of(b'{"Result":{"call_id":"0","call_id":"1",%b}}' % result_fields))
    assert caller.receive_frames() == [frame(result("1", "sensor", 1))]


# Bad input


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", INVALID_BODIES, ids=lambda body: repr(body[:60]))
def test_what_is_no_message_gets_an_error_and_the_connection_lives(
    bus: Bus, kind: Callable[..., RawPeer], body: bytes
) -> None:
    """Or, where we read more than the seed does, an answer. Nobody else notices."""
    peer, seed = kind(bus), RawPeer(bus, "math")
    seed.subscribe("a", "b")
    peer.send_bytes(frame_of(body))
    messages = peer.receive()
    assert [next(iter(message)) for message in messages] in (["Error"], ["HasObjectResult"])
    assert seed.receive() == []
    peer.send({"HasObject": {"object_name": "ghost"}})
    assert peer.receive() == [{"HasObjectResult": {"object_name": "ghost", "exists": False}}]


@pytest.mark.parametrize("kind", KINDS)
def test_messages_that_only_the_broker_sends_are_refused(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    peer, subscriber = kind(bus), RawPeer(bus)
    subscriber.subscribe("a", "b")
    registered: Message = {"Registered": {"object_name": "a"}}
    for message in (event("a", "b"), registered):
        peer.send(message)
        assert "unknown message" in str(error_of(peer.receive()[0])["message"])
    assert subscriber.receive() == []
    assert bus.router.totals.invalid_messages == 2


@pytest.mark.parametrize(("kind", "limit"), [(RawPeer, 65_536), (extended_peer, 100_000)])
@pytest.mark.parametrize("over", [1, 2**31])
def test_an_oversize_frame_gets_an_error_with_size_and_limit_and_then_the_end(
    kind: Callable[..., RawPeer], limit: int, over: int
) -> None:
    bus = Bus(Limits(max_frame=100_000))
    size = limit + over
    peer = kind(bus, "math")
    peer.send({"HasObject": {"object_name": "math"}})
    peer.send_bytes(size.to_bytes(4, "big") + b"x" * 100)
    answer, refused = peer.receive()
    assert answer == {"HasObjectResult": {"object_name": "math", "exists": True}}
    assert error_of(refused)["message"] == f"a frame of {size} bytes is over the limit of {limit} bytes"
    assert peer.ended
    bus.assert_empty()


def test_a_frame_of_the_largest_size_is_forwarded(bus: Bus) -> None:
    worker, caller = RawPeer(bus, "math"), RawPeer(bus)
    room = 65_536 - len(frame(call("1", "math", "add", ""))) + 4
    caller.send(call("1", "math", "add", "x" * room))
    assert worker.receive() == [call("1", "math", "add", "x" * room)]


@pytest.mark.parametrize("kind", KINDS)
def test_error_frames_fit_into_the_frame_limit_whatever_was_sent(kind: Callable[..., RawPeer]) -> None:
    """`RawPeer` fails on a frame over the limit."""
    bus, long = Bus(), 65_536 - 5000
    escaped = long // 6
    owner = extended_peer(bus, LONGEST, name=LONGEST)
    RawPeer(bus, "math")
    peer = kind(bus)
    call_id = f"{peer.prefix}{LONGEST}"[:MAX_NAME]
    sent: list[Message | bytes] = [
        call(call_id, "\x02" * MAX_NAME, LONGEST),
        call("\x02" * MAX_NAME, "math", LONGEST),
        call(call_id, "rob", LONGEST),
        call("hello", "rob", "hello", {"\x01" * (escaped // 2): 1, "encodings": ["\x01" * (escaped // 2)]}),
        call(f"{peer.prefix}1", "rob", "unsubscribe", {"\x01" * escaped: 1}),
        register(LONGEST),
        register("\x01" * escaped),
        subscribe("\x01" * (escaped // 2), "\x01" * (escaped // 2)),
        publish("rob", LONGEST),
        b'{"%s":1}' % (b"\\u0001" * escaped),
        b'{"HasObject":{"object_name":"a","%s":1e}}' % (b"x" * long),
        b'{"HasObject":{"object_name":"a"},"%s":1}' % (b"x" * long),
    ]
    answers = 0
    for item in sent:
        if isinstance(item, bytes):
            peer.send_bytes(frame_of(item))
        else:
            peer.send(item)
        answers += len(peer.receive())
    assert answers == len(sent) - peer.peer.is_seed, "only a seed peer's call of 'math' is none to be refused"
    assert not peer.ended
    caller_id = "\x03" * MAX_NAME
    caller = RawPeer(bus)
    caller.send(call(caller_id, LONGEST, LONGEST))
    bus.settle()
    owner.disconnect()
    assert error_of(caller.receive()[0])["call_id"] == caller_id


def test_a_seed_peer_is_never_sent_what_it_cannot_read_back_as_an_error(bus: Bus) -> None:
    """An error quotes what was wrong; the quote itself has to be readable."""
    peer = RawPeer(bus)
    for body in INVALID_BODIES:
        peer.send_bytes(frame_of(body))
    for raw in peer.receive_frames():
        try:
            decode(raw[4:])
        except InvalidMessage as error:
            pytest.fail(f"{raw!r}: {error}")
