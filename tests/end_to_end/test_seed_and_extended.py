"""Programs of the Rust crate, which speak JSON, beside ours, which speak MessagePack: on one broker, in all directions."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import ipc_broker
from ipc_broker import Event, Gap, errors
from ipc_broker.sync import Client, connect
from tests.cli.programs import PATIENCE, broker_at
from tests.end_to_end.processes import seed_worker_at, worker_at
from tests.seed.client import SeedClient
from tests.seed.frames import BODY_LIMIT
from tests.sync.bus import InThread

VALUES: list[Any] = [
    None,
    True,
    -(2**63),
    2**63 - 1,
    0.1,
    "",
    "Ünï ☃ 𝄞 \x00",
    [1, [2, []]],
    {"a": {"": None}, "b": [{}]},
]
UNSAYABLE: list[Any] = [b"bytes", math.nan, math.inf, [{"a": b"x"}], "x" * (BODY_LIMIT + 1)]


@pytest.fixture
def client(bus: str) -> Iterator[Client]:
    with connect(bus) as client:
        assert client.protocol.encoding == "msgpack"
        yield client


@pytest.fixture
def seed(bus: str) -> Iterator[SeedClient]:
    with SeedClient(bus, timeout=PATIENCE) as seed:
        yield seed


# Calls


def test_values_go_to_our_worker_and_back_to_a_seed_caller(bus: str, seed: SeedClient) -> None:
    with worker_at(bus):
        for value in VALUES:
            assert seed.call("echo", "back", {"value": value})["Result"]["value"] == value


def test_values_go_to_a_seed_worker_and_back_to_our_callers(bus: str, seed: SeedClient, client: Client) -> None:
    """The seed worker is played by hand: it gets JSON, whatever its callers speak."""

    async def call_by_asyncio(value: Any) -> Any:
        async with ipc_broker.connect(bus) as own:
            return await own.call("seed", "back", [value])

    def answer(call: Callable[[], Any], value: Any) -> Any:
        """What the call gives when the seed worker answers it with its argument."""
        calling = InThread(call)
        given = seed.read_message()["Call"]
        assert given["args"] == [value]
        seed.send({"Result": {"call_id": given["call_id"], "object_name": "seed", "value": value}})
        return calling.result()

    seed.send({"RegisterObject": {"object_name": "seed"}})
    assert "Registered" in seed.read_message()
    for value in VALUES:
        assert answer(partial(client.call, "seed", "back", [value]), value) == value
        assert answer(partial(asyncio.run, call_by_asyncio(value)), value) == value


@pytest.mark.parametrize("value", UNSAYABLE, ids=lambda value: repr(value)[:20])
def test_what_a_seed_worker_cannot_be_told_is_an_error_of_the_caller(bus: str, client: Client, value: Any) -> None:
    with seed_worker_at(bus):
        with pytest.raises(errors.TooLarge if isinstance(value, str) else errors.InvalidArgs) as caught:
            client.call("math", "add", [value, 1])
        assert caught.value.delivered == "no"
        assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_result_that_a_seed_caller_cannot_read_is_an_error(bus: str, seed: SeedClient, client: Client) -> None:
    with worker_at(bus):
        for size in (1, BODY_LIMIT + 1):
            failed = seed.call("echo", "bytes", [size], call_id="x")["Error"]
            assert failed["call_id"] == "x"
            assert len(str(failed["message"])) > 10
            assert client.call("echo", "bytes", [size]) == b"\xff" * size
        assert seed.call("math", "add", [1, 2])["Result"]["value"] == {"sum": 3}


def test_headers_and_streams_find_a_seed_worker_that_knows_neither(bus: str, client: Client) -> None:
    with seed_worker_at(bus):
        assert client.call("math", "add", [1, 2], headers={"tenant": "a"}, timeout=PATIENCE) == {"sum": 3}
        items = client.stream("math", "add", [3, 4])
        with pytest.raises(errors.InvalidArgs, match="no stream"):
            next(items)
        assert items.value == {"sum": 7}


def test_a_seed_caller_gets_a_stream_as_a_list(bus: str, seed: SeedClient) -> None:
    with worker_at(bus):
        assert seed.call("tape", "count", [5])["Result"]["value"] == [0, 1, 2, 3, 4]
        assert seed.call("echo", "headers")["Result"]["value"] == {}


def test_a_seed_worker_that_never_answers(seed: SeedClient, client: Client) -> None:
    """The broker ends the call; the late answer is nobody's, and the next one is not mistaken."""
    seed.send({"RegisterObject": {"object_name": "slow"}})
    assert "Registered" in seed.read_message()
    with pytest.raises(errors.DeadlineExceeded):
        client.call("slow", "first", timeout=0.1)
    late = seed.read_message()["Call"]
    calling = InThread(lambda: client.call("slow", "second"))
    given = seed.read_message()["Call"]
    for call, value in ((late, "late"), (given, "in time")):
        seed.send({"Result": {"call_id": call["call_id"], "object_name": "slow", "value": value}})
    assert calling.result() == "in time"


# Events


def test_events_go_from_everybody_to_everybody(bus: str, seed: SeedClient, client: Client) -> None:
    async def publish_own(value: Any) -> None:
        async with ipc_broker.connect(bus) as own:
            await own.publish("sensor", "heat", value, ack=True)

    seed.subscribe("sensor", "heat")
    with SeedClient(bus) as publisher, client.subscribe("sensor", "*") as events:
        for value in VALUES:
            publisher.publish("sensor", "heat", value)
            assert events.get(PATIENCE) == Event("sensor", "heat", value)
            client.publish("sensor", "heat", value)
            assert events.get(PATIENCE) == Event("sensor", "heat", value)
            asyncio.run(publish_own(value))
            assert events.get(PATIENCE) == Event("sensor", "heat", value)
            assert [seed.next_event()["args"] for _ in range(3)] == [value] * 3


@pytest.mark.parametrize("value", UNSAYABLE, ids=lambda value: repr(value)[:20])
def test_an_event_that_seed_subscribers_cannot_read(seed: SeedClient, client: Client, value: Any) -> None:
    """Its publisher learns that; the others get it all the same."""
    seed.subscribe("sensor", "heat")
    with client.subscribe("sensor", "heat") as events:
        with pytest.raises(errors.TooLarge if isinstance(value, str) else errors.InvalidArgs):
            client.publish("sensor", "heat", value, ack=True)
        client.publish("sensor", "heat", "next", ack=True)
        came = events.get(PATIENCE)
        assert not isinstance(came, Gap)
        assert came.value == value or value is math.nan
        assert events.get(PATIENCE) == Event("sensor", "heat", "next")
        assert seed.next_event()["args"] == "next"


def test_stars_of_seed_peers_are_literal(bus: str, seed: SeedClient, client: Client) -> None:
    seed.subscribe("sensor", "*")
    with SeedClient(bus) as publisher, client.subscribe("sensor", "*") as events:
        client.publish("sensor", "heat", 1, ack=True)
        publisher.publish("sensor", "*", 2)
        assert seed.next_event() == {"object_name": "sensor", "topic": "*", "args": 2}
        assert events.get(PATIENCE) == Event("sensor", "heat", 1)
        assert events.get(PATIENCE) == Event("sensor", "*", 2)


def test_a_group_beside_a_seed_subscriber(bus: str, seed: SeedClient, client: Client) -> None:
    seed.subscribe("jobs", "new")
    with (
        connect(bus) as other,
        client.subscribe("jobs", "new", group="workers") as first,
        other.subscribe("jobs", "new", group="workers") as second,
        SeedClient(bus) as publisher,
    ):
        for number in range(100):
            publisher.publish("jobs", "new", number)
        assert [seed.next_event()["args"] for _ in range(100)] == list(range(100))
        client.drain()
        other.drain()
        assert first.pending + second.pending == 100
        assert first.pending == second.pending


def test_what_a_seed_published_is_kept_by_nobody(seed: SeedClient, client: Client) -> None:
    client.publish("sensor", "heat", {"kept": True}, retain=True, ack=True)
    seed.publish("sensor", "heat", "passing")
    assert seed.call("rob", "ping").get("Result") is not None
    with client.subscribe("sensor", "heat") as events:
        assert events.get(PATIENCE) == Event("sensor", "heat", {"kept": True}, retained=True)
        seed.publish("sensor", "heat", "live")
        assert events.get(PATIENCE) == Event("sensor", "heat", "live")


def test_a_slow_subscriber_of_ours_stops_a_seed_publisher_and_no_call(local_address: str) -> None:
    """The seed cannot be told to pause: it is not read from. Its events arrive whole."""
    count = 2000
    with (
        broker_at(local_address, "--limit-backlog", "100000", "--limit-stall", "20"),
        worker_at(local_address),
        connect(local_address) as client,
        connect(local_address) as caller,
        client.subscribe("sensor", "heat") as events,
        SeedClient(local_address, timeout=PATIENCE) as publisher,
    ):

        def publish() -> None:
            for number in range(count):
                publisher.publish("sensor", "heat", [number, "x" * 2000])

        publishing = InThread(publish)
        for number in range(count):
            event = events.get(PATIENCE)
            assert isinstance(event, Event)
            assert event.value[0] == number
            if number % 200 == 0:
                assert caller.call("math", "add", [number, 1]) == {"sum": number + 1}
        publishing.result()
