"""When memory is kept: in a process of its own, since it is for the whole of one."""

from __future__ import annotations

from tests.cli.programs import run

ASKED = """
from ipc_broker import allocation
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.framing import LARGE, FrameReader

def read(size):
    frame = size.to_bytes(4, "big") + bytes(size)
    reader = FrameReader(2 * LARGE)
    assert reader.feed(frame[:-1]) == []
    [whole] = reader.feed(frame[-1:])
    assert whole == frame

def send(size):
    connection = Connection(Role.CLIENT, lambda: None)
    connection.send_frame(bytes(size))
    assert connection.data_to_send() == bytes(size)

"""


def asked_after(does: str) -> bool:
    ended = run("-c", f"{ASKED}{does}\nprint(allocation.asked)")
    assert ended.status == 0, ended
    return ended.output == "True\n"


def test_a_large_message_that_comes_or_goes_keeps_memory_for_the_next() -> None:
    assert asked_after("read(LARGE + 1)")
    assert asked_after("send(LARGE + 1)")


def test_small_messages_change_nothing() -> None:
    assert not asked_after("read(1000); send(1000)")
