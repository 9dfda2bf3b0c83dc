"""How much a blocking client can send and get."""

from __future__ import annotations

import pytest

from ipc_broker import Limits, errors
from ipc_broker.sync import Client, connect
from tests.seed.decoding import decode_message
from tests.seed.frames import BODY_LIMIT, Message, frame
from tests.sync.bus import InThread, take
from tests.sync.conftest import OURS, running_bus
from tests.sync.scripted_broker import ScriptedBroker

LIMIT = 100_000


def largest_text(build: Message, limit: int = BODY_LIMIT) -> str:
    """Text that makes the frame of the message, which has an empty one, as large as it may be."""
    return "x" * (limit - len(frame(build)[4:]))


def test_arguments_up_to_the_limit_of_a_seed_frame(seed_client: Client) -> None:
    for size in range(BODY_LIMIT - 400, BODY_LIMIT - 300):
        assert seed_client.call("echo", "back", ["x" * size]) == "x" * size
    with pytest.raises(errors.TooLarge, match="65536") as caught:
        seed_client.call("echo", "back", ["x" * BODY_LIMIT])
    assert (caught.value.delivered, caught.value.object) == ("no", "echo")
    assert seed_client.call("echo", "back", [1]) == 1


def test_the_largest_event_of_a_seed(seed_client: Client) -> None:
    text = largest_text({"Publish": {"object_name": "sensor", "topic": "heat", "args": ""}})
    with seed_client.subscribe("sensor", "heat") as events:
        seed_client.publish("sensor", "heat", text)
        assert take(events, 1) == [text]
    with pytest.raises(errors.TooLarge, match=f"{BODY_LIMIT + 1} bytes"):
        seed_client.publish("sensor", "heat", text + "x")


def test_our_broker_takes_what_no_seed_could(our_client: Client) -> None:
    data = bytes(range(256)) * 40_000
    assert our_client.call("echo", "back", [data]) == data
    with our_client.subscribe("sensor", "heat") as events:
        our_client.publish("sensor", "heat", data)
        assert take(events, 1) == [data]


def test_the_limit_of_our_broker_is_known_here() -> None:
    with running_bus(OURS[0], Limits(max_frame=LIMIT)) as bus, connect(bus.address) as client:
        assert client.protocol.max_frame == LIMIT
        assert client.call("echo", "back", ["x" * (LIMIT - 200)]) == "x" * (LIMIT - 200)
        with pytest.raises(errors.TooLarge, match=f"over the limit of {LIMIT} bytes") as caught:
            client.call("echo", "back", ["x" * LIMIT])
        assert (caught.value.delivered, caught.value.object, caught.value.method) == ("no", "echo", "back")
        with pytest.raises(errors.TooLarge, match=f"over the limit of {LIMIT} bytes"):
            client.publish("sensor", "heat", "x" * LIMIT)
        with pytest.raises(errors.TooLarge, match=f"over the limit of {LIMIT} bytes"):
            next(client.stream("tape", "count", ["x" * LIMIT]))
        with pytest.raises(errors.TooLarge, match=f"over the limit of {LIMIT} bytes") as of_result:
            client.object("echo").text(LIMIT)
        assert of_result.value.delivered == "yes"
        assert len(client.object("echo").text(LIMIT - 200)) == LIMIT - 200


def test_the_largest_call_and_the_largest_answer_are_frames_of_exactly_the_limit() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()

        def size_of_call(size: int) -> int:
            """How large the frame's body is. The answer is as large as it may be."""
            calling = InThread(lambda: client.call("echo", "back", "x" * size))
            sent = broker.read_frame()
            call_id = decode_message(sent[4:])["Call"]["call_id"]
            text = largest_text({"Result": {"call_id": call_id, "object_name": "echo", "value": ""}})
            broker.send({"Result": {"call_id": call_id, "object_name": "echo", "value": text}})
            assert calling.result() == text
            return len(sent) - 4

        around = size_of_call(1000) - 1000
        assert size_of_call(BODY_LIMIT - around) == BODY_LIMIT
        with pytest.raises(errors.TooLarge, match=f"{BODY_LIMIT + 1} bytes"):
            client.call("echo", "back", "x" * (BODY_LIMIT - around + 1))
        client.close()


def test_an_answer_that_comes_in_pieces() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        calling = InThread(lambda: client.call("math", "add"))
        call_id = broker.read("Call")["call_id"]
        answer = frame({"Result": {"call_id": call_id, "object_name": "math", "value": "Ünï" * 50}})
        for position in range(len(answer)):
            assert not calling.done
            broker.connection.sendall(answer[position : position + 1])
        assert calling.result() == "Ünï" * 50
        client.close()
