"""Peers that send nonsense to a real broker: they are told, and nobody else notices."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, broker_at
from tests.end_to_end.processes import until, worker_at
from tests.seed.client import SeedClient
from tests.seed.frames import BODY_LIMIT, frame, frame_of
from tests.seed.invalid import INVALID_BODIES
from tests.seed.stream import ConnectionEnded
from tests.sync.bus import InThread

HAS_MATH = frame({"HasObject": {"object_name": "math"}})
TAKEN = (b'"object_name":"a","object_name":"a"', b"1e400", b"99999")
"""In bodies that our broker takes: the last of two equal fields counts, and a payload that nobody wants is not read."""


@contextmanager
def undisturbed(address: str) -> Iterator[None]:
    """A worker and a client that goes on calling it; each call has to be answered, and in the end nothing is left."""
    with worker_at(address), connect(address) as client:
        before = client.call("rob", "stats")
        ended = threading.Event()

        def call_on() -> int:
            count = 0
            while not ended.is_set():
                assert client.call("math", "add", [count, 1], timeout=PATIENCE) == {"sum": count + 1}
                count += 1
                ended.wait(0.001)
            return count

        calling = InThread(call_on)
        try:
            yield
        finally:
            ended.set()
            assert calling.result() > 0
        for what in ("connections", "objects", "subscriptions", "calls_in_flight"):
            until(lambda what=what: client.call("rob", "stats")[what] == before[what], f"{what} as before")  # type: ignore[misc]


def test_what_is_no_message_is_answered_with_an_error(bus: str) -> None:
    with undisturbed(bus):
        for body in INVALID_BODIES:
            with SeedClient(bus, timeout=PATIENCE) as peer:
                peer.send_bytes(frame_of(body) + HAS_MATH)
                answers = [peer.read_message()]
                while not any(answer.get("HasObjectResult", {}).get("object_name") == "math" for answer in answers):
                    answers.append(peer.read_message())
                if not any(part in body for part in TAKEN):
                    while not any("Error" in answer for answer in answers):  # our worker's comes later
                        answers.append(peer.read_message())


def test_the_peer_is_told_what_was_wrong(bus: str) -> None:
    with SeedClient(bus, timeout=PATIENCE) as peer:
        for body in (b"", b"null", b'{"Unsubscribe":{}}', b'{"HasObject":{"object_name":1}}', b"[" * BODY_LIMIT):
            peer.send_bytes(frame_of(body))
            error = peer.read_message()["Error"]
            assert error["call_id"] is None
            assert len(str(error["message"])) > 10


def test_a_frame_over_the_limit_is_told_and_ends_the_connection(bus: str) -> None:
    with undisturbed(bus):
        for size in (BODY_LIMIT + 1, 1 << 31, (1 << 32) - 1):
            with SeedClient(bus, timeout=PATIENCE) as peer:
                peer.send_bytes(HAS_MATH + size.to_bytes(4, "big") + b"x" * 1000)
                assert "HasObjectResult" in peer.read_message()
                error = peer.read_message()["Error"]
                assert str(size) in str(error["message"])
                assert str(BODY_LIMIT) in str(error["message"])
                with pytest.raises(ConnectionEnded):
                    peer.read_frame()


def test_random_bytes(bus: str) -> None:
    source = random.Random(5123)
    with undisturbed(bus):
        for _ in range(100):
            with SeedClient(bus, timeout=PATIENCE) as peer:
                data = source.randbytes(source.randrange(1, 5000))
                if source.random() < 0.5:
                    data = frame_of(data) + HAS_MATH
                try:
                    peer.send_bytes(data)
                except OSError:
                    continue  # the broker has seen enough


def test_frames_with_a_byte_that_is_wrong(bus: str) -> None:
    source = random.Random(5123)
    bodies = [
        b'{"Call":{"call_id":"1","object_name":"math","method":"add","args":{"a":1,"b":2}}}',
        b'{"Publish":{"object_name":"sensor","topic":"heat","args":[1,2,{"x":null}]}}',
        b'{"Subscribe":{"object_name":"sensor","topic":"heat"}}',
        b'{"Result":{"call_id":"1","object_name":"math","value":"text"}}',
    ]
    with undisturbed(bus), SeedClient(bus, timeout=PATIENCE) as peer:
        for _ in range(500):
            body = bytearray(source.choice(bodies))
            body[source.randrange(len(body))] = source.randrange(256)
            peer.send_bytes(frame_of(bytes(body)))
        peer.send_bytes(HAS_MATH)
        while "HasObjectResult" not in peer.read_message():
            pass


def test_peers_that_leave_in_the_middle_of_a_frame(bus: str) -> None:
    call = frame({"Call": {"call_id": "1", "object_name": "math", "method": "add", "args": [1, 2]}})
    with undisturbed(bus):
        for end in range(len(call)):
            with SeedClient(bus, timeout=PATIENCE) as peer:
                peer.send_bytes(call + call[:end])


def test_peers_that_end_their_stream_in_the_middle_of_a_frame(bus: str) -> None:
    call = frame({"Call": {"call_id": "1", "object_name": "math", "method": "add", "args": [1, 2]}})
    with undisturbed(bus), SeedClient(bus, timeout=PATIENCE) as peer:
        peer.send_bytes(call + call[:50])
        peer.end_sending()
        assert peer.read_message()["Result"]["value"] == {"sum": 3}
        with pytest.raises(ConnectionEnded):
            peer.read_frame()


def test_a_peer_that_never_reads_its_answers(address: str) -> None:
    question = frame({"Call": {"call_id": "", "object_name": "x" * 1000, "method": "m", "args": None}}) * 100
    deadline = time.monotonic() + PATIENCE

    def send_on(peer: SeedClient) -> None:
        while time.monotonic() < deadline:
            peer.send_bytes(question)

    with (
        broker_at(address, "--limit-outbox", "1000000") as broker,
        undisturbed(address),
        SeedClient(address, timeout=PATIENCE) as peer,
    ):
        with pytest.raises(OSError):  # noqa: PT011  the number depends on the platform
            send_on(peer)
        broker.wait_for_line("answers were left unread", PATIENCE)


def test_a_worker_that_answers_with_garbage(bus: str) -> None:
    with undisturbed(bus), SeedClient(bus, timeout=PATIENCE) as worker, SeedClient(bus, timeout=PATIENCE) as caller:
        worker.send({"RegisterObject": {"object_name": "bad"}})
        assert "Registered" in worker.read_message()
        for garbage in (b"\xff", b'{"Result":{"call_id":"1","object_name":"bad","value":\xff}}', b"[" * 1000):
            caller.send({"Call": {"call_id": "1", "object_name": "bad", "method": "m", "args": None}})
            assert "Call" in worker.read_message()
            worker.send_bytes(frame_of(garbage))
            assert caller.read_message()["Error"]["call_id"] == "1"
            assert "Error" in worker.read_message()
