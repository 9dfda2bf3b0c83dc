"""Calls that a session answers."""

from __future__ import annotations

import pytest
from msgspec import Raw, json

from ipc_broker.credentials import Credentials
from ipc_broker.description import MOST_BYTES, Interface, MethodDescription
from ipc_broker.errors import NoSuchObject, RemoteError, TooLarge
from ipc_broker.messages import MAX_NAME, Caller
from ipc_broker.protocol.encodings import JSON
from ipc_broker.protocol.framing import HEADER_SIZE
from ipc_broker.session import ItemTooLarge
from tests.memory import Bus, Client, RawPeer
from tests.messages import call, error, result
from tests.seed.frames import Json, Message, frame
from tests.session.scripted import ScriptedBroker

NULL = Raw(b"null")
INTERFACE = Interface(type="Calculator", methods={"add": MethodDescription("Adds.")})


@pytest.fixture
def serving(broker: ScriptedBroker) -> ScriptedBroker:
    """One whose session was given the call "1"."""
    broker.session.serving.expose("math", "exclusive", 0)
    broker.give({"Registered": {"object_name": "math"}}, call("1", "math", "add", [1, 2]))
    broker.sent()
    return broker


def failure(code: str, message: str, **fields: Json) -> Message:
    expected = error("1", "math", message)
    expected["Error"] |= {"code": code, "delivered": "yes", **fields}
    return expected


def caller(prefix: str, **fields: Json) -> Message:
    return {"Caller": {"prefix": prefix, **fields}}


# Answers


def test_a_call_of_an_exposed_object_is_given_to_the_server(serving: ScriptedBroker) -> None:
    [(given, connection)] = serving.server.calls
    assert (given.call_id, given.method, bytes(given.args)) == ("1", "add", b"[1,2]")
    serving.session.serving.answer(given, connection, JSON.encode_payload(3))
    assert serving.sent() == [result("1", "math", 3)]


def test_a_failure_carries_code_type_data_and_that_it_was_delivered(serving: ScriptedBroker) -> None:
    serving.session.serving.fail(*serving.server.calls[0], "remote_error", "no", type="ValueError")
    serving.session.serving.fail(*serving.server.calls[0], "overloaded", "full", data=Raw(b'{"limit":3}'))
    assert serving.sent() == [
        failure("remote_error", "no", type="ValueError"),
        failure("overloaded", "full", data={"limit": 3}),
    ]


def test_a_call_of_any_object_is_the_servers_and_without_a_server_an_error(serving: ScriptedBroker) -> None:
    serving.give(call("2", "text", "upper"))
    assert [given.call_id for given, _ in serving.server.calls] == ["1", "2"]
    serving.session.serving.server = None
    serving.give(call("3", "text", "upper"))
    [message] = serving.sent()
    assert (message["Error"]["call_id"], message["Error"]["code"]) == ("3", "no_such_object")


def test_a_result_over_the_frame_limit_becomes_an_error(serving: ScriptedBroker) -> None:
    serving.session.serving.answer(*serving.server.calls[0], JSON.encode_payload("x" * 65_536))
    [message] = serving.sent()
    assert message["Error"]["code"] == "too_large"
    assert "'math.add' takes 6" in str(message["Error"]["message"])
    assert "over the limit of 65536 bytes" in str(message["Error"]["message"])


def test_a_failure_whose_data_is_too_large_arrives_without_it(serving: ScriptedBroker) -> None:
    data = JSON.encode_payload("x" * 65_536)
    serving.session.serving.fail(*serving.server.calls[0], "remote_error", "no", type="ValueError", data=data)
    assert serving.sent() == [failure("remote_error", "no", type="ValueError")]


def test_an_error_always_fits_into_the_smallest_frame_limit_and_can_be_said() -> None:
    broker, limit, longest = ScriptedBroker(), 32_768, "\x01" * MAX_NAME
    broker.open(max_frame=limit)
    for number in range(4):
        broker.give(call(f"{number}{longest}"[:MAX_NAME], longest, longest))
    texts = ["x" * 1_000_000, "\x01" * 1_000_000, "\ud800" * 100, "\N{GRINNING FACE}" * 100_000]
    for (given, connection), text in zip(broker.server.calls, texts, strict=True):
        broker.session.serving.fail(given, connection, "remote_error", text, type="\x01" * 100_000)
    sizes = [len(frame(message)) - HEADER_SIZE for message in broker.sent()]
    assert len(sizes) == 4
    assert max(sizes) <= limit


# Streams


def test_items_and_the_end_of_a_stream_carry_the_calls_id(serving: ScriptedBroker) -> None:
    given, connection = serving.server.calls[0]
    serve = serving.session.serving
    for number in (1, 2):
        item = serve.item_frame(given, connection, JSON.encode_payload(number))
        assert item == frame({"Item": {"call_id": "1", "value": number}})
        assert serving.sent() == [], "it is only put together"
        serve.send_item(connection, item)
        assert serving.sent() == [{"Item": {"call_id": "1", "value": number}}]
    serve.end_stream(given, connection)
    end = result("1", "math")
    end["Result"]["ended"] = True
    assert serving.sent() == [end]


def test_an_item_over_the_frame_limit_raises_and_is_not_sent(serving: ScriptedBroker) -> None:
    given, connection = serving.server.calls[0]
    with pytest.raises(ItemTooLarge, match=r"an item of 'math.add' takes 6\d+ bytes, over the limit of 65536 bytes"):
        serving.session.serving.item_frame(given, connection, JSON.encode_payload("x" * 65_536))
    room = 65_536 - (len(serving.session.serving.item_frame(given, connection, JSON.encode_payload(""))) - HEADER_SIZE)
    exact = serving.session.serving.item_frame(given, connection, JSON.encode_payload("x" * room))
    assert len(exact) == 65_536 + HEADER_SIZE
    assert serving.sent() == []


@pytest.mark.parametrize("size", [1, 2**53 - 1])
def test_credit_and_cancellation_are_the_servers(serving: ScriptedBroker, size: int) -> None:
    serving.give({"Credit": {"call_id": "1", "bytes": size}}, {"Cancel": {"call_id": "1"}})
    assert serving.server.credits == [("1", size)]
    assert serving.server.cancelled == ["1"]


def test_without_a_server_credit_and_cancellation_do_no_harm(serving: ScriptedBroker) -> None:
    serving.session.serving.server = None
    serving.give({"Credit": {"call_id": "1", "bytes": 1}}, {"Cancel": {"call_id": "1"}})
    serving.lose()
    assert serving.notices == []


# A connection that is gone


@pytest.mark.parametrize("again", [False, True])
def test_answers_for_an_old_connection_are_dropped(serving: ScriptedBroker, again: bool) -> None:
    given, connection = serving.server.calls[0]
    serve = serving.session.serving
    serving.lose()
    assert serving.server.interruptions == 1
    if again:
        serving.open()
        serving.sent()
    serve.answer(given, connection, NULL)
    serve.answer(given, connection, JSON.encode_payload("x" * 65_536))
    serve.fail(given, connection, "remote_error", "no")
    serve.send_item(connection, serve.item_frame(given, connection, NULL))
    serve.end_stream(given, connection)
    assert serving.sent() == []
    assert connection.queued == 0


# Who calls


def test_who_called_is_known_by_the_calls_id(serving: ScriptedBroker) -> None:
    serve = serving.session.serving
    serving.give(caller("12.", name="shell", uid=1000, pid=7), caller("1."))
    assert serve.caller_of("12.1") == serve.caller_of("12.7.1") == Caller("12.", "shell", 1000, 7)
    assert serve.caller_of("1.1") == Caller("1.")
    for unknown in ("12", "2.1", "", ".", "~1"):
        assert serve.caller_of(unknown) is None
    serving.give({"CallerGone": {"prefix": "12."}}, {"CallerGone": {"prefix": "99."}})
    assert serve.caller_of("12.1") is None
    assert serve.caller_of("1.1") is not None


def test_callers_of_an_old_connection_are_forgotten(serving: ScriptedBroker) -> None:
    serving.give(caller("1.", name="shell"))
    serving.lose()
    serving.open()
    assert serving.session.serving.caller_of("1.1") is None


# Interfaces


def test_an_interface_goes_with_the_registration_in_the_encoding_that_was_agreed() -> None:
    for encoding in ("json", "msgpack"):
        broker = ScriptedBroker()
        broker.session.serving.expose("math", "shared", 2, INTERFACE)
        broker.open(encoding=encoding)
        [sent] = broker.sent()
        assert sent["RegisterObject"] == {
            "object_name": "math",
            "mode": "shared",
            "concurrency": 2,
            "interface": {"type": "Calculator", "methods": {"add": {"doc": "Adds."}}},
        }


def test_an_object_may_be_exposed_again_with_another_interface(broker: ScriptedBroker) -> None:
    serve = broker.session.serving
    serve.expose("math", "exclusive", 0)
    broker.give({"Registered": {"object_name": "math"}})
    assert broker.registrations() == [("math", None)]
    serve.expose("math", "exclusive", 0, INTERFACE)
    broker.give({"Registered": {"object_name": "math"}})
    assert broker.registrations() == [("math", None)]
    first, second = broker.sent()
    assert "interface" not in first["RegisterObject"]
    assert "interface" in second["RegisterObject"]
    broker.lose()
    broker.open()
    [again] = broker.sent()
    assert again == second


def test_a_broker_of_the_rust_crate_is_told_of_no_interface(seed_broker: ScriptedBroker) -> None:
    seed_broker.session.serving.expose("math", "exclusive", 0, INTERFACE)
    [sent] = seed_broker.sent()
    assert "interface" not in sent["RegisterObject"]


def with_doc(doc: str) -> Interface:
    return Interface(methods={"add": MethodDescription(doc)})


@pytest.mark.parametrize(
    ("max_frame", "interface", "reason"),
    [
        (65_536, with_doc("x" * 60_000), "its interface is over 57344 bytes"),
        (2**26, with_doc("x" * MOST_BYTES), f"its interface is over {MOST_BYTES} bytes"),
        (65_536, with_doc("\ud800"), "its interface cannot be sent"),
        (65_536, Interface(definitions={"T": {"maximum": float("nan")}}), "its interface cannot be sent"),
    ],
)
def test_what_cannot_be_told_of_an_object_is_logged_and_it_is_served_all_the_same(
    caplog: pytest.LogCaptureFixture, max_frame: int, interface: Interface, reason: str
) -> None:
    broker = ScriptedBroker()
    broker.open(max_frame=max_frame)
    broker.session.serving.expose("math", "exclusive", 0, interface)
    [sent] = broker.sent()
    assert sent == {"RegisterObject": {"object_name": "math"}}
    [logged] = caplog.messages
    assert f"'math' is not described: {reason}" in logged


def test_the_largest_interface_fits_beside_the_longest_name() -> None:
    broker = ScriptedBroker()
    broker.open(max_frame=65_536)
    around = len(json.encode(with_doc("x"))) - 1
    broker.session.serving.expose("\x01" * MAX_NAME, "exclusive", 2**53 - 1, with_doc("x" * (57_344 - around)))
    [sent] = broker.sent()
    assert "interface" in sent["RegisterObject"]
    assert len(frame(sent)) - HEADER_SIZE <= 65_536


# With the real router


def test_the_router_tells_who_calls_and_when_they_are_gone(bus: Bus) -> None:
    worker, shell = Client(bus), Client(bus, "shell")
    worker.serve("math")
    shell.call("math", "add")
    seed = RawPeer(bus, credentials=Credentials(pid=9, uid=1000))
    seed.send(call("1", "math", "add"))
    bus.settle()
    serve = worker.session.serving
    (by_shell, _), (by_seed, _) = worker.server.calls
    one, other = serve.caller_of(by_shell.call_id), serve.caller_of(by_seed.call_id)
    assert one is not None
    assert one.name == "shell"
    assert other is not None
    assert (other.name, other.uid, other.pid) == ("", 1000, 9)
    shell.link.disconnect()
    assert serve.caller_of(by_shell.call_id) is None
    assert serve.caller_of(by_seed.call_id) is not None


def test_a_result_too_large_for_its_caller_ends_the_call_with_an_error(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus, max_frame=65_536)
    worker.serve("math")
    answer = client.call("math", "add")
    worker.answer("x" * 70_000)
    bus.settle()
    assert isinstance(answer.error, TooLarge)
    assert answer.error.delivered == "yes"
    bus.assert_no_call_is_left()


def test_a_session_without_a_server_refuses_a_call_it_is_given(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    worker.session.serving.server = None
    answer = client.call("math", "add")
    bus.settle()
    assert isinstance(answer.error, NoSuchObject)


def test_a_session_answers_two_seed_callers_with_one_id_of_the_longest_kind(bus: Bus) -> None:
    worker, callers = Client(bus), [RawPeer(bus), RawPeer(bus)]
    worker.serve("math")
    longest = "i" * MAX_NAME
    for one in callers:
        one.send(call(longest, "math", "add"))
        bus.settle()
    while worker.server.calls:
        worker.answer(1)
    for one in callers:
        [answer] = one.receive()
        assert next(iter(answer.values()))["call_id"] == longest
    assert worker.notices == []


def test_data_that_is_too_large_is_dropped_and_the_error_still_arrives(bus: Bus) -> None:
    worker, client = Client(bus), Client(bus)
    worker.serve("math")
    answer = client.call("math", "add")
    worker.fail("remote_error", "no", type="ValueError", data="x" * bus.router.limits.max_frame)
    bus.settle()
    assert isinstance(answer.error, RemoteError)
    assert (answer.error.type, answer.error.data) == ("ValueError", None)
