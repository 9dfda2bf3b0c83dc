"""Large calls of a blocking client that go directly: they stand in memory of both ends."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipc_broker.errors import DeadlineExceeded
from ipc_broker.identity.direct import AVAILABLE
from ipc_broker.protocol.framing import LARGE
from ipc_broker.protocol.lending import SLOT_SIZE, SLOTS, Lending
from ipc_broker.sync import Client
from tests.sync.bus import Bus
from tests.sync.test_direct import at_gate, go_direct, path_of

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="only Linux has sockets without a file")

BLOB = bytes(range(256)) * (LARGE // 128)


def lending(client: Client) -> Lending:
    path = go_direct(client)
    assert client.call("echo", "back", [BLOB], returns=bytes) == BLOB
    assert client.call("echo", "back", [BLOB], returns=bytes) == BLOB
    found = path.connection.lending
    assert found is not None
    assert found.may_lend
    return found


def test_large_calls_and_answers_are_lent(our_bus: Bus, our_client: Client) -> None:
    memory = lending(our_client)
    for size in (LARGE - 10, LARGE, SLOT_SIZE - 100, SLOT_SIZE, 2 * SLOT_SIZE):
        data = BLOB * (size // len(BLOB)) + BLOB[: size % len(BLOB)]
        assert our_client.call("echo", "back", [data], returns=bytes) == data
    assert memory.borrowed == 0
    assert memory.lent_slots == 0


def test_views_that_are_kept_stay_as_they_are(our_bus: Bus, our_client: Client) -> None:
    memory = lending(our_client)
    blobs = [bytes([number]) * LARGE for number in range(2 * SLOTS)]
    views = [our_client.call("echo", "back", [blob], returns=memoryview) for blob in blobs]
    assert memory.borrowed == SLOTS
    assert views == blobs
    del views
    assert memory.borrowed == 0


def test_threads_that_call_at_once_get_their_own_answers(our_bus: Bus, our_client: Client) -> None:
    lending(our_client)

    def echo(number: int) -> bool:
        blob = bytes([number]) * (LARGE + number)
        return our_client.call("echo", "back", [blob], returns=bytes) == blob

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(echo, range(64)))


def test_a_large_call_that_takes_too_long_costs_the_connection_and_the_next_has_memory_again(
    our_bus: Bus, our_client: Client
) -> None:
    opened, shut = "open" * LARGE, "shut" * LARGE
    our_bus.open(opened)
    path = at_gate(our_bus, our_client)
    for _ in range(2):
        assert our_client.call("gate", "wait", [opened]) == opened
    assert path.connection.lending is not None
    with pytest.raises(DeadlineExceeded):
        our_client.call("gate", "wait", [shut], timeout=0.05)
    assert path_of(our_client, "gate") is None
    assert path.connection.lending is None
    again = at_gate(our_bus, our_client)
    for _ in range(2):
        assert our_client.call("gate", "wait", [opened]) == opened
    assert again.connection.lending is not None


def test_a_child_process_leaves_the_memory_of_its_parent_alone(our_bus: Bus, our_client: Client) -> None:
    if sys.platform == "win32":  # for the type checker: it is skipped there
        return
    memory = lending(our_client)
    view = our_client.call("echo", "back", [BLOB], returns=memoryview)
    child = os.fork()
    if child == 0:
        del view
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert memory.borrowed == 1
    assert our_client.call("echo", "back", [bytes(len(BLOB))], returns=bytes) == bytes(len(BLOB))
    assert view == BLOB, "an answer was written over what somebody has a view of"
