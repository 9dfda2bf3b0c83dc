"""What one subscription of one process got, in its order."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import Life
from tests.chaos.publications import Publication
from tests.chaos.traces import AnyRecord, Got, Missed, Settled, Subscribed


class Stream:
    """`since` to `at` is when it began; `settled`, a moment by whose events all have come, 0.0 where there is none."""

    def __init__(self, life: Life, began: Subscribed) -> None:
        self.life = life
        self.process = life.process
        self.wish = life.actor.subscribes[began.subscription]
        self.number = began.subscription
        self.since = began.since
        self.at = began.at
        own: list[Got | Missed] = []
        self.settled = 0.0
        for record in life.trace:
            if isinstance(record, Got | Missed) and record.subscription == began.subscription:
                own.append(record)
            elif isinstance(record, Settled) and record.subscription == began.subscription:
                self.settled = record.since
        self.items = own

    @property
    def name(self) -> str:
        wish = self.wish
        extras = "".join(f", {word}" for word in (wish.group and f"group {wish.group}", wish.overflow) if word)
        return f"{self.process}'s subscription of '{wish.object}' '{wish.topic}'{extras}"

    @property
    def told(self) -> int:
        """Events that were missed, as it was told."""
        return sum(record.count or 0 for record in self.items if isinstance(record, Missed))

    def unknown_gaps(self) -> list[Missed]:
        return [record for record in self.items if isinstance(record, Missed) and record.count is None]

    def stretches(self) -> Iterator[Stretch]:
        """From its beginning, and from each `Gap(missed=None)`, to the next."""
        begins, since, at = 0, self.since, self.at
        for position, record in enumerate(self.items):
            if isinstance(record, Missed) and record.count is None:
                yield Stretch(self, self.items[begins:position], since, at, record.at, 0.0)
                since = self.items[position - 1].at if position else self.since
                begins, at = position + 1, record.at
        ends = min(self.life.gone, self.life.killed)
        yield Stretch(self, self.items[begins:], since, at, ends, self.settled)

    def around(self, one: Publication) -> list[AnyRecord]:
        """What came of the same process before and after it."""
        same = [record for record in self.items if isinstance(record, Got) and record.by == one.process]
        before = [record for record in same if record.number < one.number][-1:]
        after = [record for record in same if record.number > one.number][:1]
        gaps = [record for record in self.items if isinstance(record, Missed)]
        return [*before, *gaps[:5], *after]


class Stretch:
    """A part of a stream in which it is known how many were missed."""

    def __init__(
        self, stream: Stream, items: list[Got | Missed], since: float, at: float, ends: float, settled: float
    ) -> None:
        self.stream = stream
        self.items = items
        self.since = since
        self.at = at
        self.ends = ends
        self.settled = settled
        self.gaps = [position for position, record in enumerate(items) if isinstance(record, Missed)]
        self.retained: set[tuple[str, int]] = set()
        """Events that came as retained ones, by process and number."""
        self._positions: dict[tuple[str, str], dict[int, int]] = {}
        latest = stream.wish.overflow == "latest"
        for position, record in enumerate(items):
            if isinstance(record, Got) and record.retained:
                self.retained.add((record.by, record.number))
            elif isinstance(record, Got):
                key = (record.by, record.topic if latest else "")
                self._positions.setdefault(key, {}).setdefault(record.number, position)

    @property
    def told(self) -> int:
        return sum(record.count or 0 for record in self.items if isinstance(record, Missed))

    def positions(self, process: str, topic: str) -> dict[int, int]:
        """Where each event of the process came, by its number; of one topic, where only the last of each was kept."""
        return self._positions.get((process, topic), {})


def streams_of(life: Life) -> list[Stream]:
    return [Stream(life, record) for record in life.trace if isinstance(record, Subscribed)]
