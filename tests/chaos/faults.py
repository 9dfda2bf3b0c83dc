"""What a run must not show."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tests.chaos.traces import AnyRecord


class Fault(Struct, frozen=True):
    """One broken promise. `kind` is a word or two for tests and counts; `shows` are the records that prove it, by process."""

    kind: str
    what: str
    shows: tuple[tuple[str, AnyRecord], ...] = ()


def shown(process: str, records: Iterable[AnyRecord | None]) -> tuple[tuple[str, AnyRecord], ...]:
    return tuple((process, record) for record in records if record is not None)
