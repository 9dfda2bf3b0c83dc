"""How a client that has lost its connection comes to another one."""

from __future__ import annotations

from itertools import islice

from ipc_broker.session.reconnecting import backoff


def test_the_first_attempt_is_made_at_once_and_the_pauses_grow_to_a_limit() -> None:
    delays = list(islice(backoff(), 12))
    assert delays[0] == 0
    for delay, middle in zip(delays[1:], (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, *[0.5] * 5), strict=True):
        assert 0.75 * middle <= delay <= 1.25 * middle
