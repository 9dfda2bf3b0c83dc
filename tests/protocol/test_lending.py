"""Messages in memory of both ends: which slot, whose, and until when."""

from __future__ import annotations

import gc
import os
from mmap import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker.messages import Call, Cancel, Invalid, Lent, Result
from ipc_broker.protocol.codec import NOTHING
from ipc_broker.protocol.connection import Connection, Role, State
from ipc_broker.protocol.encodings import MSGPACK
from ipc_broker.protocol.framing import HEADER_SIZE, LARGE, Frame, write_length
from ipc_broker.protocol.lending import FIRST, SIZE, SLOT_SIZE, SLOTS, Lending

LIMIT = 16 * 1024 * 1024
PAYLOAD = MSGPACK.encode_payload(bytes(range(256)) * 1025)


def frame_of(opening: bytes, payload: Raw) -> Frame:
    """As whoever sends it makes it."""
    return MSGPACK.in_parts(opening, payload) if len(payload) > LARGE else bytes(MSGPACK.in_parts(opening, payload))


class Pair:
    """A caller and a worker, and the memory of both."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.memory = mmap(-1, SIZE)
        self.caller, self.worker = (Connection(Role.DIRECT, lambda: None) for _ in range(2))
        for end in (self.caller, self.worker):
            end.extend("msgpack", LIMIT, limit)
        self.at_caller = Lending(self.memory, is_maker=True)
        self.caller.share(self.at_caller)
        self.at_worker = Lending(self.memory, is_maker=False)
        self.worker.share(self.at_worker)
        self.at_caller.may_lend = True
        self._to_worker = self._to_caller = b""

    def states(self) -> list[int]:
        return list(self.memory[16 : 16 + 2 * SLOTS])

    def put(self, slot: int, frame: bytes) -> None:
        """As whoever writes there what they like."""
        start = FIRST + slot * SLOT_SIZE
        self.memory[start : start + len(frame)] = frame

    def call(self, number: int = 1, args: Raw = PAYLOAD) -> None:
        self.caller.send_frame(frame_of(MSGPACK.call_frame(f"7.{number}", "it", "echo", 0, NOTHING), args))

    def answer(self, number: int = 1, value: Raw = PAYLOAD) -> None:
        call = Call(f"7.{number}", "it", "echo", MSGPACK.null)
        self.worker.send_frame(frame_of(MSGPACK.result_frame(call, NOTHING), value))

    def sent_by_caller(self) -> int:
        """Bytes."""
        while self.caller.queued:
            self._to_worker += self.caller.data_to_send(LARGE)
        return len(self._to_worker)

    def sent_by_worker(self) -> int:
        while self.worker.queued:
            self._to_caller += self.worker.data_to_send(LARGE)
        return len(self._to_caller)

    def at_the_worker(self) -> list[object]:
        self.sent_by_caller()
        data, self._to_worker = self._to_worker, b""
        return [message for message, _ in self.worker.receive_data(data)]

    def at_the_caller(self) -> list[object]:
        self.sent_by_worker()
        data, self._to_caller = self._to_caller, b""
        return [message for message, _ in self.caller.receive_data(data)]


def call(number: int = 1, args: Raw = PAYLOAD) -> Call:
    return Call(f"7.{number}", "it", "echo", args)


def test_a_large_call_and_its_answer_stand_in_the_memory() -> None:
    pair = Pair()
    pair.call()
    assert pair.sent_by_caller() < 100
    assert pair.at_the_worker() == [call()]
    pair.answer()
    assert pair.sent_by_worker() < 100
    assert pair.at_the_caller() == [Result("7.1", "it", PAYLOAD)]


def test_a_slot_is_free_again_when_nobody_has_a_view_of_it() -> None:
    pair = Pair()
    pair.call()
    [came] = pair.at_the_worker()
    assert isinstance(came, Call)
    args = came.args
    del came
    assert pair.states() == [1, 0, 0, 0, 0, 0, 0, 0]
    [view] = MSGPACK.decode_payload(Raw(b"\x91" + bytes(args)), list[memoryview])  # a copy keeps nothing
    kept = MSGPACK.decode_payload(args, memoryview)
    del args
    assert pair.at_worker.borrowed == 1
    assert bytes(kept) == bytes(view) == bytes(range(256)) * 1025
    pair.call(2)
    assert pair.sent_by_caller() < 100
    assert pair.states()[:2] == [1, 1]
    assert bytes(kept) == bytes(view), "what somebody has a view of was written over"
    del kept
    assert pair.states()[:2] == [0, 1]
    assert pair.at_worker.borrowed == 0


def test_a_view_cannot_be_written_to() -> None:
    pair = Pair()
    pair.call()
    [came] = pair.at_the_worker()
    assert isinstance(came, Call)
    with pytest.raises(TypeError, match="read-only"):
        MSGPACK.decode_payload(came.args, memoryview)[0] = 1


def test_the_lowest_free_slot_is_taken_and_without_one_it_is_sent() -> None:
    pair = Pair()
    for number in range(SLOTS):
        pair.call(number)
    assert pair.sent_by_caller() < 100 * SLOTS
    assert pair.states() == [1] * SLOTS + [0] * SLOTS
    pair.call(SLOTS)
    assert pair.sent_by_caller() > len(PAYLOAD)
    came = pair.at_the_worker()
    assert came == [call(number) for number in range(SLOTS + 1)]
    del came[1]
    assert pair.states() == [1, 0, 1, 1, 0, 0, 0, 0]
    pair.call(9)
    assert pair.sent_by_caller() < 100
    assert pair.states()[1] == 1


def test_what_no_slot_can_hold_is_sent() -> None:
    pair = Pair()
    head = MSGPACK.call_frame("7.1", "it", "echo", 0, NOTHING)
    fits = MSGPACK.encode_payload(bytes(SLOT_SIZE - len(head) - 5))
    pair.call(1, fits)
    assert pair.sent_by_caller() < 100
    assert pair.at_the_worker() == [call(1, fits)]
    larger = MSGPACK.encode_payload(bytes(SLOT_SIZE - len(head) - 4))
    pair.call(2, larger)
    assert pair.sent_by_caller() > SLOT_SIZE
    assert pair.at_the_worker() == [call(2, larger)]


def test_before_the_other_end_has_opened_the_memory_nothing_is_lent() -> None:
    pair = Pair()
    pair.at_caller.may_lend = False
    pair.call()
    assert pair.sent_by_caller() > len(PAYLOAD)


def test_a_call_that_was_not_sent_is_found() -> None:
    pair = Pair()
    pair.call(1)
    data = pair.caller.data_to_send()
    assert len(data) < 100
    pair.caller.send(Cancel("7.9"))
    pair.call(2)
    pair.caller.take_back(data)
    assert pair.caller.unsent() == [call(1), Cancel("7.9"), call(2)]


def test_a_child_process_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    pair.call()
    came = pair.at_the_worker()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    came.clear()
    assert pair.states()[0] == 1


def test_the_memory_goes_when_both_ends_have_dropped_it() -> None:
    pair = Pair()
    pair.call()
    came = pair.at_the_worker()
    memory = pair.memory
    with pytest.raises(BufferError):
        memory.close()
    came.clear()
    gc.collect()
    memory.close()


@given(
    sizes=st.lists(st.sampled_from([0, 1, 200_000, 300_000, SLOT_SIZE]) | st.integers(0, 400_000), max_size=12),
    keeps=st.integers(0, 12),
)
def test_messages_arrive_whole_and_in_their_order_however_many_are_kept(sizes: list[int], keeps: int) -> None:
    pair = Pair()
    kept: list[object] = []
    for number, size in enumerate(sizes):
        args = MSGPACK.encode_payload(bytes([number]) * size)
        pair.call(number, args)
        pair.caller.send(Cancel(f"7.{number}"))
        came = pair.at_the_worker()
        assert came == [call(number, args), Cancel(f"7.{number}")]
        kept = [*kept, came][-keeps:] if keeps else []
        del came
    for number in range(len(sizes) - len(kept), len(sizes)):
        args = MSGPACK.encode_payload(bytes([number]) * sizes[number])
        assert kept.pop(0) == [call(number, args), Cancel(f"7.{number}")]
    assert pair.states() == [0] * 2 * SLOTS


# What makes no sense


SIZE_OF_CALL = len(MSGPACK.encode(Call("7.1", "it", "echo", PAYLOAD)))


@pytest.mark.parametrize(
    "lent",
    [
        Lent(SLOTS, SIZE_OF_CALL),  # the worker's own
        Lent(2 * SLOTS, SIZE_OF_CALL),
        Lent(2**53 - 1, SIZE_OF_CALL),
        Lent(0, 0),
        Lent(0, 4),
        Lent(0, LARGE),
        Lent(0, SIZE_OF_CALL - 1),  # other than the frame says
        Lent(0, SIZE_OF_CALL + 1),
        Lent(0, SLOT_SIZE + 1),
        Lent(0, 2**53 - 1),
    ],
)
def test_a_slot_or_size_that_cannot_be_ends_the_connection(lent: Lent) -> None:
    pair = Pair()
    pair.put(0, MSGPACK.encode(call()))
    pair.caller.send(lent)
    [came] = pair.at_the_worker()
    assert isinstance(came, Invalid)
    assert came.fatal
    assert pair.worker.state is State.CLOSING


def test_a_slot_that_is_still_read_cannot_be_lent_again() -> None:
    pair = Pair()
    pair.call()
    came = pair.at_the_worker()
    pair.caller.send(Lent(0, SIZE_OF_CALL))
    [again] = pair.at_the_worker()
    assert isinstance(again, Invalid)
    assert again.reason == f"no message of {SIZE_OF_CALL} bytes was lent in slot 0"
    assert came == [call()]


def test_what_is_lent_cannot_be_another_word_of_lending() -> None:
    pair = Pair()
    body = bytes(MSGPACK.encode_payload({"Lent": {"slot": 1, "size": SIZE_OF_CALL, "more": bytes(LARGE)}}))
    pair.put(0, write_length(len(body)) + body)
    pair.caller.send(Lent(0, HEADER_SIZE + len(body)))
    [came] = pair.at_the_worker()
    assert isinstance(came, Invalid)
    assert came.reason.startswith("unknown message 'Lent'")


def test_without_memory_there_is_no_such_word() -> None:
    pair = Pair()
    pair.worker.share(None)
    pair.caller.send(Lent(0, 100))
    [came] = pair.at_the_worker()
    assert isinstance(came, Invalid)
    assert came.reason.startswith("unknown message 'Lent'")
    assert not came.fatal


def test_a_frame_that_is_no_message_is_told_as_one_that_was_sent() -> None:
    pair = Pair()
    pair.put(0, write_length(LARGE) + b"\xc1" * LARGE)
    pair.caller.send(Lent(0, HEADER_SIZE + LARGE))
    [came] = pair.at_the_worker()
    assert isinstance(came, Invalid)
    assert not came.fatal
    assert pair.states()[0] == 0


def test_the_limit_of_a_frame_holds_for_what_is_lent() -> None:
    pair = Pair(limit=200_000)
    pair.call()
    [came] = pair.at_the_worker()
    assert isinstance(came, Invalid)
    assert (came.code, came.fatal) == ("too_large", True)
    assert came.reason.endswith("is over the limit of 200000 bytes")
