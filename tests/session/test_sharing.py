"""Large calls and answers of a session that go directly: when memory is shared for them, and what becomes of it."""

from __future__ import annotations

from mmap import mmap

import pytest

from ipc_broker.messages import Call, Direct, DirectOffer, Lent, Memory
from ipc_broker.protocol.codec import NOTHING
from ipc_broker.protocol.connection import Connection
from ipc_broker.protocol.encodings import MSGPACK
from ipc_broker.protocol.framing import LARGE as LARGE_BYTES
from ipc_broker.protocol.lending import SIZE, Lending
from ipc_broker.session import direct
from ipc_broker.session.direct import Path
from tests.messages import result
from tests.recording import Answer
from tests.session.test_direct import LIMIT, OFFER, Peer, error_of, said


class Memories:
    """Those that a shell has made."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def make(self, size: int) -> Made:
        self.made.append(Made(size, f"{len(self.made):032x}", 30 + len(self.made)))
        return self.made[-1]


class Made:
    def __init__(self, size: int, token: str, descriptor: int) -> None:
        self.memory = mmap(-1, size)
        self.token = token
        self.descriptor = descriptor
        self.closed = False

    def close(self) -> None:
        self.closed = True


LARGE = "x" * LARGE_BYTES


def lending(object_name: str = "it", *, memory: bool = True) -> tuple[Peer, Path, Connection, Memories]:
    peer, memories = Peer(), Memories()
    peer.session.make_memory = memories.make
    peer.offer(object_name)
    path, worker = peer.connect(object_name)
    path.connection.send_limit = LIMIT
    peer.tell(path, Direct(object_name, OFFER.address, memory=memory))
    peer.sent()
    return peer, path, worker, memories


def call_large(peer: Peer, object_name: str = "it") -> tuple[str, Answer]:
    answer = Answer()
    answer.codec = MSGPACK
    return peer.session.call(object_name, "add", MSGPACK.encode_payload([LARGE]), answer, None), answer


def answer_large(worker: Connection, call_id: str) -> bytes:
    opening = MSGPACK.result_frame(Call(call_id, "it", "add", MSGPACK.null), NOTHING)
    worker.send_frame(MSGPACK.in_parts(opening, MSGPACK.encode_payload(LARGE)))
    return worker.data_to_send()


def test_the_first_large_call_is_sent_and_those_that_follow_are_lent() -> None:
    peer, path, worker, memories = lending()
    peer.call()
    assert memories.made == []
    assert len(said(path, worker)) == 1
    call_large(peer)
    [made] = memories.made
    told, first = said(path, worker)
    assert told == Memory(made.descriptor, made.token)
    assert isinstance(first, Call)
    call_large(peer)
    data = path.connection.data_to_send()
    assert len(data) > LARGE_BYTES, "it was lent before the worker had opened the memory"
    assert len(worker.receive_data(data)) == 1
    worker.share(Lending(made.memory, is_maker=False))
    assert not made.closed
    peer.tell(path, Memory(token=made.token))
    assert made.closed
    call_id, answer = call_large(peer)
    data = path.connection.data_to_send()
    assert len(data) < 100
    assert [message for message, _ in worker.receive_data(data)] == [
        Call(call_id, "it", "add", MSGPACK.encode_payload([LARGE]))
    ]
    data = answer_large(worker, call_id)
    assert len(data) < 100
    assert peer.directs.receive_data(path, data)
    assert answer.value == LARGE
    assert memories.made == [made]


def test_a_large_result_of_a_small_call_is_enough() -> None:
    peer, path, worker, memories = lending()
    call_id, answer = peer.call()
    said(path, worker)
    data = answer_large(worker, call_id)
    for start in range(0, len(data), 65_536):  # as it is read
        assert peer.directs.receive_data(path, data[start : start + 65_536])
    assert answer.value == LARGE
    [made] = memories.made
    assert said(path, worker) == [Memory(made.descriptor, made.token)]


def test_an_answer_may_be_lent_with_the_word_that_the_memory_is_open() -> None:
    peer, path, worker, memories = lending()
    call_id, answer = call_large(peer)
    said(path, worker)
    [made] = memories.made
    worker.share(Lending(made.memory, is_maker=False))
    told = MSGPACK.encode(Memory(token=made.token))
    data = answer_large(worker, call_id)
    assert len(data) < 100
    assert peer.directs.receive_data(path, told + data)
    assert answer.value == LARGE


@pytest.mark.parametrize("token", ["", "another"])
def test_a_worker_that_could_not_open_the_memory_is_sent_everything(token: str) -> None:
    peer, path, worker, memories = lending()
    call_large(peer)
    said(path, worker)
    peer.tell(path, Memory(token=token))
    for _ in range(2):
        call_large(peer)
        assert [type(message) for message in said(path, worker)] == [Call]
    assert path.connection.lending is None
    assert len(memories.made) == 1


def test_a_worker_that_takes_no_memory_is_told_of_none() -> None:
    peer, path, worker, memories = lending(memory=False)
    call_large(peer)
    assert [type(message) for message in said(path, worker)] == [Call]
    assert memories.made == []


def test_where_no_memory_can_be_made_calls_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def make(memories: Memories, size: int) -> Made:
        asked.append(size)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Memories, "make", make)
    peer, path, worker, _ = lending()
    for _ in range(2):
        call_large(peer)
        assert [type(message) for message in said(path, worker)] == [Call]
    assert asked == [SIZE]


def test_so_many_connections_have_memory_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "MOST_MEMORIES", 1)
    peer, path, _, memories = lending()
    call_large(peer)
    other = DirectOffer("other", 98)
    peer.offer("other", {"address": "other", "pid": 98})
    second, _ = peer.connect("other", other)
    second.connection.send_limit = LIMIT
    peer.tell(second, Direct("other", "other", memory=True))
    call_large(peer, "other")
    assert second.connection.lending is None
    assert len(memories.made) == 1
    peer.directs.lost(path, "it ended")
    assert path.connection.lending is None


def test_a_lent_call_that_comes_back_undone_goes_through_the_broker_whole() -> None:
    peer, path, worker, memories = lending()
    call_large(peer)
    said(path, worker)
    peer.tell(path, Memory(token=memories.made[0].token))
    call_id, answer = call_large(peer)
    unsent, unsent_answer = call_large(peer)
    peer.tell(path, error_of(call_id, "indirect"))
    [again] = peer.sent()
    assert again["Call"]["call_id"] == call_id
    assert again["Call"]["args"] == [LARGE]
    peer.directs.lost(path, "it ended")
    assert [message["Call"]["call_id"] for message in peer.sent()] == [unsent]
    for one, reply in ((call_id, answer), (unsent, unsent_answer)):
        peer.give(result(one, "it", 5))
        assert reply.value == 5


def test_a_word_about_memory_that_nobody_has_told_of_changes_nothing() -> None:
    peer, path, _, memories = lending()
    assert peer.tell(path, Memory(token="00"))
    call_large(peer)
    assert len(memories.made) == 1


def test_what_is_lent_without_memory_ends_the_connection() -> None:
    peer, path, _, _ = lending()
    assert not peer.tell(path, Lent(4, 100))
