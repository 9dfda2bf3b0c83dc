"""What a subscription gives."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Event(Struct, frozen=True, rename={"object": "object_name", "value": "args"}):
    """One published value. `retained` tells that it was published before the subscription began.

    It is decoded as it stands on the wire, hence the names of its fields there.
    """

    object: str
    topic: str
    value: Any
    retained: bool = False


class Gap(Struct, frozen=True):
    """Stands where events were missed: `missed` of them, None when nobody knows how many."""

    object: str
    topic: str
    missed: int | None = None
