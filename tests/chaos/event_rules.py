"""What must be true of the events of a run, for each subscription of each process.

1. Only what was published comes, only where it matches, and nothing whose `publish` failed with `delivered="no"`.
2. Nothing comes twice; what one process published comes in its order (of one topic, where `overflow="latest"`).
3. A subscription must get, or be told by a `Gap` that it missed, every matching event that was surely routed
   (publications.py says what that is) and
   - published after its `subscribe` had returned, or later than something that it has got of the same process; and
   - published before something that it has got of the same process, or surely routed when the subscription settled
     (subscriber.py): the end of what a killed subscriber would have got is lost with it.
   A `Gap` must stand between the events around those that are missing, and all numbers together must be that of what is
   missing. Besides these a `Gap` may only count events of which it is not known that they were routed, or not whether before
   or after the subscription began; where there are none the sum must be exact. An event that came as a retained one is not
   missing: it may have been lost on its way to a broker, and its publisher has given it to the next one as that.
4. `Gap(missed=None)` comes only after the broker was lost, or a connection for longer than it counts for. It stands for
   everything before it, which begins anew then.
5. A group is one subscription with several members: no event goes to two of them. What is missing must be told by a `Gap`, or
   a member was lost, or asked to end, after the event was published: what was on its way to it goes with it.
6. With the end of its publisher proved (it has drained, and lost nothing since), no event is left of which nobody knows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.faults import Fault, shown
from tests.chaos.history import FOREVER, NOTICED, History, Span
from tests.chaos.publications import Publication, Publications
from tests.chaos.streams import Stream, Stretch, streams_of
from tests.chaos.traces import AnyRecord, Got


def check_events(history: History) -> Iterator[Fault]:
    publications = Publications(history)
    streams = [stream for life in history.of_kind("subscriber") for stream in streams_of(life)]
    for stream in streams:
        yield from _check_what_came(stream, publications)
        yield from _check_unknown_gaps(history, stream)
        if not stream.wish.group:
            for stretch in stream.stretches():
                yield from _check_what_is_missing(history, stretch, publications)
    groups: dict[tuple[str, str, str], list[Stream]] = defaultdict(list)
    for stream in streams:
        if stream.wish.group:
            groups[stream.wish.object, stream.wish.topic, stream.wish.group].append(stream)
    for members in groups.values():
        yield from _check_group(history, members, publications)
    for one in publications.unproved():
        life = history.lives[one.process]
        if life.killed == FOREVER:
            what = f"event {one.number} of {one.process} was published and drained, and nobody knows that it was routed"
            yield Fault("not routed", what, shown(one.process, [one.record]))


def _check_what_came(stream: Stream, publications: Publications) -> Iterator[Fault]:
    def fault(kind: str, what: str, *records: AnyRecord | None) -> Fault:
        return Fault(kind, f"{stream.name}: {what}", shown(stream.process, records))

    got: dict[tuple[str, int], Got] = {}
    last: dict[tuple[str, str], Got] = {}
    for record in stream.items:
        if not isinstance(record, Got):
            continue
        one = publications.find(record.by, record.number)
        text = f"event {record.number} of {record.by}"
        if one is None:
            yield fault("never published", f"{text} came, and was never published", record)
            continue
        if not one.is_for(stream.wish) or (one.object, one.topic) != (record.object, record.topic):
            yield fault("wrong event", f"{text} came as '{record.object}' '{record.topic}'", record, one.record)
        if one.refused is not None and one.refused.delivered == "no":
            yield fault("came all the same", f"{text} came, though its publish was refused", record, one.refused)
        if record.retained:
            continue
        if (earlier := got.get((record.by, record.number))) is not None:
            yield fault("twice", f"{text} came twice", earlier, record)
            continue
        got[record.by, record.number] = record
        key = (record.by, record.topic if stream.wish.overflow == "latest" else "")
        before = last.get(key)
        if before is not None and before.number > record.number:
            yield fault("order", f"{text} came after event {before.number}", before, record)
        last[key] = record


def _check_unknown_gaps(history: History, stream: Stream) -> Iterator[Fault]:
    losses = history.losses(history.lives[stream.process])
    for record in stream.unknown_gaps():
        broker = any(loss.begins <= record.at for loss in history.broker_losses)
        long = any(loss.begins <= record.at and record.at - loss.begins > history.plan.resume * 0.8 for loss in losses)
        if not broker and not long:
            what = "nobody knows how many it missed, though the broker was there all the time"
            yield Fault("unknown gap", f"{stream.name}: {what}", shown(stream.process, [record]))


def _check_what_is_missing(history: History, stretch: Stretch, publications: Publications) -> Iterator[Fault]:
    stream = stretch.stream
    missing = possible = 0
    for process, published in publications.matching(stream.wish):
        topics = {one.topic for one in published} if stream.wish.overflow == "latest" else {""}
        for topic in topics:
            events = [one for one in published if not topic or one.topic == topic]
            lost, unsure = _missing_of(stretch, process, topic, events)
            missing += len(lost)
            possible += unsure
            positions = stretch.positions(process, topic)
            numbers = sorted(positions)
            for one in lost:
                place = bisect_left(numbers, one.number)
                before = positions[numbers[place - 1]] if place else -1
                after = positions[numbers[place]] if place < len(numbers) else len(stretch.items)
                if not any(before < gap < after for gap in stretch.gaps):
                    yield _lost(stream, one, "without a Gap in its place")
                    break
    told = stretch.told
    retained = len(publications.retained) if history.losses(history.lives[stream.process]) else 0
    if not missing <= told <= missing + possible + retained:
        expected = str(missing) if not possible + retained else f"{missing} to {missing + possible + retained}"
        what = f"{stream.name}: {told} events are missing, its Gaps say, but it is {expected}"
        yield Fault("wrong gap", what, shown(stream.process, [stretch.items[gap] for gap in stretch.gaps]))


def _missing_of(stretch: Stretch, process: str, topic: str, events: list[Publication]) -> tuple[list[Publication], int]:
    """The events that must have come and did not, and how many others may have been for this stretch."""
    got = stretch.positions(process, topic)
    first, last = min(got, default=FOREVER), max(got, default=0)
    lost: list[Publication] = []
    unsure = 0
    for one in events:
        if one.number in got or (process, one.number) in stretch.retained:
            continue
        began = one.at >= stretch.at or one.number > first
        ended = one.number < last or one.routed <= stretch.settled
        if one.routed < FOREVER and began and ended:
            lost.append(one)
        elif one.routed >= stretch.since and one.at <= stretch.ends:
            unsure += 1
    return lost, unsure


def _check_group(history: History, members: list[Stream], publications: Publications) -> Iterator[Fault]:
    got: dict[tuple[str, int], tuple[Stream, Got]] = {}
    for stream in members:
        for record in stream.items:
            if not isinstance(record, Got) or record.retained:
                continue
            other = got.setdefault((record.by, record.number), (stream, record))
            if other[0] is not stream:
                what = f"event {record.number} of {record.by} went to two members: {other[0].name}, {stream.name}"
                proof = shown(other[0].process, [other[1]]) + shown(stream.process, [record])
                yield Fault("twice", what, proof)
    told = sum(stream.told for stream in members)
    excused = any(stream.unknown_gaps() for stream in members)
    lost: list[Publication] = []
    unsure = 0
    for process, published in publications.matching(members[0].wish):
        for one in published:
            if (process, one.number) in got:
                continue
            if one.routed < FOREVER and _group_lost(history, members, one):
                lost.append(one)
            else:
                unsure += 1
    if len(lost) > told and not excused:
        yield _lost(members[0], lost[0], f"with {len(lost) - 1} others, by its group, whose Gaps tell of {told}")
    if told > len(lost) + unsure:
        what = f"the group of {members[0].name}: its Gaps tell of {told} events, but at most {len(lost) + unsure} are missing"
        yield Fault("wrong gap", what)


def _group_lost(history: History, members: list[Stream], one: Publication) -> bool:
    """Whether no loss of a member explains that none has got the event, which was surely routed."""
    remaining: list[Stream] = []
    for stream in members:
        life = history.lives[stream.process]
        if life.dying >= history.closing:
            remaining.append(stream)
        harms = history.losses(life)
        if life.dying < history.closing:
            harms.append(Span(life.dying, life.gone + NOTICED))
        if stream.since <= one.routed and any(one.at <= harm.ends for harm in harms):
            return False
    # When all who are left have settled, nobody's share is on its way any more.
    return any(stream.at <= one.at for stream in remaining) and all(
        one.routed <= stream.settled for stream in remaining
    )


def _lost(stream: Stream, one: Publication, how: str) -> Fault:
    what = f"{stream.name}: event {one.number} of {one.process} ('{one.object}' '{one.topic}') was lost {how}"
    return Fault("lost", what, shown(one.process, [one.record]) + shown(stream.process, stream.around(one)))
