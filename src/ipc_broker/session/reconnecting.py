"""How a client that has lost its connection comes to another one."""

from __future__ import annotations

import random
from collections.abc import Iterator

SETTLING = 2.0
"""Seconds after a reconnect in which an object that is missing may still be registered again."""

STABLE = 1.0
"""Seconds that a connection has to last, so that the next one is tried for at once: this client may be why it is lost."""

MOST_WAITING = 65_536
"""Calls and publishers that may wait for a connection, each of which keeps what it is to send."""

GOODBYE_PATIENCE = 60.0
"""Seconds after the broker's goodbye in which it has to close the connection."""

ANSWER_TIMEOUT = 5.0
"""Seconds that a broker has to answer hello when nobody is there to say how long."""


def backoff() -> Iterator[float]:
    """Seconds to wait before each attempt: none, then 10 ms doubling to 500 ms, each a quarter more or less."""
    yield 0.0
    delay = 0.01
    while True:
        yield delay * random.uniform(0.75, 1.25)
        delay = min(delay * 2, 0.5)
