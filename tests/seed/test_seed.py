"""The stand-ins against the captured frames, and against each other."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.seed.broker import SeedBroker, running
from tests.seed.client import SeedClient, UnexpectedFrame
from tests.seed.frames import BODY_LIMIT, Json, Message, frame, frame_of, golden
from tests.seed.invalid import INVALID_BODIES
from tests.seed.replay import COMPLETE, replay
from tests.seed.stream import ConnectionEnded
from tests.seed.worker import SeedWorker, calculator

SHORT = 0.2
HAS_MATH: Message = {"HasObject": {"object_name": "math"}}


def broker_addresses() -> list[str]:
    return ["tcp://127.0.0.1:0"] if sys.platform == "win32" else ["tcp://127.0.0.1:0", "unix://"]


@pytest.fixture(params=broker_addresses())
def broker(request: pytest.FixtureRequest) -> Iterator[SeedBroker]:
    with running(SeedBroker(request.param)) as broker:
        yield broker


@pytest.fixture
def client(broker: SeedBroker) -> Iterator[SeedClient]:
    with SeedClient(broker.address) as client:
        yield client


@pytest.fixture
def worker(broker: SeedBroker) -> Iterator[SeedWorker]:
    with SeedWorker(broker.address) as worker:
        assert worker.registered.wait(5)
        yield worker


def own_connection(broker: SeedBroker, name: str) -> SeedClient:
    """A connection that has registered an object, and answers only what the test makes it answer."""
    connection = SeedClient(broker.address)
    connection.send({"RegisterObject": {"object_name": name}})
    assert connection.read_message() == {"Registered": {"object_name": name}}
    return connection


# The broker


def test_the_broker_answers_every_program_as_captured(broker: SeedBroker) -> None:
    replay(broker.address)
    assert broker.ignored == []


def test_the_broker_ignores_what_is_no_message(broker: SeedBroker, client: SeedClient) -> None:
    for body in INVALID_BODIES:
        client.send_bytes(frame_of(body))
    client.send({"Subscribed": {"object_name": "a", "topic": "b"}})
    client.send({"Result": {"call_id": "none", "object_name": "a", "value": 1}})
    client.send({"HasObject": {"object_name": "math", "further": {"field": 1}}})
    assert client.read_message() == {"HasObjectResult": {"object_name": "math", "exists": False}}
    assert broker.ignored == INVALID_BODIES


def test_the_broker_drops_who_sends_too_much_without_a_word(client: SeedClient) -> None:
    empty: Message = {"Publish": {"object_name": "a", "topic": "b", "args": ""}}
    room = BODY_LIMIT - len(frame(empty)[4:])
    client.publish("a", "b", "x" * room)
    assert not client.has_object("math")
    client.publish("a", "b", "x" * (room + 1))
    with pytest.raises(ConnectionEnded):
        client.read_frame()


def test_the_broker_is_an_object_itself(broker: SeedBroker, client: SeedClient) -> None:
    assert client.has_object("rob")
    client.send({"RegisterService": {"object_name": "math", "service_name": "math.service"}})
    assert client.call("rob", "hello", {"name": "x"}, call_id="1") == {
        "Result": {"call_id": "1", "object_name": "rob", "value": None}
    }
    assert broker.services == {"math": "math.service"}


def test_a_broker_that_is_not_ready_does_not_know_itself() -> None:
    with running(SeedBroker(not_ready=True)) as broker, SeedClient(broker.address) as client:
        assert not client.has_object("rob")
        assert client.call("rob", "hello", call_id="1") == {
            "Error": {"call_id": "1", "object_name": "rob", "message": "No such object 'rob'"}
        }
        assert client.call("rob", "hello", call_id="2") == {
            "Result": {"call_id": "2", "object_name": "rob", "value": None}
        }


def test_the_last_to_register_has_the_name_and_anyone_may_answer(broker: SeedBroker, client: SeedClient) -> None:
    with own_connection(broker, "math") as first, own_connection(broker, "math") as second:
        call: Message = {"Call": {"call_id": "1", "object_name": "math", "method": "m", "args": None}}
        client.send(call)
        assert second.read_message() == call
        first.send({"Result": {"call_id": "1", "object_name": "math", "value": "not mine"}})
        assert client.read_message() == {"Result": {"call_id": "1", "object_name": "math", "value": "not mine"}}
        second.send({"Result": {"call_id": "1", "object_name": "math", "value": "late"}})
        second.send(HAS_MATH)
        assert second.read_message() == {"HasObjectResult": {"object_name": "math", "exists": True}}
        client.send(HAS_MATH)
        assert "HasObjectResult" in client.read_message()


def test_the_callers_of_a_lost_worker_wait_for_ever(broker: SeedBroker, client: SeedClient) -> None:
    with own_connection(broker, "math") as lost:
        client.send({"Call": {"call_id": "1", "object_name": "math", "method": "m", "args": None}})
        lost.read_frame()
    with SeedClient(broker.address) as other:
        while other.has_object("math"):
            pass
    client.send(HAS_MATH)
    assert client.read_message() == {"HasObjectResult": {"object_name": "math", "exists": False}}


def test_events_go_to_each_subscriber(broker: SeedBroker, client: SeedClient) -> None:
    with SeedClient(broker.address) as other, SeedClient(broker.address) as publisher:
        client.subscribe("sensor", "temperature")
        client.subscribe("sensor", "*")
        other.subscribe("sensor", "temperature")
        other.subscribe("sensor", "temperature")
        publisher.publish("sensor", "temperature", 25.6)
        event: dict[str, Json] = {"object_name": "sensor", "topic": "temperature", "args": 25.6}
        assert client.next_event() == event
        assert [other.next_event(), other.next_event()] == [event, event]
        with pytest.raises(TimeoutError):
            client.next_event(SHORT)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_broker_can_come_back_at_the_same_address(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/broker.sock"
    for _ in range(2):
        with running(SeedBroker(address)) as broker, SeedClient(address) as client:
            assert broker.address == address
            assert not client.has_object("math")
        with pytest.raises(FileNotFoundError), SeedClient(address):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_the_socket_file_goes_with_the_broker(tmp_path: Path) -> None:
    path = tmp_path / "broker.sock"
    with running(SeedBroker(f"unix://{path}")):
        assert path.is_socket()
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_taken_fails() -> None:
    with running(SeedBroker("tcp://127.0.0.1:0")) as broker:
        second = running(SeedBroker(broker.address))
        with pytest.raises(OSError, match="while attempting to bind"), second:
            pass


def publish_for_ever(publisher: SeedClient) -> None:
    while True:
        publisher.publish("sensor", "temperature", "x" * 30_000)


def test_a_stuck_subscriber_stalls_its_publisher_and_nobody_else(broker: SeedBroker, client: SeedClient) -> None:
    with SeedClient(broker.address) as stuck, SeedClient(broker.address, timeout=SHORT) as publisher:
        stuck.subscribe("sensor", "temperature")
        with pytest.raises(TimeoutError):
            publish_for_ever(publisher)
        assert not client.has_object("math")


# The worker


class ScriptedBroker:
    """One accepted connection at a time, and nothing that the test does not say."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(5)
        return connection


@pytest.fixture
def scripted() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    with broker.listener:
        yield broker


def expect(connection: socket.socket, data: bytes) -> None:
    received = b""
    while len(received) < len(data) and (more := connection.recv(len(data) - len(received))):
        received += more
    assert received == data


def test_the_worker_plays_its_part_of_the_capture(scripted: ScriptedBroker) -> None:
    with SeedWorker(scripted.address) as worker, scripted.accept() as connection:
        for captured in golden():
            if captured.peer == "worker" and captured.direction == "from_broker":
                connection.sendall(captured.frame)
            elif captured.peer == "worker":
                expect(connection, captured.frame)
        assert worker.registered.is_set()
        assert [call["method"] for call in worker.calls] == ["mul", "add", "nope", "add", "sum"]


def test_the_worker_registers_all_at_once_and_never_answers_what_is_not_its(scripted: ScriptedBroker) -> None:
    with SeedWorker(scripted.address, {"a": calculator, "b": calculator}) as worker, scripted.accept() as connection:
        expect(connection, b"".join(frame({"RegisterObject": {"object_name": name}}) for name in "ab"))
        connection.sendall(frame({"Error": {"call_id": None, "object_name": "a", "message": "taken"}}))
        for body in INVALID_BODIES:
            connection.sendall(frame_of(body))
        for name in ("other", "b"):
            fields: dict[str, Json] = {"call_id": name, "object_name": name, "method": "add", "args": [1, 2]}
            connection.sendall(frame({"Call": fields}))
        expect(connection, frame({"Result": {"call_id": "b", "object_name": "b", "value": {"sum": 3}}}))
        assert not worker.registered.is_set()
        assert worker.ignored == INVALID_BODIES


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ({"a": 1, "b": 2, "c": "ignored"}, {"sum": 3}),
        ([1, 2], {"sum": 3}),
        ({"a": 1}, "Invalid args: missing field `b`"),
        ({"b": True}, "Invalid args: invalid type: boolean `true`, expected i32"),
        ({"a": 1.5}, "Invalid args: invalid type: floating point `1.5`, expected i32"),
        ({"a": 2**31}, "Invalid args: invalid value: integer `2147483648`, expected i32"),
        ([None, 1], "Invalid args: invalid type: null, expected i32"),
        ([[], 1], "Invalid args: invalid type: sequence, expected i32"),
        ([{}, 1], "Invalid args: invalid type: map, expected i32"),
        (5, "Invalid args: invalid type: integer `5`, expected a and b"),
    ],
)
def test_the_calculator_answers_bad_arguments_with_a_result(args: Json, answer: Json) -> None:
    assert calculator("add", args) == answer


def test_the_worker_connects_again(scripted: ScriptedBroker) -> None:
    with SeedWorker(scripted.address, reconnect_interval=0.01):
        for _ in range(3):
            with scripted.accept() as connection:
                expect(connection, frame({"RegisterObject": {"object_name": "math"}}))


def test_the_worker_stops_while_it_waits_for_a_broker() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody listens here, and nobody else can
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with SeedWorker(address, reconnect_interval=60) as worker:
            assert not worker.registered.is_set()


def test_the_worker_runs_as_a_process(broker: SeedBroker, client: SeedClient) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.seed.worker", broker.address, "one", "two"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "registered\n"
            assert client.call("rob", "listObjects", call_id="1")["Result"]["value"] == ["one", "rob", "two"]
            assert client.call("two", "mul", [6, 7], call_id="2")["Result"]["value"] == {"product": 42}
        finally:
            process.kill()


# The client


def test_the_client_sends_and_reads_as_captured(scripted: ScriptedBroker) -> None:
    call, result = (captured for captured in golden() if captured.peer == "rob-call" and b'"math"' in captured.frame)
    fields = call.message["Call"]
    with SeedClient(scripted.address) as client, scripted.accept() as connection:
        connection.sendall(result.frame)
        answer = client.call("math", "add", fields["args"], call_id=str(fields["call_id"]))
        expect(connection, call.frame)
        assert answer == result.message


def test_the_client_takes_the_next_frame_for_its_answer(client: SeedClient, worker: SeedWorker) -> None:
    client.subscribe("sensor", "temperature")
    client.publish("sensor", "temperature", 1)
    with pytest.raises(UnexpectedFrame, match="'Event'"):
        client.call("math", "add", [1, 2])
    assert client.read_message()["Result"]["value"] == {"sum": 3}
    assert client.call("ghost", "x", call_id="1")["Error"]["message"] == "No such object 'ghost'"


def test_the_client_does_not_understand_other_variants(scripted: ScriptedBroker) -> None:
    with SeedClient(scripted.address) as client, scripted.accept() as connection:
        connection.sendall(frame({"Ping": {}}))
        with pytest.raises(UnexpectedFrame, match="unknown variant 'Ping'"):
            client.has_object("math")


def test_the_client_asks_until_the_object_is_there(scripted: ScriptedBroker) -> None:
    with SeedClient(scripted.address) as client, scripted.accept() as connection:
        for exists in (False, False, True):
            connection.sendall(frame({"HasObjectResult": {"object_name": "math", "exists": exists}}))
        client.wait_for_object("math")
        client.close()
        assert connection.recv(1_000) == frame(HAS_MATH) * 3


def test_the_client_gives_up_waiting_for_an_object(broker: SeedBroker) -> None:
    with SeedClient(broker.address, timeout=SHORT) as client, pytest.raises(TimeoutError, match="'math' did not come"):
        client.wait_for_object("math")


def test_a_frame_that_comes_in_pieces_survives_a_time_out(scripted: ScriptedBroker) -> None:
    data = golden()[0].frame
    with SeedClient(scripted.address) as client, scripted.accept() as connection:
        connection.sendall(data[:10])
        with pytest.raises(TimeoutError):
            client.read_frame(SHORT)
        connection.sendall(data[10:] + data)
        assert [client.read_frame(), client.read_frame()] == [data, data]
        connection.close()
        with pytest.raises(ConnectionEnded):
            client.read_frame()


def test_a_caller_that_has_half_closed_is_forgotten(client: SeedClient) -> None:
    client.send(HAS_MATH)
    client.end_sending()
    assert "HasObjectResult" in client.read_message()
    with pytest.raises(ConnectionEnded):
        client.read_frame()


def test_the_capture_has_an_end_that_cannot_be_replayed() -> None:
    assert [captured.message for captured in golden()[COMPLETE:]] == [
        {"Call": {**golden()[-2].message["Call"], "method": "sum", "args": [1, 2]}},
        {"Result": {**golden()[-1].message["Result"], "value": "Unknown method"}},
    ]
