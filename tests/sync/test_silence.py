"""A blocking client that is busy elsewhere: nobody takes it for dead."""

from __future__ import annotations

import pytest

from ipc_broker import Limits
from ipc_broker.sync import connect
from tests.messages import call
from tests.seed.client import SeedClient
from tests.seed.stream import ConnectionEnded
from tests.sync.bus import PATIENCE
from tests.sync.conftest import running_bus


def test_it_is_not_given_up_where_one_that_promised_heartbeats_is() -> None:
    with (
        running_bus("ours", Limits(heartbeat=0.2)) as bus,
        connect(bus.address) as client,
        SeedClient(bus.address, timeout=PATIENCE) as silent,
    ):
        silent.send(call("h", "rob", "hello", {"features": ["heartbeat"]}))
        silent.read_frame()
        assert b"Ping" in silent.read_frame()
        with pytest.raises(ConnectionEnded):
            read_on(silent)
        assert client.call("rob", "ping") == "pong"


def read_on(peer: SeedClient) -> None:
    """Answers nothing that it reads."""
    while True:
        peer.read_frame()
