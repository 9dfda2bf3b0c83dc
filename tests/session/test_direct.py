"""Which calls of a session go directly, and what becomes of them. The test plays the broker, the worker and the shell."""

from __future__ import annotations

from typing import Any

import pytest

from ipc_broker.errors import CallError, ConnectionLost, DeadlineExceeded, RemoteError, WorkerLost
from ipc_broker.messages import (
    Call,
    Cancel,
    Direct,
    DirectEnded,
    DirectOffer,
    Error,
    Message,
    Publish,
    Result,
)
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import MSGPACK
from ipc_broker.session import direct
from ipc_broker.session.direct import ASK_AFTER, ASK_AGAIN, MOST_OBJECTS, Path
from tests.messages import error, result
from tests.recording import Answer
from tests.seed.frames import Json
from tests.seed.frames import Message as Sent
from tests.session.scripted import ScriptedBroker

OFFER = DirectOffer("where", 99)
LIMIT = 16 * 1024 * 1024
WHERE: dict[str, Json] = {"address": "where", "pid": 99}


class Peer(ScriptedBroker):
    """A broker that offers direct connections, and a shell that makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.offers: list[tuple[str, DirectOffer]] = []
        self.closed: list[str] = []
        self.session.directs.on_offer = lambda name, offer: self.offers.append((name, offer))
        self.open(encoding="msgpack")

    @property
    def directs(self) -> direct.Directs:
        return self.session.directs

    def call(
        self, object_name: str = "it", now: float | None = None, timeout: float | None = None
    ) -> tuple[str, Answer]:
        answer = Answer()
        answer.codec = MSGPACK
        return self.session.call(object_name, "add", MSGPACK.encode_payload([1]), answer, now, timeout), answer

    def call_often(self, object_name: str = "it", count: int = ASK_AFTER) -> list[Sent]:
        """All are answered; gives what was sent besides."""
        others: list[Sent] = []
        for _ in range(count):
            call_id, answer = self.call(object_name)
            for message in self.sent():
                if message.get("Call", {}).get("call_id") == call_id:
                    self.give(result(call_id, object_name, 1))
                else:
                    others.append(message)
            assert answer.value == 1
        return others

    def offer(self, object_name: str = "it", value: Json = WHERE) -> None:
        """The session asks for a direct connection, and is told this."""
        [asked] = self.call_often(object_name)
        assert asked["Call"]["method"] == "direct"
        self.give(result(str(asked["Call"]["call_id"]), "rob", value))

    def connect(self, object_name: str = "it", offer: DirectOffer = OFFER) -> tuple[Path, Connection]:
        """The shell has connected; the worker's end of the connection has the greeting."""
        path = self.directs.open(object_name, offer, lambda: None, 1, lambda: self.closed.append(offer.address))
        assert path is not None
        self.directs.begin(path)
        worker = Connection(Role.DIRECT, lambda: None)
        worker.extend("msgpack", LIMIT, LIMIT)
        assert said(path, worker) == [Direct(object_name, offer.address, "7.")]
        return path, worker

    def direct(self, object_name: str = "it", offer: DirectOffer = OFFER) -> tuple[Path, Connection]:
        """Calls of the object go directly."""
        self.offer(object_name, {"address": offer.address, "pid": offer.pid})
        path, worker = self.connect(object_name, offer)
        self.tell(path, Direct(object_name, offer.address))
        assert self.sent() == [{"Direct": {"object_name": object_name, "address": offer.address}}]
        return path, worker

    def tell(self, path: Path, *messages: Message) -> bool:
        """The worker says so, over the direct connection."""
        return self.directs.receive_data(path, b"".join(map(MSGPACK.encode, messages)))

    def publish(self) -> None:
        self.session.publisher.publish("sensor", "value", MSGPACK.encode_payload(1))


def said(path: Path, worker: Connection) -> list[Any]:
    """What has come at the worker."""
    return [message for message, _ in worker.receive_data(path.connection.data_to_send())]


def answer_of(call_id: str, value: Json = 1) -> Result:
    return Result(call_id, "it", MSGPACK.encode_payload(value))


def error_of(call_id: str, code: str) -> Error:
    return Error(call_id, "it", "why", code=code, delivered="yes")


def test_an_object_that_is_called_often_is_asked_for_once_and_again_after_many_calls() -> None:
    peer = Peer()
    assert peer.call_often(count=ASK_AFTER - 1) == []
    [asked] = peer.call_often(count=1)
    assert (asked["Call"]["object_name"], asked["Call"]["method"]) == ("rob", "direct")
    assert asked["Call"]["args"] == {"object_name": "it"}
    peer.give(result(str(asked["Call"]["call_id"]), "rob", None))
    assert peer.offers == []
    assert peer.call_often(count=ASK_AGAIN - 1) == []
    assert len(peer.call_often(count=1)) == 1


@pytest.mark.parametrize("value", [42, {}, {"address": 1, "pid": 1}, {"address": "a"}, []])
def test_an_offer_that_makes_no_sense_is_none(value: Json) -> None:
    peer = Peer()
    peer.offer(value=value)
    assert peer.offers == []


def test_a_broker_that_knows_no_direct_calls_or_a_shell_that_makes_none_is_not_asked() -> None:
    broker = ScriptedBroker()
    broker.open(encoding="msgpack")
    assert not broker.session.directs.agreed
    peer = Peer()
    peer.lose()
    peer.open(encoding="msgpack", features=["multiplex", "cancel"])
    assert peer.call_often(count=2 * ASK_AFTER) == []


def test_a_name_that_cannot_be_sent_is_an_error_of_its_call_alone() -> None:
    peer = Peer()
    for _ in range(ASK_AFTER + 1):
        with pytest.raises(CallError) as caught:
            peer.call("\ud800")
        assert caught.value.code == "invalid_args"
    assert peer.sent() == []


def test_the_broker_itself_is_never_called_directly_and_counts_are_bounded() -> None:
    peer = Peer()
    assert peer.call_often("rob", 2 * ASK_AFTER) == []
    for number in range(2 * MOST_OBJECTS):
        peer.call_often(f"it{number}", 1)
    assert len(peer.directs._counts) <= MOST_OBJECTS + 1


def test_calls_go_directly_when_the_worker_has_let_the_connection_in() -> None:
    peer = Peer()
    peer.offer()
    assert peer.offers == [("it", OFFER)]
    path, worker = peer.connect()
    before, _ = peer.call()
    assert [message["Call"]["call_id"] for message in peer.sent()] == [before]
    peer.tell(path, Direct("it", "where"))
    assert peer.sent() == [{"Direct": {"object_name": "it", "address": "where"}}], "behind the call that went there"
    after, answer = peer.call()
    assert peer.sent() == []
    assert [call.call_id for call in said(path, worker)] == [after]
    assert path.in_flight == 1
    peer.tell(path, answer_of(after, 42))
    assert answer.value == 42
    assert not path.in_flight


def test_a_worker_that_lets_nobody_in_changes_nothing() -> None:
    peer = Peer()
    peer.offer()
    path, _ = peer.connect()
    peer.directs.lost(path, "it was closed")
    peer.directs.lost(path, "it was closed")
    assert not peer.directs._connected
    assert peer.call_often(count=5 * ASK_AFTER) == [], "it is asked again after many calls only"


def test_so_many_connections_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "MOST_PATHS", 1)
    peer = Peer()
    path, _ = peer.direct()
    assert peer.call_often("other", 2 * ASK_AFTER) == []
    peer.directs.lost(path, "it was closed")
    peer.offer("third")


def test_what_a_path_does_not_take_goes_through_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    path, worker = peer.direct()
    peer.directs.most_in_flight = 2
    ids = [peer.call()[0] for _ in range(3)]
    assert [message["Call"]["call_id"] for message in peer.sent()] == ids[2:]
    peer.tell(path, *(answer_of(call_id) for call_id in ids[:2]))
    said(path, worker)
    monkeypatch.setattr(direct, "MOST_QUEUED", 0)
    peer.call()
    assert path.connection.queued
    call_id, _ = peer.call()
    assert [message["Call"]["call_id"] for message in peer.sent()] == [call_id]


def test_a_stream_goes_through_the_broker() -> None:
    peer = Peer()
    peer.direct()
    peer.session.call("it", "add", MSGPACK.null, Answer(), None, credit=100)
    assert [list(message) for message in peer.sent()] == [["Call"]]


# Events first


def test_after_an_event_a_call_goes_behind_it_until_the_worker_has_answered_one() -> None:
    peer = Peer()
    path, worker = peer.direct()
    other, _ = peer.direct("other", DirectOffer("elsewhere", 98))
    peer.publish()
    first, _ = peer.call()
    second, _ = peer.call()
    assert [list(message) for message in peer.sent()] == [["Publish"], ["Call"], ["Call"]]
    peer.give(result(second, "it"))
    third, _ = peer.call()
    assert [message["Call"]["call_id"] for message in peer.sent()] == [third], "the first is not answered yet"
    peer.give(result(first, "it"))
    fourth, _ = peer.call()
    assert [call.call_id for call in said(path, worker)] == [fourth]
    call_id, _ = peer.call("other")
    assert [message["Call"]["call_id"] for message in peer.sent()] == [call_id], "that says nothing of another worker"
    peer.give(result(call_id, "other"))
    assert peer.directs.path_of("other") is other


def test_the_answer_to_a_call_before_an_event_says_nothing_of_it() -> None:
    peer = Peer()
    path, _ = peer.direct()
    peer.publish()
    call_id, _ = peer.call()
    peer.publish()
    peer.give(result(call_id, "it"))
    assert peer.directs.path_of("it") is None
    call_id, _ = peer.call()
    peer.give(result(call_id, "it"))
    assert peer.directs.path_of("it") is path


@pytest.mark.parametrize("ends", ["error", "cancelled"])
def test_a_call_that_its_worker_may_not_have_had_says_nothing(ends: str) -> None:
    peer = Peer()
    path, _ = peer.direct()
    peer.publish()
    call_id, _ = peer.call()
    if ends == "error":
        peer.give(error(call_id, "it", "its time is over"))
    else:
        peer.session.cancel(call_id)
        peer.give(result(call_id, "it"))
    assert peer.directs.path_of("it") is None
    call_id, _ = peer.call()
    peer.give(result(call_id, "it"))
    assert peer.directs.path_of("it") is path


# How calls end


def test_an_error_is_the_callers_and_the_connection_stays() -> None:
    peer = Peer()
    path, _ = peer.direct()
    call_id, answer = peer.call()
    peer.tell(path, error_of(call_id, "remote_error"))
    assert isinstance(answer.error, RemoteError)
    assert peer.directs.path_of("it") is path
    assert not path.in_flight


@pytest.mark.parametrize("code", ["indirect", "no_such_object"])
def test_calls_that_come_back_undone_go_through_the_broker_with_their_ids(code: str) -> None:
    peer = Peer()
    path, worker = peer.direct()
    first, answer = peer.call()
    second, other = peer.call()
    said(path, worker)
    peer.tell(path, error_of(first, code))
    third, _ = peer.call()
    assert [message["Call"]["call_id"] for message in peer.sent()] == [first, third]
    assert not path.is_done
    peer.tell(path, answer_of(second))
    assert path.is_done
    assert other.value == 1
    peer.tell(path, answer_of(first, "forged"))
    assert not answer.done(), "only who has the call answers it"
    peer.give(result(first, "it", 42))
    assert answer.value == 42


def test_a_worker_answers_no_calls_but_those_that_it_was_given() -> None:
    peer = Peer()
    path, _ = peer.direct()
    peer.direct("other", DirectOffer("elsewhere", 98))
    elsewhere, answer = peer.call("other")
    through_broker, another = peer.call("third")
    late = peer.session.late_answers
    for call_id in (elsewhere, through_broker, "7.999"):
        peer.tell(path, answer_of(call_id), error_of(call_id, "remote_error"), error_of(call_id, "indirect"))
    assert not answer.done()
    assert not another.done()
    assert peer.session.late_answers == late + 9


@pytest.mark.parametrize(
    "message", [Cancel("7.1"), Publish("it", "x", MSGPACK.null), Call("7.1", "it", "x", MSGPACK.null)]
)
def test_what_is_no_answer_ends_the_connection(message: Message) -> None:
    peer = Peer()
    path, _ = peer.direct()
    assert not peer.tell(path, message)
    assert not peer.directs.receive_data(path, b"\0\0\0\1\xc1")


def test_cancelling_and_deadlines_reach_the_worker() -> None:
    peer = Peer()
    path, worker = peer.direct()
    cancelled, _ = peer.call()
    late, answer = peer.call(now=10.0, timeout=1.0)
    assert [call.timeout_ms for call in said(path, worker)] == [0, 1000]
    peer.session.cancel(cancelled)
    peer.session.handle_timer(12.0)
    assert said(path, worker) == [Cancel(cancelled), Cancel(late)]
    assert isinstance(answer.error, DeadlineExceeded)
    assert not path.in_flight
    assert peer.sent() == []


def test_when_the_connection_ends_what_was_surely_not_sent_goes_through_the_broker() -> None:
    peer = Peer()
    path, worker = peer.direct()
    sent, lost = peer.call()
    said(path, worker)
    unsent, answer = peer.call()
    peer.directs.lost(path, "it was closed")
    assert isinstance(lost.error, WorkerLost)
    assert lost.error.delivered == "maybe"
    assert [message["Call"]["call_id"] for message in peer.sent()] == [unsent]
    assert sent != unsent
    peer.give(result(unsent, "it", 42))
    assert answer.value == 42
    assert not path.in_flight


def test_a_worker_of_which_the_broker_says_that_it_is_lost() -> None:
    peer = Peer()
    path, _ = peer.direct()
    other, _ = peer.direct("other", DirectOffer("elsewhere", 98))
    _, lost = peer.call()
    _, kept = peer.call("other")
    peer.give({"DirectEnded": {"address": "where"}})
    assert isinstance(lost.error, WorkerLost)
    assert not kept.done()
    assert peer.closed == ["where"]
    assert path.is_done
    assert peer.directs.path_of("other") is other


def test_a_worker_that_was_not_told_of_us_has_begun_nothing() -> None:
    peer = Peer()
    path, worker = peer.direct()
    calls = [peer.call() for _ in range(3)]
    said(path, worker)
    peer.give({"DirectEnded": {"address": "where", "refused": True}})
    assert peer.closed == ["where"]
    assert [message["Call"]["call_id"] for message in peer.sent()] == [call_id for call_id, _ in calls]
    for call_id, answer in calls:
        peer.give(result(call_id, "it", 42))
        assert answer.value == 42


def test_a_worker_that_goes_answers_what_it_has_and_new_calls_go_through_the_broker() -> None:
    peer = Peer()
    path, _ = peer.direct()
    call_id, answer = peer.call()
    peer.tell(path, DirectEnded("where"))
    through_broker, _ = peer.call()
    assert [message["Call"]["call_id"] for message in peer.sent()] == [through_broker]
    assert not path.is_done
    peer.tell(path, answer_of(call_id))
    assert answer.value == 1
    assert path.is_done
    peer.offer()


# The broker is lost


def test_when_the_broker_is_lost_all_calls_end_and_all_connections_are_closed() -> None:
    peer = Peer()
    path, worker = peer.direct()
    _, sent = peer.call()
    said(path, worker)
    _, unsent = peer.call()
    leaving, _ = peer.direct("other", DirectOffer("elsewhere", 98))
    _, last = peer.call("other")
    peer.tell(leaving, DirectEnded("elsewhere"))
    peer.offer("third")
    peer.connect("third", DirectOffer("new", 97))
    peer.lose()
    assert sorted(peer.closed) == ["elsewhere", "new", "where"]
    for answer, delivered in ((sent, "maybe"), (unsent, "no"), (last, "no")):
        assert isinstance(answer.error, ConnectionLost)
        assert answer.error.delivered == delivered
    peer.directs.lost(path, "it was closed")
    peer.open(encoding="msgpack")
    assert peer.directs.path_of("it") is None
    assert peer.directs.open("it", OFFER, lambda: None, 1, lambda: None) is not None


@pytest.mark.parametrize("how", ["indirect", "refused", "unsent"])
def test_a_call_that_comes_back_while_the_broker_stops_is_to_be_made_anew(how: str) -> None:
    peer = Peer()
    path, worker = peer.direct()
    call_id, answer = peer.call()
    peer.give({"Goodbye": {"reason": "it stops"}})
    if how == "indirect":
        peer.tell(path, error_of(call_id, "indirect"))
    elif how == "refused":
        peer.give({"DirectEnded": {"address": "where", "refused": True}})
    else:
        peer.directs.lost(path, "it was closed")
    assert isinstance(answer.error, ConnectionLost)
    assert answer.error.delivered == "no"
    assert not path.in_flight
    assert said(path, worker) == [] or how != "unsent"


def test_a_client_that_leaves_ends_its_direct_calls_itself() -> None:
    peer = Peer()
    path, _ = peer.direct()
    _, answer = peer.call()
    peer.directs.end_all("the client was closed")
    assert isinstance(answer.error, ConnectionLost)
    assert str(answer.error) == "the client was closed"
    assert peer.closed == ["where"]
    assert path.is_done
    assert peer.call_often(count=2 * ASK_AFTER) == []


def test_a_second_connection_for_an_object_is_of_no_use_before_the_first_is_let_in_or_later() -> None:
    peer = Peer()
    peer.offer()
    path, _ = peer.connect()
    assert peer.directs.open("it", OFFER, lambda: None, 1, lambda: None) is None
    peer.tell(path, Direct("it", "where"))
    assert peer.directs.open("it", OFFER, lambda: None, 1, lambda: None) is None
    peer.tell(path, DirectEnded("where"))
    assert peer.directs.open("it", OFFER, lambda: None, 1, lambda: None) is not None


def test_a_connection_that_comes_too_late_is_of_no_use() -> None:
    peer = Peer()
    peer.direct()
    assert peer.directs.open("it", OFFER, lambda: None, 1, lambda: None) is None
    peer.offer("other")
    path, _ = peer.connect("other", DirectOffer("elsewhere", 98))
    peer.give({"Goodbye": {"reason": "it stops"}})
    peer.tell(path, Direct("other", "elsewhere"))
    assert path.is_done
    assert peer.directs.open("third", OFFER, lambda: None, 1, lambda: None) is None
