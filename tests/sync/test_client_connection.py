"""How the blocking client finds its broker, and how it loses it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ipc_broker import errors
from ipc_broker.sync import Client, connect
from tests.sync.bus import PATIENCE, Bus, InThread
from tests.sync.faulty_transport import FaultyTransport
from tests.sync.scripted_broker import ScriptedBroker

USES: dict[str, Callable[[Client], object]] = {
    "call": lambda client: client.call("math", "add"),
    "publish": lambda client: client.publish("sensor", "heat"),
    "subscribe": lambda client: client.subscribe("sensor", "heat"),
    "has": lambda client: client.has("math"),
    "wait_for": lambda client: client.wait_for("math"),
    "objects": lambda client: client.objects(),
    "drain": lambda client: client.drain(),
}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


# Connecting


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(errors.ConnectFailed, match=f"no broker at tcp://{address}.*ipc-broker --listen") as caught:
            connect(address, timeout=PATIENCE)
        assert isinstance(caught.value, ConnectionError)
        assert time.monotonic() - started < PATIENCE / 2


def test_the_broker_accepts_and_never_answers() -> None:
    with ScriptedBroker() as broker, pytest.raises(errors.ConnectFailed, match=r"did not answer within 0\.05 s"):
        connect(broker.address, timeout=0.05)


def test_the_broker_closes_at_once() -> None:
    with ScriptedBroker() as broker:
        connecting = InThread(lambda: connect(broker.address, timeout=60))
        broker.accept()
        broker.hang_up()
        assert isinstance(connecting.error(), errors.ConnectFailed)


def test_the_broker_answers_nonsense() -> None:
    """What comes is read as the header of a frame far over the limit."""
    with ScriptedBroker() as broker:
        connecting = InThread(lambda: connect(broker.address, timeout=60))
        broker.accept()
        broker.connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert isinstance(connecting.error(5), errors.ConnectFailed)


def test_a_welcome_that_is_none_means_a_broker_of_the_rust_crate() -> None:
    with ScriptedBroker() as broker:
        connecting = InThread(lambda: connect(broker.address))
        broker.accept()
        broker.answer(broker.read("Call"), {"surprise": 1})
        client = connecting.result()
        assert client.broker is None
        client.close()


def test_the_client_opens_with_hello_and_nothing_else() -> None:
    with ScriptedBroker() as broker:
        connecting = InThread(lambda: connect(broker.address, name="tester"))
        broker.accept()
        hello = broker.read("Call")
        assert (hello["object_name"], hello["method"]) == ("rob", "hello")
        assert isinstance(hello["args"], dict)
        assert hello["args"]["name"] == "tester"
        assert hello["args"]["pid"] == os.getpid()
        assert "multiplex" in str(hello["args"]["features"])
        broker.connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            broker.read_frame()
        broker.answer(hello, None)
        connecting.result().close()


def test_nothing_is_left_open_by_failed_attempts() -> None:
    with ScriptedBroker() as broker:
        with pytest.raises(errors.ConnectFailed):
            connect(broker.address, timeout=0.01)
        broker.accept()
        broker.read("Call")
        assert broker.read_frame() == b""


@pytest.mark.parametrize("address", ["", "http://x", "tcp://127.0.0.1", "tcp://127.0.0.1:70000"])
def test_an_address_that_makes_no_sense(address: str) -> None:
    with pytest.raises(errors.ConfigError):
        connect(address or "tcp://")


# Closing


@each_use
def test_a_closed_client_cannot_be_used(our_client: Client, use: Callable[[Client], object]) -> None:
    our_client.close()
    with pytest.raises(errors.ClientClosed, match="connect again"):
        use(our_client)


def test_closing_again_does_nothing(client: Client) -> None:
    client.close()
    client.close()
    with client:
        pass


def test_leaving_the_block_closes(bus: Bus) -> None:
    with connect(bus.address) as client:
        assert client.has("math")
    with pytest.raises(errors.ClientClosed):
        client.has("math")


def test_leaving_the_block_on_an_exception_closes_at_once() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        with pytest.raises(LookupError, match="own"), client:
            raise LookupError("own")
        assert broker.read_frame() == b""
        with pytest.raises(errors.ClientClosed):
            client.drain()


def test_threads_that_wait_learn_that_the_client_was_closed(bus: Bus, client: Client) -> None:
    calling = [InThread(lambda name=name: client.call("gate", "wait", [name], timeout=None)) for name in "abc"]  # type: ignore[misc]
    for name in "abc":
        bus.entered(name)
    client.close()
    for one in calling:
        error = one.error()
        assert isinstance(error, errors.IPCError)
        assert "closed" in str(error)


# Losing the broker


def test_calls_in_flight_end_when_the_broker_goes(bus: Bus, client: Client) -> None:
    waiting = [InThread(lambda name=name: client.call("gate", "wait", [name], timeout=None)) for name in "ab"]  # type: ignore[misc]
    for name in "ab":
        bus.entered(name)
    bus.stop_broker()
    for one in waiting:
        error = one.error()
        if isinstance(error, errors.WorkerLost) and not bus.is_seed:
            continue  # the worker's connection was closed before ours
        assert isinstance(error, errors.ConnectionLost)
        assert isinstance(error, ConnectionError)
        assert (error.code, error.delivered) == ("disconnected", "maybe")
        assert client.address in str(error)


def test_leaving_the_block_without_a_broker_says_so(bus: Bus) -> None:
    """What was published may not have been routed."""
    client = connect(bus.address)
    client.publish("sensor", "heat", 1)
    with pytest.raises(errors.ConnectionLost), client:
        bus.stop_broker()
    with pytest.raises(errors.ClientClosed):
        client.has("math")


def test_leaving_the_block_without_a_broker_is_quiet_where_nothing_can_be_lost(bus: Bus) -> None:
    with connect(bus.address) as silent, connect(bus.address) as drained:
        assert silent.has("math")
        drained.publish("sensor", "heat", 1)
        drained.drain()
        bus.stop_broker()
    for client in (silent, drained):
        with pytest.raises(errors.ClientClosed):
            client.has("math")


def test_what_a_drain_has_told_of_is_not_told_again(bus: Bus) -> None:
    client = connect(bus.address)
    client.publish("sensor", "heat", 1)
    bus.stop_broker()
    with pytest.raises(errors.ConnectionLost, match=r"may not have been routed|was lost"):
        client.drain()
    with client:  # it was told
        pass


def test_leaving_the_block_asks_only_when_something_was_published_since_the_last_drain() -> None:
    with ScriptedBroker() as broker:
        with broker.connect() as silent:
            pass
        assert broker.read_frame() == b""
        assert silent.link.closed


def test_a_stream_that_cannot_be_followed_ends_the_connection() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        calling = InThread(lambda: client.call("math", "add", timeout=60))
        broker.read("Call")
        broker.connection.sendall(b"\xff\xff\xff\xff" + b"x" * 1000)
        try:
            assert isinstance(calling.error(5), errors.ConnectionLost)
        finally:
            client.close()


def test_what_is_no_message_is_passed_over() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        calling = InThread(lambda: client.call("math", "add"))
        call = broker.read("Call")
        for body in (b"", b"null", b"\xff\xfe", b"[" * 60_000, b'{"Unheard":{}}', b'{"Result":{"call_id":1}}'):
            broker.send_body(body)
        broker.send({"HasObjectResult": {"object_name": "x", "exists": True}})
        broker.send({"Result": {"call_id": "nobody's", "object_name": "math", "value": 1}})
        broker.send({"Error": {"call_id": None, "object_name": "math", "message": "to nobody"}})
        broker.answer(call, "well")
        assert calling.result() == "well"
        client.close()


# A broker that takes nothing


def test_a_call_ends_in_time_though_the_broker_takes_nothing() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()

        def call_often() -> list[BaseException]:
            found: list[BaseException] = []
            for _ in range(20):  # more than fits into the buffers of the kernel
                try:
                    client.call("echo", "back", "x" * 60_000, timeout=0.05)
                except errors.IPCError as error:
                    found.append(error)
            return found

        calling = InThread(call_often)
        try:
            found = calling.result(5)
        finally:
            broker.hang_up()
            client.close()
        assert len(found) == 20
        assert all(isinstance(error, errors.DeadlineExceeded | errors.ConnectionLost) for error in found)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "bad luck")], ids=repr)
def test_half_a_frame_is_never_followed_by_another(transports: list[FaultyTransport], error: BaseException) -> None:
    with ScriptedBroker() as broker:
        client = broker.connect()
        transports[0].fail_after_half(error)
        with pytest.raises((KeyboardInterrupt, errors.ConnectionLost)):
            client.publish("sensor", "heat", "first")
        with pytest.raises(AssertionError, match="in the middle of a frame"):
            broker.read_frame()
        publishing = InThread(lambda: client.publish("sensor", "heat", "second"))
        broker.accept_again()
        assert broker.read("Publish") == {"object_name": "sensor", "topic": "heat", "args": "second"}
        publishing.result()
        client.close()
