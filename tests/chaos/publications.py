"""What was published in a run, and what of it the broker has routed, as far as that can be known.

A publisher counts its events. One of them, at number n, has *surely been routed* by a moment t, when

- `publish(ack=True)` of it returned before t; or
- a `drain()` that was begun after it returned before t, unless an earlier `drain` has said in between that it may be lost; or
- somebody has got it before t; or
- somebody has got a later event of the same process before t, and that process had not lost its connection since it
  published n: a connection is read in its order.

All other events may have been lost, which can only be when the process was killed, or lost its connection, after it published
them: without that, the `drain` at its end proves them routed. Where the connection of a publisher breaks, at most what it had
published and not got acknowledged is lost: it is the end of what was published before the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from tests.chaos.history import FOREVER, History, Life, Span
from tests.chaos.plan import Subscribes
from tests.chaos.traces import Acknowledged, Drained, Got, NotDrained, NotPublished, Publishing


class Publication:
    """One event. `routed` is when it surely had been, FOREVER when nobody can tell that it was."""

    __slots__ = ("at", "number", "object", "process", "record", "refused", "retain", "routed", "topic")

    def __init__(self, process: str, record: Publishing) -> None:
        self.process = process
        self.record = record
        self.number = record.number
        self.at = record.at
        self.object = record.object
        self.topic = record.topic
        self.retain = record.retain
        self.routed = FOREVER
        self.refused: NotPublished | None = None

    def is_for(self, wish: Subscribes) -> bool:
        return matches(wish.object, self.object) and matches(wish.topic, self.topic)


class Publications:
    """All of a run, by process and number."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.of: dict[str, dict[int, Publication]] = {}
        got = self._first_got()
        for life in history.of_kind("publisher"):
            published = {
                record.number: Publication(life.process, record)
                for record in life.trace
                if isinstance(record, Publishing)
            }
            self.of[life.process] = published
            _acknowledge(life, published)
            _conclude(history.losses(life), published, got.get(life.process, {}))

    def _first_got(self) -> dict[str, dict[int, float]]:
        """When each event was first got, by anybody."""
        got: dict[str, dict[int, float]] = defaultdict(dict)
        for life in self._history.of_kind("subscriber"):
            for record in life.trace:
                if isinstance(record, Got):
                    times = got[record.by]
                    times[record.number] = min(times.get(record.number, FOREVER), record.at)
        return got

    def find(self, process: str, number: int) -> Publication | None:
        return self.of.get(process, {}).get(number)

    def matching(self, wish: Subscribes) -> Iterator[tuple[str, list[Publication]]]:
        """By process, in their order."""
        for process, published in self.of.items():
            found = [one for one in published.values() if one.is_for(wish)]
            if found:
                yield process, found

    @cached_property
    def retained(self) -> dict[tuple[str, str], list[Publication]]:
        """By object and topic, which has one publisher: in the order of its processes, and of their events."""
        found: dict[tuple[str, str], list[Publication]] = defaultdict(list)
        for life in sorted(self._history.of_kind("publisher"), key=lambda life: life.born):
            for one in self.of[life.process].values():
                if one.retain:
                    found[one.object, one.topic].append(one)
        return found

    def unproved(self) -> list[Publication]:
        """That nobody knows to be routed, though their publisher has lost nothing after it published them."""
        found: list[Publication] = []
        for process, published in self.of.items():
            life = self._history.lives[process]
            last_loss = max((loss.ends for loss in self._history.losses(life)), default=0.0)
            found += [
                one
                for one in published.values()
                if one.routed == FOREVER and one.at > last_loss and one.refused is None
            ]
        return found


def _acknowledge(life: Life, published: dict[int, Publication]) -> None:
    """What the publisher itself was told."""
    drained = 0  # up to this number it is known what drains say
    for record in life.trace:
        match record:
            case Acknowledged():
                one = published[record.number]
                one.routed = min(one.routed, record.at)
            case NotPublished():
                published[record.number].refused = record
            case NotDrained():
                if record.code == "disconnected":
                    drained = record.number
            case Drained():
                for number in range(drained + 1, record.number + 1):
                    one = published[number]
                    if one.refused is None:
                        one.routed = min(one.routed, record.at)
                drained = record.number


def _conclude(losses: Iterable[Span], published: dict[int, Publication], got: dict[int, float]) -> None:
    """From what others got."""
    later = FOREVER  # when this one or a later one was first got
    earlier = sorted(losses, key=lambda loss: loss.ends)
    loss = FOREVER  # when the first that may have taken this one along began
    for number in sorted(published, reverse=True):
        one = published[number]
        while earlier and earlier[-1].ends >= one.at:
            loss = min(loss, earlier.pop().begins)
        later = min(later, got.get(number, FOREVER))
        one.routed = min(one.routed, got.get(number, FOREVER))
        if later <= loss:
            one.routed = min(one.routed, later)


def matches(pattern: str, name: str) -> bool:
    """As the broker's patterns: `*` stands for one segment, `>` at the end for one or more."""
    wanted, segments = pattern.split("."), name.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        return len(segments) > len(wanted) and _same(wanted, segments)
    return len(segments) == len(wanted) and _same(wanted, segments)


def _same(wanted: list[str], segments: list[str]) -> bool:
    return all(one in ("*", segment) for one, segment in zip(wanted, segments, strict=False))
