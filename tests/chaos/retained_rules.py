"""What must be true of retained values: who subscribes gets, first of all, the last that was retained.

For a topic with a retained value that surely was routed before the subscription began, one comes, and none that is older.
That none is missing is claimed only as long as the broker was not lost in between: then its publisher brings the value back,
if it still lives.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.faults import Fault, shown
from tests.chaos.history import History
from tests.chaos.publications import Publication, Publications
from tests.chaos.streams import Stream, streams_of
from tests.chaos.traces import Got


def check_retained(history: History) -> Iterator[Fault]:
    publications = Publications(history)
    for life in history.of_kind("subscriber"):
        for stream in streams_of(life):
            for published in publications.retained.values():
                if published[0].is_for(stream.wish):
                    yield from _check_topic(history, stream, published)


def _check_topic(history: History, stream: Stream, published: list[Publication]) -> Iterator[Fault]:
    places = {(one.process, one.number): place for place, one in enumerate(published)}
    surely = [place for place, one in enumerate(published) if one.routed < stream.since]
    newest = max(surely, default=-1)
    where = f"of '{published[0].object}' '{published[0].topic}'"
    first: Got | None = None
    for record in stream.items:
        if isinstance(record, Got) and record.retained and (record.by, record.number) in places:
            first = first or record
            if places[record.by, record.number] < newest:
                last = published[newest]
                what = f"{stream.name}: the retained value {where} is event {record.number} of {record.by}, an old one"
                yield Fault("old value", what, shown(stream.process, [record]) + shown(last.process, [last.record]))
    lost = any(loss.ends >= published[newest].at and loss.begins <= stream.at for loss in history.broker_losses)
    # It stands before all else, so it has come where anything else has.
    complete = stream.settled or any(isinstance(record, Got) and not record.retained for record in stream.items)
    if newest >= 0 and first is None and complete and not lost:
        one = published[newest]
        what = f"{stream.name}: the retained value {where} has not come, which was event {one.number} of {one.process}"
        yield Fault("no value", what, shown(one.process, [one.record]))
