"""Payloads that are nested 100,000 deep: whoever sends one is told, and everybody else goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.memory import Bus, RawPeer
from tests.messages import call, publish, result
from tests.routing.peers import PackedPeer, error_from, ids_of, json_peer, packed, packed_peer
from tests.routing.subscribers import subscribe_to, told
from tests.seed.frames import Message, frame, frame_of

DEPTH = 100_000
LARGE = 1 << 20  # a frame that holds it
PEERS: list[Callable[..., RawPeer]] = [json_peer, packed_peer]


def deep(peer: RawPeer, message: Message) -> bytes:
    """The frame of the message, with a deep value where "deep" stands."""
    if isinstance(peer, PackedPeer):
        return frame_of(packed(message)[4:].replace(b"\xa4deep", b"\x91" * DEPTH + b"\xc0"))
    return frame_of(frame(message)[4:].replace(b'"deep"', b"[" * DEPTH + b"]" * DEPTH))


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.__name__)
def test_a_call_an_answer_an_event_and_a_question_to_rob(bus: Bus, kind: Callable[..., RawPeer]) -> None:
    worker, caller = kind(bus, "math", max_frame=LARGE), kind(bus, max_frame=LARGE)
    witness = json_peer(bus)
    subscribe_to(witness, "sensor", "heat", 1)
    messages: list[Message] = [
        call(f"{caller.prefix}1", "math", "add", "deep"),
        call(f"{caller.prefix}2", "rob", "unsubscribe", "deep"),
        publish("sensor", "heat", "deep"),
        {"HasObject": {"object_name": "deep"}},
    ]
    for message in messages:
        caller.send_bytes(deep(caller, message))
        refused = error_from(caller.receive()[-1])
        assert refused.code == "invalid_args"
        assert refused.call_id in {None, f"{caller.prefix}1", f"{caller.prefix}2"}
    caller.send(call(f"{caller.prefix}3", "math", "add"), call(f"{caller.prefix}4", "math", "add"))
    first, second = ids_of(worker.receive())
    worker.send_bytes(deep(worker, result(first, "math", "deep")))
    worker.send(result(second, "math", 42))
    lost, answered = caller.receive()
    assert (error_from(lost).call_id, error_from(lost).code) == (first, "worker_lost")
    assert answered == result(second, "math", 42)
    caller.send(publish("sensor", "heat", 1))
    assert told(witness.receive()) == [1]
    bus.assert_no_call_is_left()
