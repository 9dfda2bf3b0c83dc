"""The asyncio client: names, publishing, leaving and closing."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from ipc_broker import connect
from ipc_broker.aio.link import ENOUGH_TO_WRITE
from ipc_broker.errors import (
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    IPCError,
)
from ipc_broker.protocol.batching import COST
from ipc_broker.session.names import Names
from ipc_broker.session.shell import Reply
from tests.aio.bus import AnyBroker, Peer, broker_at, bus, serving, until, until_lost
from tests.aio.objects import Calculator, Echo, Gate, entered, let_through
from tests.messages import result
from tests.seed.frames import frame, read_frame

# Names


async def test_has_and_objects(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        assert not await client.has("math")
        async with serving(address, math=Calculator(), echo=Echo()):
            assert await client.has("math")
            assert sorted(await client.objects()) == ["echo", "math", "rob"]
        await until_lost(client, "math")
        assert await client.objects() == ["rob"]


async def test_objects_are_listed_however_many_there_are(address: str) -> None:
    names = [f"{number:03}" + "n" * 1000 for number in range(150)]  # one answer holds 65
    objects: dict[str, Any] = {name: Echo() for name in names}
    async with bus(address, **objects) as client:
        assert await client.objects() == [*names, "rob"]


async def test_objects_ends_with_its_timeout(address: str) -> None:
    async def answer_hello_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await read_frame(reader))["Call"]
        writer.write(frame(result(hello["call_id"], "rob")))
        await reader.read()

    async with Peer(answer_hello_only).at(address) as where, connect(where) as client:
        with pytest.raises(DeadlineExceeded, match=r"did not answer 'listObjects' within 0\.05 s"):
            await client.objects(timeout=0.05)


async def test_wait_for_returns_when_the_object_comes(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        waiting = [asyncio.ensure_future(client.wait_for("math", timeout=10)) for _ in range(3)]
        assert not await client.has("math")
        async with serving(address, other=Echo(), math=Calculator()):
            await asyncio.gather(*waiting)
            await client.wait_for("math", timeout=10)
            await client.wait_for("math")


async def test_wait_for_ends_with_its_timeout(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        with pytest.raises(TimeoutError):
            await client.wait_for("math", timeout=0.05)
        assert not await client.has("math")


async def test_wait_for_does_not_poll_our_broker(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    has = Names.has

    def counted(self: Names, name: str, reply: Reply) -> None:
        asked.append(name)
        has(self, name, reply)

    monkeypatch.setattr(Names, "has", counted)
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        waiting = asyncio.ensure_future(client.wait_for("math", timeout=10))
        await asyncio.sleep(0.25)  # long enough for a poll of every 100 ms, as the seed's clients make
        assert asked == ["math"]
        async with serving(broker.addresses[0], other=Echo()), serving(broker.addresses[0], math=Calculator()):
            await waiting
        assert asked == ["math"]


# Publishing


async def test_publish_returns_when_it_is_queued(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        publishing = client.publish("sensor", "temperature", 25.6)
        with pytest.raises(StopIteration):  # it ended without giving the loop a turn
            publishing.send(None)
        assert client.link.session.queued > 0
        await asyncio.sleep(0)
        assert client.link.session.queued == 0


async def test_drain_returns_when_all_was_routed(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        for _ in range(2):
            for number in range(1000):
                await client.publish("sensor", "temperature", number)
            await client.drain()
            assert broker.router.events.published in (1000, 2000)
        assert broker.router.events.published == 2000


async def test_leaving_the_block_drains(address: str) -> None:
    async with broker_at(address) as broker:
        async with connect(broker.addresses[0]) as client:
            for number in range(1000):
                await client.publish("sensor", "temperature", number)
        assert broker.router.events.published == 1000


async def test_drain_works_at_a_seed_broker_too(any_broker: AnyBroker) -> None:
    async with (
        any_broker() as address,
        connect(address) as listener,
        listener.subscribe("sensor", "temperature") as events,
    ):
        async with connect(address) as client:
            await client.publish("sensor", "temperature", 1)
            await client.drain()
            await client.publish("sensor", "temperature", 2)
        assert [(await events.get(10)).value for _ in range(2)] == [1, 2]  # type: ignore[union-attr]


async def test_publishing_more_than_the_kernel_takes_waits_and_loses_nothing(address: str) -> None:
    async with (
        broker_at(address) as broker,
        connect(broker.addresses[0]) as client,
        connect(client.address) as other,
        other.subscribe("bulk", "data") as events,
    ):
        value = "x" * 60_000

        async def publish() -> None:
            for _ in range(200):
                await client.publish("bulk", "data", value)
                assert client.link.session.queued < 200_000

        publishing = asyncio.ensure_future(publish())
        for _ in range(200):
            assert (await events.get(10)).value == value  # type: ignore[union-attr]
        await publishing


@pytest.mark.parametrize(
    ("count", "value", "size"), [(6400, "x" * 1000, 1000), (20_000, 1, COST)], ids=["large", "small"]
)
async def test_publishing_without_a_pause_gives_the_loop_its_turns(
    any_address: str, count: int, value: object, size: int
) -> None:
    """However much the kernel takes, and however little small events take together: the client reads, and others run."""
    async with broker_at(any_address) as broker, connect(broker.addresses[0]) as client:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count_turns())
        for _ in range(count):
            await client.publish("bulk", "data", value)
        assert turns >= count * size // (2 * ENOUGH_TO_WRITE)
        counting.cancel()


# Leaving and closing


async def test_leaving_the_block_without_a_broker_is_quiet_where_nothing_can_be_lost(any_broker: AnyBroker) -> None:
    async with AsyncExitStack() as clients:
        async with any_broker() as address:
            silent = await clients.enter_async_context(connect(address))
            drained = await clients.enter_async_context(connect(address))
            assert not await silent.has("math")
            await drained.publish("sensor", "temperature", 1)
            await drained.drain()
        async with asyncio.timeout(5):
            await clients.aclose()
    assert (silent.link.closed, drained.link.closed) == (True, True)


async def test_leaving_the_block_without_a_broker_says_so(
    any_broker: AnyBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published may not have been routed. What was not sent waits for a broker as long as a drain does."""
    async with AsyncExitStack() as block:
        async with any_broker() as address:
            client = await block.enter_async_context(connect(address))
            await client.publish("sensor", "temperature", 1)
        await until(lambda: not client.link.session.ready)
        monkeypatch.setattr(client, "drain", partial(client.drain, 0.05))
        with pytest.raises(IPCError, match=r"no connection to .* within 0\.05 s|may not have been routed"):
            await block.aclose()
    assert client.link.closed


async def test_leaving_the_block_asks_only_when_something_was_published_since_the_last_drain(address: str) -> None:
    async with broker_at(address) as broker:
        for published, drained, asked in ((0, 0, 0), (1, 0, 1), (1, 1, 1), (0, 1, 1)):
            before = broker.router.totals.calls
            async with connect(broker.addresses[0]) as client:
                for _ in range(published):
                    await client.publish("sensor", "temperature", 1)
                for _ in range(drained):
                    await client.drain()
            assert broker.router.totals.calls - before == 1 + asked  # hello is one


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError, KeyError])
async def test_leaving_the_block_on_an_exception_never_hangs(kind: type[BaseException], address: str) -> None:
    gate = Gate()
    async with broker_at(address) as broker, serving(broker.addresses[0], gate=gate), asyncio.timeout(10):
        call: asyncio.Future[Any] | None = None
        with pytest.raises(kind):  # noqa: PT012 - leaving the block is what is tried
            async with connect(broker.addresses[0]) as client:
                call = asyncio.ensure_future(client.call("gate", "wait"))
                await entered(gate)
                await client.publish("sensor", "temperature", 1)
                raise kind("mine")
        assert call is not None
        with pytest.raises(ConnectionLost):
            await call
        let_through(gate)


async def test_close_ends_the_calls_in_flight(any_broker: AnyBroker) -> None:
    gate = Gate()
    async with any_broker() as address, serving(address, gate=gate):
        client = await connect(address)
        calls = [asyncio.ensure_future(client.call("gate", "wait", timeout=None)) for _ in range(10)]
        await entered(gate, 10)
        await client.close()
        for ended in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(ended, ConnectionLost)
            assert "the client was closed" in str(ended)
            assert ended.object == "gate"
        assert repr(client) == f"<Client {address} closed calls=0>"
        let_through(gate)


async def test_a_closed_client_says_so(any_broker: AnyBroker) -> None:
    async with any_broker() as address:
        async with connect(address) as client:
            subscription = client.subscribe("a", "b")
        await client.close()  # again
        for use in (
            client.call("math", "add"),
            client.publish("a", "b"),
            client.has("math"),
            client.wait_for("math", timeout=1),
            client.objects(),
            client.drain(),
            subscription,
            client.subscribe("a", "c", callback=print),
        ):
            with pytest.raises(ClientClosed, match=f"the client of {address} was closed; connect again"):
                await use


async def test_what_was_closed_in_the_block_is_left_quietly(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        await client.close()


async def test_connect_can_be_awaited_or_entered(any_broker: AnyBroker) -> None:
    async with any_broker() as address:
        client = await connect(address)
        assert not await client.has("math")
        await client.close()
        async with connect(address, name="thermostat") as client:
            assert client.address == address


async def test_the_address_comes_from_the_environment(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_at(address) as broker:
        monkeypatch.setenv("BROKER_ADDR", broker.addresses[0])
        async with connect() as client:
            assert client.address == broker.addresses[0]
            assert client.broker is not None
            assert client.broker.epoch == broker.router.identity.epoch


async def test_a_seed_broker_is_known_as_such(any_broker: AnyBroker, request: pytest.FixtureRequest) -> None:
    async with any_broker() as address, connect(address) as client:
        assert (client.broker is None) == ("seed" in request.node.callspec.id)


async def test_use_from_another_loop_fails_clearly(address: str) -> None:
    async with bus(address, math=Calculator()) as client:
        failures: list[BaseException] = []

        def elsewhere() -> None:
            async def use() -> None:
                async with asyncio.timeout(2):
                    await client.call("math", "add", [1, 2])

            try:
                asyncio.run(use())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert failures, "the call seemed to work"
        assert isinstance(failures[0], IPCError | RuntimeError), repr(failures[0])
        assert "loop" in str(failures[0])
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}


async def test_a_drain_tells_of_events_that_went_down_with_their_connection(address: str) -> None:
    async with broker_at(address) as broker:
        client = await connect(broker.addresses[0])
        await client.publish("sensor", "temperature", 1)
        protocol = client.link._protocol
        assert protocol is not None
        protocol.transport.abort()  # before the turn of the loop that would have written it
        with pytest.raises(ConnectionLost, match="may not have been routed"):
            await client.drain()
        assert broker.router.events.published == 1, "it was not sent again"
        await client.drain()  # it was told
        await client.close()
