"""What a subscription gives."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Event(
    Struct, frozen=True, eq=False, rename={"object": "object_name", "value": "args", "subscription_id": "subscription"}
):
    """One published value. `retained` tells that it was published before the subscription began.

    It is decoded as it stands on the wire, hence the names of its fields there. `subscription_id` says on its way which
    subscription it is for; it is no part of what makes two events equal.
    """

    object: str
    topic: str
    value: Any
    retained: bool = False
    subscription_id: int = 0

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._shown() == other._shown()

    __hash__ = None  # type: ignore[assignment]  # its value may be a list or a map

    def _shown(self) -> list[tuple[str, Any]]:
        return [("object", self.object), ("topic", self.topic), ("value", self.value), ("retained", self.retained)]

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return self._shown() if self.retained else self._shown()[:-1]

    def __repr__(self) -> str:
        return f"Event({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Batch(Struct, frozen=True, rename={"object": "object_name", "subscription_id": "subscription"}):
    """Several events as they stand on the wire, with their values decoded; a subscription gives them one by one."""

    object: str
    topic: str
    values: list[Any]
    subscription_id: int = 0


class Gap(Struct, frozen=True):
    """Stands where events were missed: `missed` of them, None when nobody knows how many."""

    object: str
    topic: str
    missed: int | None = None
