"""Calls of a blocking client that are alone on their direct connection."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ipc_broker import errors
from ipc_broker.identity.direct import AVAILABLE
from ipc_broker.messages import Result
from ipc_broker.session.direct import Path
from ipc_broker.sync import Client
from ipc_broker.sync.direct_transport import DirectTransport
from ipc_broker.sync.lone_calls import LARGEST, SHORTEST
from tests.sync.bus import PATIENCE, Bus, InThread
from tests.sync.test_direct import at_gate, go_direct, path_of

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="only Linux has sockets without a file")


@pytest.fixture
def others(our_client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The methods of those calls that were waited for on the way that all can take."""
    waited_for: list[str] = []
    answer_to = our_client.calls.answer_to

    def answer_slowly(call_id: str, path: Any, answer: Any, object_name: str, method: str, *rest: Any) -> Any:
        waited_for.append(method)
        return answer_to(call_id, path, answer, object_name, method, *rest)

    monkeypatch.setattr(our_client.calls, "answer_to", answer_slowly)
    yield waited_for
    assert not our_client.link.session.calls_in_flight


def direct(client: Client, others: list[str]) -> Path:
    path = go_direct(client)
    others.clear()
    return path


def test_they_are_answered_on_the_short_way(our_client: Client, others: list[str]) -> None:
    path = direct(our_client, others)
    for value in (42, None, [1, "two"], {"a": 1}, b"bytes", "x" * 1000):
        assert our_client.call("echo", "back", [value]) == value
    assert our_client.call("echo", "back", [1], returns=float) == 1.0
    assert our_client.call("echo", "back", 1, timeout=None) == 1
    assert others == []
    assert path_of(our_client) is path
    assert not path.in_flight


def test_errors_are_those_of_all_calls(our_client: Client, others: list[str]) -> None:
    path = direct(our_client, others)
    with pytest.raises(errors.RemoteError, match="why"):
        our_client.call("echo", "fail", "why")
    with pytest.raises(errors.RemoteError, match="something else than int"):
        our_client.call("echo", "back", "text", returns=int)
    assert others == ["fail", "back"]
    with pytest.raises(errors.InvalidArgs, match="cannot be sent"):
        our_client.call("echo", "back", object())
    with pytest.raises(errors.InvalidArgs, match="longer than"):
        our_client.call("echo", "x" * 100_000)
    assert path_of(our_client) is path
    assert not path.in_flight


def test_ctrl_c_while_the_answer_is_decoded_leaves_nothing(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = direct(our_client, others)

    def interrupt(codec: object, data: bytes, kind: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(path.connection.codec), "decode_result", interrupt)
        with pytest.raises(KeyboardInterrupt):
            our_client.call("echo", "back", 1)
    assert path.is_done
    assert our_client.call("echo", "back", 2) == 2


def test_large_ones_with_headers_and_with_little_time_take_the_other_way(our_client: Client, others: list[str]) -> None:
    direct(our_client, others)
    large = "x" * (LARGEST + 1)
    assert our_client.call("echo", "back", [large]) == large
    assert our_client.call("echo", "back", 1, headers={"a": "b"}) == 1
    assert our_client.call("echo", "back", 1, timeout=SHORTEST / 1.25) == 1
    assert len(others) == 3


def test_an_answer_in_several_pieces(our_client: Client, others: list[str]) -> None:
    direct(our_client, others)
    assert our_client.call("echo", "text", [300_000]) == "x" * 300_000
    assert our_client.call("echo", "back", 1) == 1


def test_one_that_takes_longer_than_most(our_bus: Bus, our_client: Client) -> None:
    path = at_gate(our_bus, our_client)
    calling = InThread(lambda: our_client.call("gate", "wait", ["slow"], timeout=PATIENCE))
    our_bus.entered("slow")
    with pytest.raises(errors.DeadlineExceeded):
        our_client.call("gate", "wait", ["never"], timeout=0.1)
    our_bus.open("slow")
    assert calling.result() == "slow"
    assert path_of(our_client, "gate") is path


def test_its_deadline_counts_from_its_beginning(our_bus: Bus, our_client: Client) -> None:
    at_gate(our_bus, our_client)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        our_client.call("gate", "wait", ["late"], timeout=SHORTEST)
    assert caught.value.message == f"'gate' did not answer 'wait' within {SHORTEST:g} s"
    our_bus.cancelled("late")
    assert not our_client.link.session.calls_in_flight


def test_an_answer_to_another_call_is_not_taken_for_its_own(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = direct(our_client, others)
    codec = path.connection.codec
    exchange = DirectTransport.exchange
    wrong = codec.encode(Result("another.1", "echo", codec.encode_payload("wrong")))

    def exchange_wrongly(transport: DirectTransport, data: bytes) -> bytes:
        came = exchange(transport, data)
        assert came
        return wrong + came

    late = our_client.link.session.late_answers
    monkeypatch.setattr(DirectTransport, "exchange", exchange_wrongly)
    assert our_client.call("echo", "back", "right") == "right"
    assert our_client.link.session.late_answers == late + 1
    monkeypatch.setattr(DirectTransport, "exchange", lambda transport, data: (exchange(transport, data), wrong)[1])
    with pytest.raises(errors.DeadlineExceeded):
        our_client.call("echo", "back", "lost", timeout=SHORTEST)


def test_what_is_no_answer_ends_the_connection_and_the_call(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = direct(our_client, others)
    with monkeypatch.context() as patch:
        patch.setattr(DirectTransport, "exchange", lambda transport, data: b"\0\0\0\1x")
        with pytest.raises(errors.WorkerLost, match="no answer"):
            our_client.call("echo", "back", 1)
    assert our_client.call("echo", "back", 2) == 2
    assert path.is_done


def test_a_socket_that_fails_ends_the_call(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    direct(our_client, others)

    def fail(transport: DirectTransport, data: bytes) -> bytes:
        raise OSError(5, "the wire is cut")

    with monkeypatch.context() as patch:
        patch.setattr(DirectTransport, "exchange", fail)
        with pytest.raises(errors.WorkerLost, match="the wire is cut"):
            our_client.call("echo", "back", 1)
    assert our_client.call("echo", "back", 2) == 2


def test_ctrl_c_at_its_end_leaves_nothing(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch, interruptible: None
) -> None:
    path = direct(our_client, others)
    exchange = DirectTransport.exchange

    def exchange_interrupted(transport: DirectTransport, data: bytes) -> bytes | None:
        came = exchange(transport, data)
        os.kill(os.getpid(), signal.SIGINT)
        return came

    with monkeypatch.context() as patch:
        patch.setattr(DirectTransport, "exchange", exchange_interrupted)
        with pytest.raises(KeyboardInterrupt):
            our_client.call("echo", "back", 1)
    assert path.is_done
    assert our_client.call("echo", "back", 2) == 2


def test_ctrl_c_before_it_waits_on_the_other_way_leaves_nothing(
    our_client: Client, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = direct(our_client, others)

    def interrupt(*call: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(our_client.calls, "answer_to", interrupt)
        with pytest.raises(KeyboardInterrupt):
            our_client.call("echo", "text", [300_000])  # comes in several pieces
    assert path.is_done
    assert our_client.call("echo", "back", 2) == 2
