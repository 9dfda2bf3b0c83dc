"""Calls of the asyncio client."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

import pytest
from msgspec import Struct

from ipc_broker import Limits, connect
from ipc_broker.errors import (
    CallError,
    DeadlineExceeded,
    InvalidArgs,
    NoSuchMethod,
    NoSuchObject,
    RemoteError,
    TooLarge,
)
from tests.aio.bus import AnyBroker, any_broker_at, broker_at, bus, serving, until
from tests.aio.objects import Calculator, Echo, Gate, cancelled, entered, let_through
from tests.seed.frames import BODY_LIMIT
from tests.seed.worker import SeedWorker


class Sum(Struct):
    sum: int


@dataclass
class SumOfDataclass:
    sum: int


async def test_calls_by_name_by_position_and_of_nothing(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator(), echo=Echo()), connect(address) as client:
        assert await client.call("math", "add", {"a": 10, "b": 32}) == {"sum": 42}
        assert await client.call("math", "mul", [6, 7]) == {"product": 42}
        assert await client.call("echo", "back") is None
        assert await client.call("echo", "back", "text") == "text"
        assert await client.call("echo", "back", [[1, {"a": None}]]) == [1, {"a": None}]


async def test_a_proxy_calls_as_python_does(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator(), echo=Echo()), connect(address) as client:
        calculator, echo = client.object("math"), client.object("echo")
        assert await calculator.add(a=10, b=32) == {"sum": 42}
        assert await calculator.add(10, 32) == {"sum": 42}
        assert await echo.back() is None
        assert await echo.back([1, 2]) == [1, 2]
        assert await echo.back(None) is None
        assert await echo.named(timeout=1, object="x", method="y") == {"timeout": 1, "object": "x", "method": "y"}


async def test_a_proxy_refuses_a_mixture_and_private_names(address: str) -> None:
    async with bus(address, math=Calculator()) as client:
        calculator = client.object("math")
        with pytest.raises(TypeError, match=r"math\.add: give all arguments by position or all by name"):
            calculator.add(1, b=2)
        with pytest.raises(AttributeError):
            calculator._private  # noqa: B018 - looking at it is what is tried
        assert not hasattr(calculator, "__len__")
        assert repr(calculator) == "<ObjectProxy 'math'>"


async def test_a_seed_worker_answers_us(address: str) -> None:
    async with broker_at(address) as broker, connect(broker.addresses[0]) as client:
        with SeedWorker(broker.addresses[0]) as worker:
            await client.wait_for("math", timeout=10)
            answers = await asyncio.gather(*(client.call("math", "add", [n, 1]) for n in range(20)))
            assert answers == [{"sum": n + 1} for n in range(20)]
            assert await client.call("math", "add", {"a": "x"}) == (
                'Invalid args: invalid type: string "x", expected i32'
            )
            assert worker.ignored == []
            await asyncio.to_thread(worker.stop)


async def test_returns_converts_and_checks(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator(), echo=Echo()), connect(address) as client:
        ten = {"a": 4, "b": 6}
        assert await client.call("math", "add", ten, returns=Sum) == Sum(10)
        assert await client.call("math", "add", ten, returns=SumOfDataclass) == SumOfDataclass(10)
        assert await client.call("echo", "sequence", [1, 2], returns=list[int]) == [1, 2]
        with pytest.raises(RemoteError) as caught:
            await client.call("echo", "sequence", [1, "two"], returns=list[int])
        assert str(caught.value).endswith("Expected `int`, got `str` - at `$[1]`")
        assert (caught.value.object, caught.value.method) == ("echo", "sequence")
        assert caught.value.type == "ValidationError"
        with pytest.raises(RemoteError, match=r"echo.*back.*Sum"):
            await client.call("echo", "back", "text", returns=Sum)


async def test_what_nobody_serves(any_broker: AnyBroker) -> None:
    async with any_broker() as address, connect(address) as client:
        with pytest.raises(NoSuchObject, match=r"^No such object 'math'$") as caught:
            await client.call("math", "add")
        error = caught.value
        assert (error.code, error.object, error.method, error.delivered) == ("no_such_object", "math", "add", "no")


async def test_a_method_that_there_is_not(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator()), connect(address) as client:
        with pytest.raises(CallError, match="'math' has no method 'sub'; it has: add, mul") as caught:
            await client.call("math", "sub")
        # The seed's broker does not forward fields that it does not know, and the code is one of them.
        assert type(caught.value) is (RemoteError if client.broker is None else NoSuchMethod)
        assert caught.value.delivered == "yes"


async def test_a_deadline_passes_and_the_connection_works_as_before(any_broker: AnyBroker) -> None:
    gate = Gate()
    async with (
        any_broker() as address,
        serving(address, gate=gate, math=Calculator()) as worker,
        connect(address) as client,
        asyncio.timeout(10),
    ):
        for timeout in (0.05, 0.0):  # the broker is told 1 ms instead of none, which would be for ever
            expected = rf"'gate' did not answer 'wait' within ({timeout:g}|0\.001) s"
            with pytest.raises(DeadlineExceeded, match=expected) as caught:
                await client.call("gate", "wait", timeout=timeout)
            assert isinstance(caught.value, TimeoutError)
            assert (caught.value.code, caught.value.object) == ("deadline_exceeded", "gate")
        assert await client.call("math", "add", [1, 2]) == {"sum": 3}
        if client.broker is None:  # the worker is not told, and answers
            let_through(gate)
            await until(lambda: client.link.session.late_answers == 2)
        else:
            await until(lambda: not len(worker._executor))
            assert gate._cancelled == gate._entered  # the second may have been cancelled before it began
        assert await client.call("math", "add", [1, 2], timeout=5) == {"sum": 3}
        assert client.link.session.calls_in_flight == 0


@pytest.mark.parametrize("timeout", [None, math.inf])
async def test_without_a_deadline_a_call_waits(timeout: float | None, address: str) -> None:
    gate = Gate()
    async with bus(address, gate=gate) as client:
        call = asyncio.ensure_future(client.call("gate", "wait", 5, timeout=timeout))
        await asyncio.sleep(0)
        assert not call.done(), call.exception()
        await entered(gate)
        with pytest.raises(DeadlineExceeded):
            await client.call("gate", "wait", timeout=0.05)
        let_through(gate)
        assert await call == 5


async def test_deadlines_of_many_calls_end_each_at_its_own_time(address: str) -> None:
    gate = Gate()
    async with bus(address, gate=gate) as client:
        ended: list[float] = []

        async def call(timeout: float) -> None:
            with pytest.raises(DeadlineExceeded):
                await client.call("gate", "wait", timeout=timeout)
            ended.append(timeout)

        await asyncio.gather(*map(call, (0.5, 0.3, 0.1, 0.4, 0.2)))
        let_through(gate)
        assert ended == [0.1, 0.2, 0.3, 0.4, 0.5]


async def test_ten_thousand_calls_in_flight_in_any_order(address: str) -> None:
    gate = Gate()
    async with bus(address, gate=gate, echo=Echo()) as client:
        calls = [asyncio.ensure_future(client.call("gate", "wait", [n])) for n in range(10_000)]
        await entered(gate, 10_000)
        assert repr(client) == f"<Client {client.address} connected calls=10000>"
        assert await client.call("echo", "back", "quick") == "quick"
        assert not any(call.done() for call in calls)
        let_through(gate)
        assert await asyncio.gather(*calls) == list(range(10_000))


async def test_ten_thousand_calls_at_a_seed_broker() -> None:
    from tests.seed.broker import SeedBroker

    async with SeedBroker() as broker, serving(broker.address, echo=Echo()), connect(broker.address) as client:
        calls = (client.call("echo", "back", n) for n in range(10_000))
        assert await asyncio.gather(*calls) == list(range(10_000))


async def test_many_tasks_share_one_client(any_broker: AnyBroker) -> None:
    async with any_broker() as address, serving(address, math=Calculator(), echo=Echo()), connect(address) as client:

        async def task(number: int) -> None:
            async with client.subscribe("news", str(number)) as events:
                for turn in range(5):
                    assert await client.call("math", "add", [number, turn]) == {"sum": number + turn}
                    assert await client.has("math")
                    await client.publish("news", str(number), turn)
                    assert (await events.get(10)).value == turn  # type: ignore[union-attr]  # a Gap has no value: it fails
                    assert await client.call("echo", "back", [number]) == number

        await asyncio.gather(*map(task, range(20)))


async def test_a_cancelled_call_is_forgotten(any_broker: AnyBroker) -> None:
    gate = Gate()
    async with any_broker() as address, serving(address, gate=gate, echo=Echo()), connect(address) as client:
        call = asyncio.ensure_future(client.call("gate", "wait"))
        await entered(gate)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert client.link.session.calls_in_flight == 0
        assert await client.call("echo", "back", 1) == 1
        if client.broker is None:  # the worker is not told, and answers
            let_through(gate)
            await until(lambda: client.link.session.late_answers == 1)
        else:
            await cancelled(gate)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("seed", b"bytes", "bytes"),
        ("seed", math.nan, "no number nan"),
        ("seed", {"a": [1, math.inf]}, r"no number inf - at `\$\.a\[1\]`"),
        ("seed", object(), r" - at `\$`"),
        ("ours", object(), r" - at `\$`"),
        ("ours", [2**64], r" - at `\$`"),
        ("ours", "\ud800", r" - at `\$`"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is(kind: str, value: object, reason: str, address: str) -> None:
    async with any_broker_at(kind, address) as where, serving(where, echo=Echo()), connect(where) as client:
        with pytest.raises(InvalidArgs, match=f"what 'echo.back' was given cannot be sent: .*{reason}") as caught:
            await client.call("echo", "back", value)
        assert caught.value.delivered == "no"
        with pytest.raises(InvalidArgs, match=r"what 'sensor.temperature' was given cannot be sent: "):
            await client.publish("sensor", "temperature", value)
        assert await client.call("echo", "back", 1) == 1


@pytest.mark.parametrize("kind", ["ours", "seed"])
async def test_too_large_in_both_directions(kind: str, address: str) -> None:
    limits = Limits(max_frame=BODY_LIMIT)
    async with (
        any_broker_at(kind, address, limits=limits) as where,
        serving(where, echo=Echo()),
        connect(where) as client,
    ):
        with pytest.raises(
            TooLarge, match=rf"the call of 'echo\.size' takes \d+ bytes, over the limit of {BODY_LIMIT}"
        ):
            await client.call("echo", "size", ["x" * BODY_LIMIT])
        with pytest.raises(TooLarge, match=f"the event 'b' of 'a' takes .* over the limit of {BODY_LIMIT} bytes"):
            await client.publish("a", "b", "x" * BODY_LIMIT)
        with pytest.raises(CallError, match=rf"the result of 'echo\.text' takes \d+ bytes, .* {BODY_LIMIT}") as caught:
            await client.call("echo", "text", BODY_LIMIT)
        assert type(caught.value) is (RemoteError if client.broker is None else TooLarge)
        assert caught.value.delivered == "yes"
        assert await client.call("echo", "size", ["x" * (BODY_LIMIT - 1000)]) == BODY_LIMIT - 1000
        assert len(await client.call("echo", "text", BODY_LIMIT - 1000)) == BODY_LIMIT - 1000


async def test_names_that_are_too_long_are_refused(address: str) -> None:
    async with bus(address, echo=Echo()) as client:
        for attempt in (client.call("x" * 2000, "m"), client.call("echo", "x" * 2000), client.has("x" * 2000)):
            with pytest.raises(CallError):
                await attempt
        with pytest.raises(CallError):
            await client.subscribe("x" * 2000, "t")
        assert await client.call("echo", "back", 1) == 1
