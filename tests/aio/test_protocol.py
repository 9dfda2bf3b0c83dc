"""What client and broker agree on, and what can be said since then."""

from __future__ import annotations

import datetime
import math
import uuid
from typing import Any

import pytest
from msgspec import Struct

from ipc_broker import Event, Limits, Worker, connect
from ipc_broker.aio.client import Client
from ipc_broker.errors import InvalidArgs, RemoteError
from ipc_broker.session.settings import Settings
from tests.aio.bus import AnyBroker, RawPeer, any_broker_at, broker_at, bus, serving
from tests.aio.objects import Echo
from tests.messages import call, error_of, result
from tests.seed.frames import BODY_LIMIT, Json

NOON = datetime.datetime(2024, 5, 17, 12, 0, 0, 123456, tzinfo=datetime.UTC)


async def say_only(client: Client, *encodings: str) -> None:
    """Opens a client that was made, not connected, so that it offers no other encodings."""
    client.link.session._settings = Settings(encodings=encodings)
    await client.link.open(5)


# What was agreed


async def test_with_our_broker_the_extended_protocol_is_agreed(any_address: str) -> None:
    limits = Limits(max_frame=1_000_000)
    async with broker_at(any_address, limits=limits) as broker, connect(broker.addresses[0]) as client:
        agreement = client.protocol
        assert (agreement.name, agreement.encoding, agreement.max_frame) == ("extended", "msgpack", 1_000_000)
        assert set(agreement.features) >= {"multiplex", "cancel", "caller", "streams", "flow", "resume"}
        assert client.broker is not None
        assert client.broker.features == agreement.features


@pytest.mark.parametrize("kind", ["seed", "seed that starts"])
async def test_with_a_seed_broker_it_is_the_seeds(kind: str, address: str) -> None:
    async with any_broker_at(kind, address) as where, connect(where) as client:
        agreement = client.protocol
        assert (agreement.name, agreement.encoding, agreement.features) == ("seed", "json", ())
        assert agreement.max_frame == BODY_LIMIT


async def test_what_a_seed_broker_cannot_do_is_refused(address: str) -> None:
    async with any_broker_at("seed", address) as where, connect(where) as client:
        for wish in (client.subscribe("a", "t", group="g"), client.subscribe("a", "t", overflow="latest")):
            with pytest.raises(InvalidArgs, match="it has no groups and no overflow"):
                await wish
        with pytest.raises(InvalidArgs, match="it has no streams"):
            await anext(client.stream("a", "m"))
        assert await client.call("rob", "listObjects") == ["rob"]


# Values

VALUES = [
    b"\x00\xff bytes",
    {"deep": [b"", {"a": b"\xf0"}]},
    math.inf,
    [-math.inf, 0.0, 2**64 - 1, -(2**63)],
    NOON,
    {"when": [NOON, NOON + datetime.timedelta(days=1)]},
    {1: "a key that is no text"},
    "\u20ac \U0001f600 \x00",
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20].encode("ascii", "replace").decode())
async def test_values_arrive_as_they_were_in_arguments_results_and_events(value: Any, any_address: str) -> None:
    async with bus(any_address, echo=Echo()) as client, client.subscribe("a", "t") as events:
        assert await client.call("echo", "back", [value]) == value
        assert await client.call("echo", "named", {"value": value}) == {"value": value}
        await client.publish("a", "t", value)
        assert await events.get(10) == Event("a", "t", value)


async def test_no_number_stays_no_number(address: str) -> None:
    async with bus(address, echo=Echo()) as client, client.subscribe("a", "t") as events:
        assert math.isnan(await client.call("echo", "back", math.nan))
        await client.publish("a", "t", [math.nan])
        event = await events.get(10)
        assert isinstance(event, Event)
        assert math.isnan(event.value[0])


async def test_a_streams_items_may_be_bytes(address: str) -> None:
    class Pieces:
        async def cut(self, data: bytes, size: int) -> Any:
            for start in range(0, len(data), size):
                yield data[start : start + size]

    async with bus(address, pieces=Pieces()) as client:
        data = bytes(range(256)) * 10
        taken = [piece async for piece in client.stream("pieces", "cut", {"data": data, "size": 100}, returns=bytes)]
        assert b"".join(taken) == data
        assert len(taken) == 26


class Reading(Struct):
    when: datetime.datetime
    id: uuid.UUID
    raw: bytes = b""


async def test_type_hints_are_met_as_they_are_in_json(address: str) -> None:
    class Logger:
        async def keep(self, when: datetime.datetime, data: bytes, ids: set[uuid.UUID]) -> Reading:
            assert isinstance(when, datetime.datetime)
            assert isinstance(data, bytes)
            return Reading(when, ids.pop(), data)

    one = uuid.uuid4()
    async with bus(address, logger=Logger()) as client:
        args = {"when": NOON, "data": b"\xff", "ids": [one]}
        assert await client.call("logger", "keep", args, returns=Reading) == Reading(NOON, one, b"\xff")
        as_text = {"when": NOON.isoformat(), "data": b"", "ids": [str(one)]}
        assert await client.call("logger", "keep", as_text, returns=Reading) == Reading(NOON, one)
        with pytest.raises(InvalidArgs, match=r"Expected `bytes`, got `int` - at `\$\.data`"):
            await client.call("logger", "keep", {**args, "data": 1})
        with pytest.raises(RemoteError, match=r"Expected `bytes`, got `object`"):
            await client.call("logger", "keep", args, returns=bytes)


# Mixed company


@pytest.mark.parametrize(("of_worker", "of_caller"), [("json", "msgpack"), ("msgpack", "json"), ("json", "json")])
async def test_peers_of_different_encodings_understand_each_other(of_worker: str, of_caller: str, address: str) -> None:
    value: dict[str, Any] = {"a": [1, -2.5, None, True, "text \u20ac", {}]}
    async with broker_at(address) as broker:
        worker, caller = Worker(broker.addresses[0]), Client(broker.addresses[0])
        worker.client.link.session._settings = Settings(encodings=(of_worker,))
        worker.add("echo", Echo())
        await say_only(caller, of_caller)
        async with worker, caller.subscribe("a", "t") as events:
            assert worker.client.protocol.encoding == of_worker
            assert caller.protocol.encoding == of_caller
            assert await caller.call("echo", "back", [value], headers={"tenant": "a"}) == value
            await worker.client.publish("a", "t", value)
            assert await events.get(10) == Event("a", "t", value)
        await caller.close()


async def test_what_the_others_encoding_cannot_say_is_an_error_to_who_sent_it(address: str) -> None:
    class Bytes:
        async def give(self) -> bytes:
            return b"\xff"

        async def take(self, value: Any) -> None: ...

    async with broker_at(address) as broker, serving(broker.addresses[0], it=Bytes()):
        caller = Client(broker.addresses[0])
        await say_only(caller, "json")
        with pytest.raises(InvalidArgs, match="cannot be told this") as caught:
            await caller.call("it", "give")
        assert caught.value.delivered == "yes"
        async with RawPeer.at(broker.addresses[0]) as seed, connect(broker.addresses[0]) as client:
            assert "cannot be told this" in str(error_of(await seed.ask(call("1", "it", "give")))["message"])
            await seed.ask({"Subscribe": {"object_name": "a", "topic": "t"}})
            with pytest.raises(InvalidArgs, match="subscribers of 'a' cannot read this event"):
                await client.publish("a", "t", math.nan, ack=True)
            assert await seed.ask(call("2", "it", "take", 1)) == result("2", "it")
        await caller.close()


async def test_a_seed_peer_is_served_by_msgpack_workers(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, echo=Echo()), RawPeer.at(address) as seed:
        value: Json = {"a": [1, "text", None]}
        assert await seed.ask(call("1", "echo", "back", [value])) == result("1", "echo", value)
