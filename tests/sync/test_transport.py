"""The blocking client's bytes over real sockets."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc_broker.address import Address, parse_address
from ipc_broker.destination import Destination
from ipc_broker.errors import ConfigError, ConnectFailed
from ipc_broker.sync.transport import NothingSent, SocketTransport, open_transport
from tests.sync.bus import PATIENCE, InThread

MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than a kernel buffers


@pytest.fixture
def ends() -> Iterator[tuple[SocketTransport, socket.socket]]:
    """A transport, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    transport = SocketTransport(ours)
    yield transport, theirs
    transport.close()
    theirs.close()


Ends = tuple[SocketTransport, socket.socket]


def test_bytes_go_both_ways(ends: Ends) -> None:
    transport, theirs = ends
    transport.send(b"hello", 1)
    assert theirs.recv(100) == b"hello"
    theirs.sendall(b"you")
    assert transport.recv(None) == b"you"


def test_nothing_that_came_is_lost_by_a_timeout(ends: Ends) -> None:
    transport, theirs = ends
    for timeout in (0.0, -1.0, 0.01):
        with pytest.raises(TimeoutError, match="nothing came"):
            transport.recv(timeout)
    theirs.sendall(b"late")
    assert transport.recv(0.0) == b"late"


def test_the_end_of_the_stream_is_no_bytes(ends: Ends) -> None:
    transport, theirs = ends
    theirs.sendall(b"last")
    theirs.close()
    assert transport.recv(1) == b"last"
    assert transport.recv(1) == b""
    assert transport.recv(None) == b""


def test_a_connection_that_was_reset_has_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = open_transport(Destination(f"tcp://127.0.0.1:{listener.getsockname()[1]}", {}), 1)
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        assert transport.recv(PATIENCE) == b""
        transport.close()


def test_all_is_sent_to_a_slow_reader(ends: Ends) -> None:
    transport, theirs = ends
    sending = InThread(lambda: transport.send(MUCH, PATIENCE))
    received = bytearray()
    while len(received) < len(MUCH):
        received += theirs.recv(1021)  # so that the pieces never end where the sender's do
        if len(received) > 100_000:
            received += theirs.recv(1 << 20)
    sending.result()
    assert received == MUCH


def test_sending_gives_up_when_nothing_is_taken(ends: Ends) -> None:
    transport, _ = ends
    with pytest.raises(TimeoutError, match="the broker takes nothing"):
        transport.send(MUCH, 0.05)


def test_sending_to_an_end_that_is_closed(ends: Ends) -> None:
    transport, theirs = ends
    theirs.close()
    with pytest.raises(OSError, match=r"Broken pipe|aborted|reset"):
        transport.send(MUCH, 1)


def test_one_thread_reads_while_another_sends(ends: Ends) -> None:
    transport, theirs = ends
    reading = InThread(lambda: transport.recv(None))
    sending = InThread(lambda: transport.send(MUCH, PATIENCE))
    theirs.sendall(b"answer")
    assert reading.result() == b"answer"
    assert not sending.done
    left = len(MUCH)
    while left:
        left -= len(theirs.recv(1 << 20))
    sending.result()


def test_closing_wakes_the_threads_that_wait(ends: Ends) -> None:
    transport, theirs = ends
    reading = InThread(lambda: transport.recv(None))
    sending = InThread(lambda: transport.send(MUCH, None))
    assert theirs.recv(1) == MUCH[:1]  # it has begun
    transport.close()
    assert isinstance(sending.error(), OSError)
    came: object
    try:
        came = reading.result()
    except OSError as error:  # it was about to read
        came = error
    assert came == b"" or isinstance(came, OSError)
    assert not isinstance(came, TimeoutError)


def test_closing_again_does_nothing(ends: Ends) -> None:
    transport, theirs = ends
    transport.close()
    transport.close()
    assert theirs.recv(1) == b""
    for use in (lambda: transport.recv(0.01), lambda: transport.send(b"x", 0.01)):
        with pytest.raises(OSError):  # noqa: PT011  the number depends on the platform
            use()


def test_closing_what_the_other_end_has_closed(ends: Ends) -> None:
    transport, theirs = ends
    theirs.close()
    transport.close()


def test_a_long_timeout_is_a_long_timeout(ends: Ends) -> None:
    """115 days are more than poll takes in milliseconds."""
    transport, theirs = ends
    theirs.sendall(b"x")
    assert transport.recv(1e7) == b"x"


# Opening


def test_nothing_listens_at_a_unix_socket(tmp_path: Path) -> None:
    if sys.platform == "win32":
        with pytest.raises(ConfigError, match="no Unix sockets"):
            open_transport(Destination(str(tmp_path / "none.sock"), {}), 1)
        return
    address = Address("unix", str(tmp_path / "none.sock"))
    with pytest.raises(ConnectFailed, match=r"no broker at unix://.*start one with: ipc-broker --listen unix://"):
        open_transport(Destination(str(address), {}), 1)


def test_nothing_listens_at_a_port() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = parse_address(f"tcp://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ConnectFailed, match=r"refused.*start one with"):
            open_transport(Destination(str(address), {}), 5)


def test_a_socket_whose_queue_is_full(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("other systems refuse at once")
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        queued = socket.socket(socket.AF_UNIX)
        queued.connect(path)
        started = time.monotonic()
        with pytest.raises(ConnectFailed, match=r"within 0\.1 s|no broker at"):
            open_transport(Destination(path, {}), 0.1)
        assert time.monotonic() - started < PATIENCE
        queued.close()


def test_transports_that_are_not_here() -> None:
    if sys.platform != "win32":
        with pytest.raises(ConfigError, match="Windows"):
            open_transport(Destination("pipe://ipc_broker", {}), 1)


def test_a_connection_over_tcp_sends_small_pieces_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = open_transport(Destination(f"tcp://127.0.0.1:{listener.getsockname()[1]}", {}), 1)
        assert isinstance(transport, SocketTransport)
        assert transport._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        accepted, _ = listener.accept()
        accepted.close()
        transport.close()


# The other end is gone


def over_tcp() -> tuple[SocketTransport, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = open_transport(Destination(f"tcp://127.0.0.1:{listener.getsockname()[1]}", {}), 1)
        accepted, _ = listener.accept()
    assert isinstance(transport, SocketTransport)
    return transport, accepted


def test_nothing_is_sent_to_an_end_that_is_closed(ends: Ends) -> None:
    transport, theirs = ends
    transport.send(b"before", 1)
    theirs.close()
    with pytest.raises(NothingSent):
        transport.send(b"x", 1)


def test_over_tcp_the_end_is_looked_for_after_a_pause() -> None:
    """The kernel would take what is sent first, and tell nothing."""
    transport, theirs = over_tcp()
    transport.send(b"before", 1)
    if sys.platform == "linux":
        theirs.sendall(b"something that nobody has read")
    theirs.close()
    transport._sent_at = 0.0  # as after a pause
    with pytest.raises(NothingSent):
        transport.send(b"x", 1)
    transport.close()


def test_what_was_sent_in_part_is_not_said_to_be_unsent(ends: Ends) -> None:
    transport, theirs = ends
    with pytest.raises(TimeoutError):
        transport.send(MUCH, 0)
    sending = InThread(lambda: transport.send(b"more", PATIENCE))
    assert len(theirs.recv(1000)) == 1000
    theirs.close()
    error = sending.error()
    assert isinstance(error, OSError)
    assert isinstance(error, NothingSent), "of this piece nothing has left"
    other, their_other = over_tcp()
    sending = InThread(lambda: other.send(MUCH, PATIENCE))
    assert their_other.recv(1000)
    their_other.close()
    assert not isinstance(sending.error(), NothingSent)
    other.close()


def test_a_child_gives_its_copy_up_and_nothing_else(ends: Ends) -> None:
    """The connection stays open for the parent."""
    transport, theirs = ends
    copy = SocketTransport(transport._socket.dup())
    copy.disown()
    transport.send(b"still here", 1)
    assert theirs.recv(100) == b"still here"


def test_bytes_that_were_taken_are_in_doubt_until_somebody_has_them(ends: Ends) -> None:
    transport, theirs = ends
    with pytest.raises(TimeoutError):
        transport.recv(0)
    assert not transport.in_doubt
    theirs.sendall(b"x")
    assert transport.recv(1) == b"x"
    assert transport.in_doubt
