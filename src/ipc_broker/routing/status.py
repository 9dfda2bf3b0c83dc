"""What a broker says of itself."""

from __future__ import annotations

from msgspec import Struct


class Identity(Struct, frozen=True):
    """Which broker this is: `epoch` is another for every run."""

    version: str
    epoch: str
    pid: int


class Departed(Struct, frozen=True, gc=False):
    """A connection that has ended: whose, when and why."""

    peer: str
    at: float
    reason: str
    said_goodbye: bool


class Totals(Struct):
    """Counted since the broker started."""

    connections: int = 0
    refused_connections: int = 0
    calls: int = 0
    results: int = 0
    errors: int = 0
    late_answers: int = 0
    late_items: int = 0
    invalid_messages: int = 0
