from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from ipc_broker import (
    Broker,
    BrokerConfig,
    CallCancelled,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Event,
    Gap,
    IPCError,
    Limits,
    ListenFailed,
    NoSuchObject,
    Worker,
    WorkerLost,
    connect,
)
from ipc_broker.messages import Call
from ipc_broker.protocol import roles
from ipc_broker.testing import MemoryBroker
from ipc_broker.testing.faults import KINDS
from tests.aio.conftest import LOOPS
from tests.testing.objects import Calculator, calculator


def values(events: list[Event | Gap]) -> list[object]:
    return [event.value if isinstance(event, Event) else event for event in events]


async def add(client: Client) -> int:
    return await client.call("math", "add", [1, 2], returns=int)


async def test_broker_worker_and_client_find_each_other_without_an_address(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect(name="caller") as client:
        assert client.address == memory_broker.address
        assert await add(client) == 3
        assert await client.objects() == ["math", "rob"]
        assert memory_broker.clock.now == 0
        assert repr(memory_broker) == f"<MemoryBroker {client.address} at 0 s peers=['calculator', 'caller']>"
        memory_broker.stall("calculator")
        assert repr(memory_broker).endswith("peers=['calculator', 'caller']; 'calculator' is stalled>")
        memory_broker.resume("calculator")
    assert repr(memory_broker) == f"<MemoryBroker {client.address} stopped>"


def test_one_loop_after_another_may_enter_it(memory_broker: MemoryBroker) -> None:
    async def scenario() -> int:
        async with memory_broker, calculator(), connect() as client:
            await memory_broker.clock.advance(1)
            assert memory_broker.clock.now == 1
            return await add(client)

    assert asyncio.run(scenario()) + asyncio.run(scenario()) == 6


@pytest.mark.parametrize("loop", LOOPS)
def test_faults_need_no_clock(memory_broker: MemoryBroker, loop: str) -> None:
    async def scenario() -> None:
        async with memory_broker, calculator(), connect(name="caller") as client:
            memory_broker.drop("caller", "Result", count=1)
            with pytest.raises(DeadlineExceeded):
                await client.call("math", "add", [1, 2], timeout=0.05)
            await memory_broker.restart()
            assert await add(client) == 3

    memory_broker.clock.patience = 0.01  # what waits for the clock goes on then
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        if loop == "uvloop":
            runner.run(scenario())
        else:
            with pytest.raises(AssertionError, match="stood still"):
                runner.run(scenario())


async def test_before_it_is_entered_everything_says_so(memory_broker: MemoryBroker) -> None:
    with pytest.raises(ConnectFailed, match=r"start one here, before anybody connects: `async with memory_broker:`"):
        await connect(memory_broker.address)
    with pytest.raises(IPCError, match=r"enter it first, `async with memory_broker:`"):
        memory_broker.kill("calculator")
    with pytest.raises(IPCError, match=r"enter it first"):
        await memory_broker.restart()
    async with memory_broker:
        with pytest.raises(IPCError, match="runs already"):
            await memory_broker.start()


async def test_one_that_cannot_start_leaves_time_as_it_was(memory_broker: MemoryBroker) -> None:
    async with Broker(BrokerConfig(listen=(memory_broker.address,))):
        with pytest.raises(ListenFailed, match="another broker listens there"):
            await memory_broker.__aenter__()
    assert not memory_broker.clock.held


async def test_limits_are_the_broker_s(memory_broker: MemoryBroker) -> None:
    async with memory_broker, MemoryBroker(limits=Limits(names=1), clock=memory_broker.clock) as small:
        worker = calculator(small.address)
        worker.add("more", Calculator())
        with pytest.raises(IPCError, match="names"):
            await worker.__aenter__()


# Time


async def test_a_deadline_passes_when_the_clock_is_moved(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        call = asyncio.create_task(client.call("math", "add_later", [1, 2, 10.0], timeout=5))
        await memory_broker.clock.advance(4.9)
        assert not call.done()
        await memory_broker.clock.advance(0.2)
        with pytest.raises(DeadlineExceeded):
            await call


async def test_a_slow_method_takes_no_time(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        call = asyncio.create_task(client.call("math", "add_later", [1, 2, 29.0]))
        await memory_broker.clock.advance(29)
        assert await call == 3


async def test_who_waits_for_a_clock_that_stands_learns_it_with_its_own_error(memory_broker: MemoryBroker) -> None:
    memory_broker.clock.patience = 0.01

    async def scenario() -> None:
        async with memory_broker, calculator(), connect() as client:
            memory_broker.stall("calculator")
            await client.call("math", "add", [1, 2], timeout=2)

    with pytest.raises(DeadlineExceeded) as caught:
        await scenario()
    [note] = caught.value.__notes__
    assert note.startswith("the test stood still for 0.01 s")
    assert note.endswith("; 'calculator' is stalled")


# Faults


async def test_a_peer_that_is_killed_loses_its_calls_and_comes_back(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        call = asyncio.create_task(client.call("math", "add_later", [1, 2, 1.0]))
        await memory_broker.clock.advance(0)
        memory_broker.kill("calculator")
        with pytest.raises(WorkerLost):
            await call
        await memory_broker.clock.advance(1)
        assert await add(client) == 3


async def test_a_peer_can_be_killed_for_good(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        memory_broker.kill("calculator", comes_back=False)
        await memory_broker.clock.advance(60)
        with pytest.raises(NoSuchObject):
            await add(client)
        with pytest.raises(ValueError, match="'calculator' is not connected at the moment"):
            memory_broker.kill("calculator")
        memory_broker.resume("calculator")
        await memory_broker.clock.advance(1)
        assert await add(client) == 3


async def test_a_client_that_is_killed_does_not_use_its_old_connection(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect(name="caller") as client:
        memory_broker.kill("caller")
        assert await add(client) == 3


async def test_a_stalled_worker_is_found_by_heartbeats(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        memory_broker.stall("calculator")
        call = asyncio.create_task(add(client))
        await memory_broker.clock.advance(10)
        assert not call.done()
        await memory_broker.clock.advance(6)
        with pytest.raises(WorkerLost):
            await call
        memory_broker.resume("calculator")
        await memory_broker.clock.advance(5)
        assert await add(client) == 3


async def test_a_stalled_peer_gets_all_of_it_when_it_goes_on(memory_broker: MemoryBroker) -> None:
    async with (
        memory_broker,
        connect(name="display") as client,
        connect() as other,
        client.subscribe("sensor", "*") as events,
    ):
        memory_broker.stall("display")
        for number in range(3):
            await other.publish("sensor", "temperature", number)
        await other.drain()
        with pytest.raises(TimeoutError):
            await asyncio.gather(events.get(timeout=1), memory_broker.clock.advance(1))
        memory_broker.resume("display")
        assert values([await events.get(timeout=1) for _ in range(3)]) == [0, 1, 2]


async def test_what_a_peer_is_sent_can_be_late(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect(name="caller") as client:
        memory_broker.delay("caller", 2.5)
        call = asyncio.create_task(add(client))
        await memory_broker.clock.advance(2.4)
        assert not call.done()
        await memory_broker.clock.advance(0.1)
        assert await call == 3
        memory_broker.resume("caller")
        assert await add(client) == 3
        assert memory_broker.clock.now == 2.5


async def test_messages_of_a_kind_are_lost_so_often(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect(name="display") as client, client.subscribe("sensor", "*") as events:
        await client.publish("sensor", "temperature", 0, ack=True)
        memory_broker.drop("display", "Event", count=2)
        for number in range(1, 5):
            await client.publish("sensor", "temperature", number)
        assert values([await events.get(timeout=1) for _ in range(3)]) == [0, 3, 4]


async def test_a_function_chooses_what_is_lost_until_resume(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect(name="display") as client, client.subscribe("sensor", "*") as events:
        memory_broker.drop("display", lambda message: isinstance(message, Event) and message.value % 2)
        for number in range(5):
            await client.publish("sensor", "temperature", number, ack=True)
        memory_broker.resume("display")
        await client.publish("sensor", "temperature", 5)
        assert values([await events.get(timeout=1) for _ in range(4)]) == [0, 2, 4, 5]


async def test_a_lost_call_is_the_worker_s(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect(name="caller") as client:
        memory_broker.drop("calculator", lambda message: isinstance(message, Call) and message.method == "add", count=1)
        call = asyncio.create_task(client.call("math", "add", [1, 2], timeout=1))
        await memory_broker.clock.advance(1.1)
        with pytest.raises(DeadlineExceeded):
            await call
        assert await add(client) == 3


async def test_who_connects_while_its_messages_are_lost_is_let_in(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect(name="caller"), calculator():
        memory_broker.drop("caller", "Result", count=1)
        async with connect(name="caller") as second:
            with pytest.raises(DeadlineExceeded):
                await asyncio.gather(second.call("math", "add", [1, 2], timeout=1), memory_broker.clock.advance(1.1))
            assert await add(second) == 3


def test_what_can_be_lost_is_what_a_client_may_be_sent() -> None:
    known = itertools.chain(roles.KINDS[roles.Role.CLIENT], roles.EXTENDED_KINDS[roles.Role.CLIENT])
    assert sorted({kind.__name__ for kind in known} - {"Batch"}) == sorted(KINDS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("calculater", r"no peer called 'calculater' has connected; there is 'calculator'; give one a name by connect"),
        ("math", r"no peer called 'math' has connected; 'math' is an object, which 'calculator' serves; there is"),
        ("", r"no peer called '' has connected; there is 'calculator'"),
    ],
)
async def test_a_name_that_nobody_has_is_refused(memory_broker: MemoryBroker, name: str, message: str) -> None:
    async with memory_broker, calculator(), connect():
        for fault in (memory_broker.kill, memory_broker.stall, memory_broker.resume):
            with pytest.raises(ValueError, match=message):
                fault(name)
        with pytest.raises(ValueError, match=message):
            memory_broker.delay(name, 1)
        with pytest.raises(ValueError, match=message):
            memory_broker.drop(name, "Result")
        with pytest.raises(ValueError, match=r"a client is sent no message 'result'; there is Call, .*Result"):
            memory_broker.drop("calculator", "result")


# The broker comes and goes


async def test_everybody_comes_back_after_a_restart(memory_broker: MemoryBroker) -> None:
    class Ticker:
        async def tick(self) -> AsyncIterator[int]:
            for number in itertools.count():
                yield number
                await asyncio.sleep(1)

    ticker = Worker(name="ticker")
    ticker.add("ticker", Ticker())
    async with memory_broker, calculator(), ticker, connect() as client, client.subscribe("a", "b") as events:
        first = memory_broker.broker
        await memory_broker.restart()
        await memory_broker.clock.advance(1)
        assert memory_broker.broker is not first
        assert await add(client) == 3
        await client.publish("a", "b", 1)
        assert values([await events.get(timeout=1) for _ in range(2)]) == [Gap("a", "b", None), 1]
        ticks: list[int] = []

        async def follow() -> None:
            async for number in client.stream("ticker", "tick"):
                ticks.append(number)

        following = asyncio.create_task(follow())
        await memory_broker.clock.advance(3.5)
        assert ticks == [0, 1, 2, 3]
        following.cancel()
        await asyncio.wait([following])


async def test_calls_wait_for_a_broker_that_is_gone(memory_broker: MemoryBroker) -> None:
    async with memory_broker, calculator(), connect() as client:
        await memory_broker.stop()
        await memory_broker.stop()  # which does nothing
        call = asyncio.create_task(add(client))
        await memory_broker.clock.advance(5)
        assert not call.done()
        await memory_broker.start()
        await memory_broker.clock.advance(1)
        assert await call == 3


# Leaving


@pytest.mark.parametrize("fault", ["stall", "drop", "delay"])
async def test_who_is_out_of_order_can_be_left_all_the_same(memory_broker: MemoryBroker, fault: str) -> None:
    async with memory_broker, calculator(), connect(name="caller"):
        for name in ("calculator", "caller"):
            match fault:
                case "stall":
                    memory_broker.stall(name)
                case "drop":
                    memory_broker.drop(name, "Result")
                case "delay":
                    memory_broker.delay(name, 10)
    assert not memory_broker.clock.stood_still


async def test_events_that_cannot_be_drained_are_told_of_at_once(memory_broker: MemoryBroker) -> None:
    async def publish_and_leave() -> None:
        async with connect(name="caller") as client:
            memory_broker.stall("caller")
            await client.publish("sensor", "temperature", 21.5)

    async with memory_broker:
        with pytest.raises(ConnectionLost):
            await publish_and_leave()
    assert not memory_broker.clock.stood_still


async def test_a_method_that_sleeps_does_not_keep_its_worker(memory_broker: MemoryBroker) -> None:
    async with memory_broker, connect() as client:
        async with calculator():
            call = asyncio.create_task(client.call("math", "add_later", [1, 2, 100.0], timeout=None))
            await memory_broker.clock.advance(1)
        with pytest.raises(CallCancelled):
            await call


async def test_what_a_test_fails_with_is_its_own_error(memory_broker: MemoryBroker) -> None:
    async def scenario() -> None:
        async with memory_broker, calculator(), connect(name="caller"):
            memory_broker.stall("calculator")
            memory_broker.stall("caller")
            raise ValueError("of the test")

    with pytest.raises(ValueError, match="of the test") as caught:
        await scenario()
    assert not hasattr(caught.value, "__notes__")


async def test_no_sum_of_times_keeps_the_loop_from_its_rest(memory_broker: MemoryBroker) -> None:
    """A timer for when a deadline is, by how long that is from now, may be due a little before it."""
    async with memory_broker, calculator(), connect() as client:
        for _ in range(100):
            late = asyncio.create_task(client.call("math", "add_later", [1, 2, 60], timeout=0.1))
            await memory_broker.clock.advance(0.3)
            assert isinstance(late.exception(), DeadlineExceeded)
