"""Large payloads: they pass both ways, and others go on meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipc_broker import Event, Limits, connect
from ipc_broker.aio.client import Client
from ipc_broker.errors import TooLarge
from tests.aio.bus import RawPeer, broker_at, bus, serving
from tests.aio.objects import Echo
from tests.messages import call, error_of, result, subscribe
from tests.seed.frames import BODY_LIMIT

MIB = 1024 * 1024


class Bytes:
    async def size(self, data: bytes) -> int:
        return len(data)

    async def give(self, size: int) -> bytes:
        return bytes(size)

    async def back(self, data: bytes) -> bytes:
        return data


async def _calls_while(client: Client, busy: asyncio.Future[Any]) -> int:
    """How many small calls were answered until it was done."""
    count = 0
    while not busy.done():
        assert await client.call("echo", "back", count) == count
        count += 1
    return count


@pytest.mark.parametrize("size", [MIB, 20 * MIB])
async def test_large_payloads_pass_both_ways_while_small_calls_go_on(size: int, any_address: str) -> None:
    async with broker_at(any_address) as broker, serving(broker.addresses[0], it=Bytes()):
        where = broker.addresses[0]
        async with serving(where, echo=Echo()), connect(where) as client, connect(where) as other:
            data = bytes(range(256)) * (size // 256)
            for method, args, answer in (("size", [data], size), ("give", [size], bytes(size)), ("back", [data], data)):
                busy = asyncio.ensure_future(client.call("it", method, args))
                between = await _calls_while(other, busy)
                assert await busy == answer
                assert size < 20 * MIB or between >= 3


async def test_large_events_pass_while_small_calls_go_on(any_address: str) -> None:
    async with broker_at(any_address) as broker, serving(broker.addresses[0], echo=Echo()):
        where = broker.addresses[0]
        async with connect(where) as publisher, connect(where) as reader, reader.subscribe("a", "t") as events:
            values = [bytes([number]) * 10 * MIB for number in range(3)]

            async def publish() -> None:
                for value in values:
                    await publisher.publish("a", "t", value)

            async def take() -> None:
                for value in values:
                    assert await events.get(15) == Event("a", "t", value)

            passing = asyncio.gather(publish(), take())
            assert await _calls_while(publisher, passing) >= 3
            await passing


async def test_a_streams_items_may_be_large(address: str) -> None:
    class Pieces:
        async def three(self, size: int) -> Any:
            for number in range(3):
                yield bytes([number]) * size

    async with bus(address, it=Pieces()) as client:
        taken = [piece async for piece in client.stream("it", "three", [5 * MIB])]
        assert taken == [bytes([number]) * 5 * MIB for number in range(3)]


@pytest.mark.parametrize("limit", [65_536, 2 * MIB])
async def test_over_the_limit_is_told_and_the_connection_goes_on(limit: int, any_address: str) -> None:
    limits = Limits(max_frame=limit)
    async with bus(any_address, limits=limits, it=Bytes(), echo=Echo()) as client:
        expected = rf"takes \d+ bytes, over the limit of {limit} bytes"
        with pytest.raises(TooLarge, match=f"the call of 'it.size' {expected}") as caught:
            await client.call("it", "size", [bytes(limit)])
        assert caught.value.delivered == "no"
        with pytest.raises(TooLarge, match=f"the result of 'it.give' {expected}") as caught:
            await client.call("it", "give", [limit])
        assert caught.value.delivered == "yes"
        for options in ({}, {"ack": True}, {"retain": True}):
            with pytest.raises(TooLarge, match=f"the event 't' of 'a' {expected}"):
                await client.publish("a", "t", bytes(limit), **options)
        with pytest.raises(TooLarge, match=f"the call of 'it.size' {expected}"):
            await anext(client.stream("it", "size", [bytes(limit)]))
        assert await client.call("it", "size", [bytes(limit - 1000)]) == limit - 1000
        assert len(await client.call("it", "give", [limit - 1000])) == limit - 1000
        assert client.link.session.calls_in_flight == 0


async def test_what_is_too_large_for_a_seed_peer_is_an_error_to_who_sent_it(address: str) -> None:
    async with bus(address, echo=Echo()) as client, RawPeer.at(client.address) as seed:
        answer = error_of(await seed.ask(call("1", "echo", "text", BODY_LIMIT)))
        assert f"over the limit of {BODY_LIMIT} bytes" in str(answer["message"])
        await seed.ask(subscribe("a", "t"))
        with pytest.raises(TooLarge, match=f"over the limit of {BODY_LIMIT} bytes"):
            await client.publish("a", "t", "x" * BODY_LIMIT, ack=True)
        await seed.ask({"RegisterObject": {"object_name": "seed"}})
        with pytest.raises(TooLarge, match=f"over the limit of {BODY_LIMIT} bytes") as caught:
            await client.call("seed", "m", "x" * BODY_LIMIT)
        assert caught.value.delivered == "no"
        assert await seed.ask(call("2", "echo", "back", 1)) == result("2", "echo", 1)
