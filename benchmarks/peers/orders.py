"""What a role's process is told, as its only argument, and what it says in the end: JSON both."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ..latency import Latencies

READY = "ready"


class Serve(Struct, frozen=True, tag=True):
    address: str


class RunBroker(Struct, frozen=True, tag=True):
    """For servers that are Python; `address` is what `Ends.broker` takes."""

    address: str


class Calls(Struct, frozen=True, tag=True):
    """One call after the other, for `seconds`; `size` of what is echoed, 0 for `add`. `line` is that of the start."""

    address: str
    client: Literal["blocking", "asyncio"]
    seconds: float
    line: str
    size: int = 0


class InFlight(Struct, frozen=True, tag=True):
    address: str
    seconds: float
    line: str


class Publish(Struct, frozen=True, tag=True):
    """To all topics in turn, each over its own connection, for `seconds` or `most` events, whichever ends first."""

    address: str
    topics: list[str]
    seconds: float
    most: int
    size: int
    line: str


class Subscribe(Struct, frozen=True, tag=True):
    """A subscriber for each of `topics`, which may hold one twice; `pace` is in events a second, 0 for no limit."""

    address: str
    topics: list[str]
    pace: float = 0.0


class Idle(Struct, frozen=True, tag=True):
    """`count` connections, each of which makes one call."""

    address: str
    client: Literal["blocking", "asyncio"]
    count: int


Order = Serve | RunBroker | Calls | InFlight | Publish | Subscribe | Idle


class Called(Struct, frozen=True):
    """`cpu` seconds of the client's process for `count` calls, which took `seconds`; `InFlight` gives no latencies."""

    count: int
    seconds: float
    cpu: float
    latencies: Latencies | None


class Sent(Struct, frozen=True):
    """`began`: on the machine's monotonic clock, in seconds."""

    count: int
    began: float


class Received(Struct, frozen=True):
    """By one subscriber; `disordered` of them came after a later one. `ended` is on the machine's monotonic clock."""

    count: int
    disordered: int
    ended: float
