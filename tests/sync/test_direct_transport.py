"""The bytes of a direct connection, over a real socket."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from ipc_broker.sync import direct_transport
from ipc_broker.sync.direct_transport import DirectTransport
from ipc_broker.sync.transport import NothingSent
from tests.sync.bus import PATIENCE, InThread

if sys.platform == "win32":
    pytest.skip("direct connections are Linux's", allow_module_level=True)

MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than a kernel buffers


@pytest.fixture
def ends() -> Iterator[tuple[DirectTransport, socket.socket]]:
    """A transport, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    transport = DirectTransport(ours)
    yield transport, theirs
    transport.close()
    theirs.close()


Ends = tuple[DirectTransport, socket.socket]


def answer(theirs: socket.socket, data: bytes) -> bytes:
    """What has come there, when it was answered with that."""
    came = theirs.recv(100)
    theirs.sendall(data)
    return came


def wait_long(transport: DirectTransport) -> None:
    if transport.exchange(b"call") is None:
        time.sleep(PATIENCE)


def test_a_call_is_exchanged_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_transport, "PATIENCE", 10_000)  # here, what answers may have to wait for its turn
    ours, theirs = socket.socketpair()
    transport = DirectTransport(ours)
    for number in range(3):
        answering = InThread(lambda: answer(theirs, b"answer"))
        assert transport.exchange(b"call %d" % number) == b"answer"
        assert answering.result() == b"call %d" % number
    transport.close()
    theirs.close()


def test_what_does_not_come_soon_is_received_later(ends: Ends) -> None:
    transport, theirs = ends
    assert transport.exchange(b"call") is None
    with pytest.raises(TimeoutError, match="nothing came"):
        transport.recv(0.0)
    assert answer(theirs, b"late") == b"call"
    assert transport.recv(PATIENCE) == b"late"


def test_the_end_of_the_stream_is_no_bytes(ends: Ends) -> None:
    transport, theirs = ends
    theirs.shutdown(socket.SHUT_WR)
    assert transport.exchange(b"call") == b""


def test_an_end_that_leaves_unread_what_was_sent_has_ended(ends: Ends) -> None:
    """The kernel calls that a reset."""
    transport, theirs = ends
    transport.send(b"call", 1)
    theirs.close()
    assert transport.recv(PATIENCE) == b""
    with pytest.raises(NothingSent):
        transport.exchange(b"another")


def test_what_is_not_taken_at_once_goes_out_with_the_next_send(ends: Ends) -> None:
    transport, theirs = ends
    assert transport.exchange(MUCH) is None
    sending = InThread(lambda: transport.send(b"", PATIENCE))
    received = bytearray()
    while len(received) < len(MUCH):
        received += theirs.recv(1 << 20)
    sending.result()
    assert received == MUCH


def test_sending_never_waits_longer_than_it_may(ends: Ends) -> None:
    transport, _ = ends
    with pytest.raises(TimeoutError, match="takes nothing"):
        transport.send(MUCH, 0.01)


def test_another_thread_can_end_it(ends: Ends) -> None:
    transport, theirs = ends

    def exchange() -> bytes | None:
        try:
            return transport.exchange(b"call")
        except OSError as error:
            if error.errno != errno.EBADF:  # it was closed before the thread came to reading
                raise
            return None

    exchanging = InThread(exchange)
    assert theirs.recv(100) == b"call"
    transport.close()
    assert exchanging.result() in (b"", None)


def test_signals_that_come_and_go_leave_the_answer_whole(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_transport, "PATIENCE", 10_000)
    transport, theirs = ends
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))

    def signal_first() -> bytes:
        os.kill(os.getpid(), signal.SIGUSR1)
        return answer(theirs, b"answer")

    try:
        answering = InThread(signal_first)
        assert transport.exchange(b"call") == b"answer"
        assert answering.result() == b"call"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert came


def test_signals_without_end_do_not_prolong_the_waiting(ends: Ends) -> None:
    transport, theirs = ends
    waited = threading.Event()

    def answer_at_last() -> None:
        theirs.recv(100)
        if not waited.wait(PATIENCE / 2):
            theirs.sendall(b"late")

    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    answering = InThread(answer_at_last)
    try:
        assert transport.exchange(b"call") is None
    finally:
        waited.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        answering.result()


def test_ctrl_c_ends_the_waiting(ends: Ends, interruptible: None) -> None:
    transport, theirs = ends

    def interrupt() -> None:
        theirs.recv(100)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        wait_long(transport)
    interrupting.result()


def test_sending_nothing_leaves_an_answer_of_one_who_has_gone_to_be_received(ends: Ends) -> None:
    transport, theirs = ends
    assert transport.exchange(b"call") is None
    assert answer(theirs, b"answer") == b"call"
    theirs.close()
    transport.send(b"", PATIENCE)
    assert transport.recv(PATIENCE) == b"answer"
    assert transport.recv(PATIENCE) == b""
