"""Programs that were built for the Rust crate on our broker, together with ours."""

from __future__ import annotations

import asyncio
import sys

import pytest

import ipc_broker
from ipc_broker import Event, errors
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at, environment, rob, run
from tests.end_to_end.processes import seed_worker_at, until, worker_at
from tests.seed.broker import SeedBroker, running
from tests.seed.client import SeedClient
from tests.seed.frames import BODY_LIMIT, golden
from tests.seed.replay import replay


def test_the_captured_conversation(bus: str) -> None:
    replay(bus)
    replay(bus)


def test_a_seed_worker_serves_our_clients(bus: str) -> None:
    with seed_worker_at(bus, "math", "other"):
        with connect(bus) as client:
            assert client.object("math").add(a=10, b=32) == {"sum": 42}
            assert client.object("other").mul(6, 7) == {"product": 42}
            assert client.call("math", "nope") == "Unknown method"
            assert client.objects() == ["math", "other", "rob"]

        async def call() -> list[dict[str, int]]:
            async with ipc_broker.connect(bus) as own:
                calls = (own.call("math", "add", [n, n], returns=dict[str, int]) for n in range(200))
                return await asyncio.gather(*calls)

        assert asyncio.run(call()) == [{"sum": 2 * n} for n in range(200)]
        called = rob("call", "math", "add", "{ii}", "a", "10", "b", "32", address=bus)
        assert (called.status, called.output) == (0, "\nResult:\nMap:\n   sum :: 42\n")


def test_our_worker_answers_the_captured_calls_byte_for_byte(bus: str) -> None:
    """Of the captured answers those that do not tell of the worker's own errors, which ours words in its own way."""
    frames = golden()
    answers = {
        captured.message["Result"]["call_id"]: captured.frame
        for captured in frames
        if captured.direction == "from_broker" and isinstance(captured.message.get("Result", {}).get("value"), dict)
    }
    calls = [
        captured
        for captured in frames
        if captured.direction == "to_broker" and captured.message.get("Call", {}).get("call_id") in answers
    ]
    assert len(calls) == len(answers) == 2
    with worker_at(bus), SeedClient(bus) as client:
        for call in calls:
            client.send_bytes(call.frame)
            assert client.read_frame() == answers[call.message["Call"]["call_id"]]


def test_our_worker_serves_seed_clients(bus: str) -> None:
    with SeedClient(bus) as client, worker_at(bus):
        client.wait_for_object("math")
        assert client.call("math", "add", [1, 2], call_id="1")["Result"]["value"] == {"sum": 3}
        assert client.call("math", "add", {"a": 1, "b": 2})["Result"]["value"] == {"sum": 3}
        failed = client.call("math", "add", {"a": "x", "b": 2}, call_id="2")["Error"]
        assert set(failed) == {"call_id", "object_name", "message"}
        assert str(failed["message"]).endswith("- at `$.a`")
        assert "Error" in client.call("math", "divide")
        assert client.call("nobody", "x", call_id="3") == {
            "Error": {"call_id": "3", "object_name": "nobody", "message": "No such object 'nobody'"}
        }
        assert client.call("rob", "listObjects")["Result"]["value"] == ["echo", "gate", "math", "rob", "tape"]


def test_our_worker_serves_at_a_broker_of_the_rust_crate() -> None:
    with running(SeedBroker()) as broker, worker_at(broker.address):
        with SeedClient(broker.address) as client:
            assert client.call("math", "mul", [6, 7])["Result"]["value"] == {"product": 42}
        with connect(broker.address) as ours:
            assert ours.object("math").add(a=1, b=2) == {"sum": 3}
            with pytest.raises(errors.CallError, match="has no method 'divide'"):
                ours.object("math").divide()
        called = rob("call", "math", "add", "a=1", "b=2", "--json", address=broker.address)
        assert (called.status, called.output) == (0, '{"sum":3}\n')


def test_events_from_seed_publishers_to_our_subscribers(bus: str) -> None:
    with connect(bus) as client, client.subscribe("sensor", "heat") as events, SeedClient(bus) as publisher:
        for number in range(1000):
            publisher.publish("sensor", "heat", {"number": number, "unit": "°C"})
        for number in range(1000):
            assert events.get(PATIENCE) == Event("sensor", "heat", {"number": number, "unit": "°C"})


def test_events_from_our_publishers_to_seed_subscribers(bus: str) -> None:
    with SeedClient(bus) as subscriber, connect(bus) as client:
        subscriber.subscribe("sensor", "heat")
        for number in range(1000):
            client.publish("sensor", "heat", [number, None, "°C"])
        for number in range(1000):
            assert subscriber.next_event() == {"object_name": "sensor", "topic": "heat", "args": [number, None, "°C"]}


def test_a_seed_subscriber_gets_its_answer_before_the_events(bus: str) -> None:
    """Its client takes whatever comes next for the answer."""
    with (
        SeedClient(bus) as subscriber,
        SeedClient(bus) as worker,
        connect(bus) as publisher,
    ):
        worker.send({"RegisterObject": {"object_name": "slow"}})
        assert "Registered" in worker.read_message()
        subscriber.subscribe("sensor", "heat")
        subscriber.send({"Call": {"call_id": "1", "object_name": "slow", "method": "m", "args": None}})
        call = worker.read_message()["Call"]
        for number in range(100):
            publisher.publish("sensor", "heat", number)
        publisher.drain()
        with pytest.raises(TimeoutError):
            subscriber.read_frame(timeout=0.05)
        worker.send({"Result": {"call_id": call["call_id"], "object_name": "slow", "value": "done"}})
        assert subscriber.read_message() == {"Result": {"call_id": "1", "object_name": "slow", "value": "done"}}
        assert [subscriber.next_event()["args"] for _ in range(100)] == list(range(100))


def test_seed_subscribers_get_the_events_of_a_call_that_fails_too(bus: str) -> None:
    with SeedClient(bus) as subscriber, connect(bus) as publisher:
        subscriber.subscribe("sensor", "heat")
        with SeedClient(bus) as worker:
            worker.send({"RegisterObject": {"object_name": "slow"}})
            assert "Registered" in worker.read_message()
            subscriber.send({"Call": {"call_id": "1", "object_name": "slow", "method": "m", "args": None}})
            worker.read_message()
            publisher.publish("sensor", "heat", 1)
            publisher.drain()
        assert subscriber.read_message()["Error"]["call_id"] == "1"
        assert subscriber.next_event()["args"] == 1


def test_the_largest_payloads_go_through_both_ways(bus: str) -> None:
    text = "x" * (BODY_LIMIT - 200)
    with (
        SeedClient(bus) as seed,
        connect(bus) as client,
        client.subscribe("sensor", "heat") as events,
    ):
        seed.subscribe("sensor", "light")
        seed.publish("sensor", "heat", text)
        assert events.get(PATIENCE) == Event("sensor", "heat", text)
        client.publish("sensor", "light", text)
        assert seed.next_event()["args"] == text


@pytest.mark.parametrize("way", ["path", "host:port"])
def test_everybody_finds_the_broker_through_the_environment(folder: str, way: str) -> None:
    if way == "path" and sys.platform == "win32":
        pytest.skip("there are no Unix sockets")
    socket = f"unix://{folder}/bus.sock"
    listen = socket if way == "path" else "tcp://127.0.0.1:0"
    with broker_at(listen) as broker:
        if way == "path":
            where = f"{folder}/bus.sock"
        else:
            line = next(line for line in broker.said if " listens on " in line)
            where = line.rpartition("tcp://")[2]
        with worker_at(BROKER_ADDR=where):
            program = (
                "from ipc_broker.sync import connect\n"
                "with connect() as client: print(client.address, client.object('math').add(a=1, b=2))"
            )
            environ = environment(BROKER_ADDR=where)
            ended = run("-W", "error", "-c", program, environ=environ)
            scheme = "unix" if way == "path" else "tcp"
            assert ended == (0, f"{scheme}://{where} {{'sum': 3}}\n", "")
            called = rob("call", "math", "mul", "a=6", "b=7", "--json", environ=environ)
            assert (called.status, called.output) == (0, '{"product":42}\n')


def test_a_seed_worker_registers_again_at_a_new_broker(local_address: str) -> None:
    with broker_at(local_address) as broker, seed_worker_at(local_address):
        broker.kill()
        broker.stop()
        with broker_at(local_address), connect(local_address) as client:
            until(lambda: client.has("math"), "the seed worker is back")
            assert client.object("math").add(a=1, b=2) == {"sum": 3}
