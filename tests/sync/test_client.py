"""What the blocking client does with a broker that is well."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import msgspec
import pytest

from ipc_broker import errors
from ipc_broker.sync import Client, connect
from tests.seed.frames import Message, frame
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.faulty_transport import FaultyTransport
from tests.sync.scripted_broker import ScriptedBroker


class Sum(msgspec.Struct):
    sum: int


# Calls


def test_a_call_returns_what_the_method_returned(client: Client) -> None:
    assert client.call("math", "add", {"a": 10, "b": 32}) == {"sum": 42}
    assert client.call("math", "add", [10, 32]) == {"sum": 42}


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**63 - 1, 1.5, "", "Ünï ☃ 𝄞 \x00", [1, [2, []]], {"a": {"": None}}]
)
def test_values_come_back_as_they_were(our_client: Client, value: object) -> None:
    assert our_client.call("echo", "back", [value]) == value


def test_a_single_value_is_one_argument(client: Client) -> None:
    assert client.call("echo", "back", "word") == "word"
    assert client.call("echo", "back") is None


def test_an_object_has_its_methods(client: Client) -> None:
    echo = client.object("echo")
    assert echo.named(a=1, b="two") == {"a": 1, "b": "two"}
    assert echo.sequence(1, 2, 3) == [1, 2, 3]
    assert echo.sequence() == []
    with pytest.raises(TypeError, match="all by name"):
        echo.named(1, b=2)
    with pytest.raises(AttributeError):
        echo._private  # noqa: B018
    assert repr(echo) == "<ObjectProxy 'echo'>"


def test_the_result_is_converted_to_the_type_that_is_wanted(client: Client) -> None:
    assert client.call("math", "add", [1, 2], returns=Sum) == Sum(3)
    assert client.call("math", "add", [1, 2], returns=dict[str, float]) == {"sum": 3.0}
    with pytest.raises(errors.RemoteError, match="something else than int") as caught:
        client.call("math", "add", [1, 2], returns=int)
    assert (caught.value.object, caught.value.method, caught.value.delivered) == ("math", "add", "yes")
    assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_what_cannot_be_sent_is_refused_here(client: Client) -> None:
    for value in (object(), {"a": object()}):
        with pytest.raises(errors.InvalidArgs) as caught:
            client.call("echo", "back", [value])
        assert caught.value.delivered == "no"
        with pytest.raises(errors.InvalidArgs):
            client.publish("sensor", "heat", value)
    assert client.call("echo", "back", [1]) == 1


def test_a_call_of_nobody_fails(client: Client) -> None:
    with pytest.raises(errors.NoSuchObject, match="No such object 'nobody'") as caught:
        client.call("nobody", "add")
    assert (caught.value.code, caught.value.object, caught.value.method) == ("no_such_object", "nobody", "add")
    assert caught.value.delivered == "no"


def test_each_failure_has_its_error(our_client: Client) -> None:
    with pytest.raises(errors.NoSuchMethod) as no_method:
        our_client.call("math", "divide", [1, 2])
    assert no_method.value.code == "no_such_method"
    with pytest.raises(errors.InvalidArgs, match=r"Expected `int`, got `str` - at `\$\.a`") as invalid:
        our_client.object("math").add(a="x", b=1)
    assert invalid.value.delivered == "yes"
    with pytest.raises(errors.RemoteError, match="too bad") as remote:
        our_client.object("echo").fail("too bad")
    assert (remote.value.type, remote.value.object, remote.value.method) == ("ValueError", "echo", "fail")
    assert our_client.object("math").add(1, 2) == {"sum": 3}


def test_a_failed_call_fails_with_a_broker_of_the_rust_crate_too(client: Client) -> None:
    with pytest.raises(errors.CallError, match="too bad"):
        client.object("echo").fail("too bad")
    assert client.object("math").add(1, 2) == {"sum": 3}


# Time


def test_a_call_that_takes_too_long_leaves_the_connection_usable(bus: Bus, client: Client) -> None:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        client.call("gate", "wait", ["late"], timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.object, caught.value.method) == ("gate", "wait")
    bus.entered("late")
    assert client.call("math", "add", [1, 2]) == {"sum": 3}
    bus.open("late")
    assert client.call("gate", "wait", ["late"]) == "late"
    assert client.call("math", "add", [3, 4]) == {"sum": 7}


def test_a_late_answer_is_nobodys() -> None:
    with ScriptedBroker() as broker, broker.connect() as client:
        with pytest.raises(errors.DeadlineExceeded):
            client.call("math", "first", timeout=0.01)
        first = broker.read("Call")
        calling = InThread(lambda: client.call("math", "second"))
        second = broker.read("Call")
        broker.answer(first, "late")
        broker.answer(second, "in time")
        assert calling.result() == "in time"
        assert first["call_id"] != second["call_id"]
        client.close()  # nobody would answer the drain at the end of the block


def test_without_a_timeout_a_call_waits_for_ever(bus: Bus, client: Client) -> None:
    calling = InThread(lambda: client.call("gate", "wait", ["x"], timeout=None))
    bus.entered("x")
    assert not calling.done
    bus.open("x")
    assert calling.result() == "x"


def test_a_timeout_of_zero_or_less_ends_at_once(client: Client) -> None:
    for timeout in (0, -1):
        with pytest.raises(errors.DeadlineExceeded):
            client.call("gate", "wait", ["x"], timeout=timeout)


def test_a_call_ends_in_time_though_other_things_keep_arriving(transports: list[FaultyTransport]) -> None:
    event: Message = {"Event": {"object_name": "a", "topic": "b", "args": None}}
    with ScriptedBroker() as broker:
        client = broker.connect()
        flood_ends = time.monotonic() + 3

        def recv() -> bytes:
            if time.monotonic() > flood_ends:
                raise TimeoutError("nothing came")
            return frame(event)

        transports[0].recv_instead = recv
        with pytest.raises(errors.DeadlineExceeded):
            client.call("math", "add", timeout=0.05)
        assert time.monotonic() < flood_ends, "the call ended only when nothing came any more"
        client.close()


# Names


def test_has_tells_whether_somebody_serves_the_object(client: Client) -> None:
    assert client.has("math") is True
    assert client.has("nobody") is False


def test_the_names_of_all_objects(client: Client) -> None:
    assert sorted(client.objects()) == ["echo", "gate", "math", "relay", "rob", "tape"]


def test_objects_are_listed_however_many_there_are(our_bus: Bus, our_client: Client) -> None:
    names = [f"{number:03}" + "n" * 1000 for number in range(150)]  # one answer holds 65
    for name in names:
        our_bus.add(name, object())
    our_client.wait_for(names[-1], timeout=PATIENCE)
    assert our_client.objects() == [*names, "echo", "gate", "math", "relay", "rob", "tape"]


def test_listing_ends_with_its_timeout(our_client: Client) -> None:
    with ScriptedBroker() as mute:
        client = mute.connect()
        with pytest.raises(errors.DeadlineExceeded):
            client.objects(timeout=0.05)
        client.close()
    assert our_client.objects(timeout=None) == ["echo", "gate", "math", "relay", "rob", "tape"]


def test_waiting_for_an_object_that_is_there(client: Client) -> None:
    client.wait_for("math")
    client.wait_for("math", timeout=0)


def test_waiting_for_an_object_that_comes(bus: Bus, client: Client) -> None:
    waiting = InThread(lambda: client.wait_for("later", timeout=PATIENCE))
    assert client.has("later") is False
    bus.add("other", object())
    bus.add("later", object())
    waiting.result()
    assert client.has("later") is True


def test_waiting_for_an_object_that_does_not_come(client: Client) -> None:
    with pytest.raises(TimeoutError, match="nobody serves 'nobody'"):
        client.wait_for("nobody", timeout=0.05)
    assert client.has("nobody") is False


def test_other_objects_do_not_prolong_the_waiting(our_bus: Bus, our_client: Client) -> None:
    waiting = InThread(lambda: our_client.wait_for("nobody", timeout=0.3))
    pause = threading.Event()
    count = 0
    while not waiting.done and count < 60:
        our_bus.add(f"other{count}", object())
        count += 1
        pause.wait(0.05)
    assert isinstance(waiting.error(), TimeoutError)
    assert count < 60, "it waited as long as other objects came"


def test_waiting_for_an_object_does_not_wait_longer_for_the_broker() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        waiting = InThread(lambda: client.wait_for("math", timeout=0.1))
        try:
            assert isinstance(waiting.error(timeout=5), TimeoutError)
        finally:
            client.close()


# Publishing


def test_what_was_published_is_routed_after_a_drain(bus: Bus, client: Client) -> None:
    with connect(bus.address) as subscriber, subscriber.subscribe("sensor", "heat") as events:
        for number in range(100):
            client.publish("sensor", "heat", number)
        client.drain()
        client.drain()
        assert take(events, 100) == list(range(100))


def test_leaving_the_block_drains(bus: Bus) -> None:
    with connect(bus.address) as subscriber, subscriber.subscribe("sensor", "heat") as events:
        with connect(bus.address) as publisher:
            for number in range(100):
                publisher.publish("sensor", "heat", number)
        assert take(events, 100) == list(range(100))


# The client itself


def test_the_client_tells_what_it_is(bus: Bus) -> None:
    client = connect(bus.address, name="tester")
    assert client.address == bus.address
    assert (client.broker is None) is bus.is_seed
    assert repr(client) == f"<Client {bus.address} connected calls=0>"
    client.close()
    assert repr(client) == f"<Client {bus.address} closed calls=0>"


def test_the_address_of_the_environment(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_ADDR", bus.address.removeprefix("tcp://").removeprefix("unix://"))
    with connect() as client:
        assert client.address == bus.address
        assert client.has("math")


def test_no_thread_is_started_and_asyncio_is_not_imported(bus: Bus) -> None:
    program = (
        "import sys, threading\n"
        "from ipc_broker.sync import connect\n"
        "with connect(sys.argv[1]) as client, client.subscribe('a', 'b') as events:\n"
        "    client.wait_for('math', timeout=5)\n"
        "    client.publish('a', 'b', client.object('math').add(a=1, b=2))\n"
        "    print(events.get(timeout=5).value, client.objects())\n"
        "    print(threading.active_count(), 'asyncio' in sys.modules, 'socketserver' in sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, bus.address], capture_output=True, encoding="utf-8", timeout=30
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[1] == "1 False False"
    assert ended.stdout.startswith("{'sum': 3} [")
