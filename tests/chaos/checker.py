"""Judges a run. A pure function of its history: what was planned and done, and what everybody has written down.

The rules are in the docstrings of call_rules.py, event_rules.py and retained_rules.py, and here:

1. No process ends without being asked to, is surprised by anything, or ends with another status than 0 when it was asked.
2. In the calm, when nothing more is done to anybody, everybody is back within `RETURN` seconds: callers get results, of every
   object that they call; publishers publish; subscribers get events that are published then.
3. In the end the broker has what it had in the beginning: descriptors, memory (`MOST_GROWTH` more at the most), connections but
   the one that asks, no objects, subscriptions and calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tests.chaos.call_rules import check_calls
from tests.chaos.event_rules import check_events
from tests.chaos.faults import Fault, shown
from tests.chaos.history import FOREVER, RETURN, History, Life
from tests.chaos.publications import Publications
from tests.chaos.retained_rules import check_retained
from tests.chaos.traces import Called, Got, Returned, Surprise

MOST_GROWTH = 8 * 1024 * 1024
"""Bytes of memory that a broker may hold more in the end: what Python keeps for later."""


def check(history: History) -> list[Fault]:
    return list(
        chain(
            check_ends(history),
            check_calls(history),
            check_events(history),
            check_retained(history),
            check_return(history),
            check_broker(history),
        )
    )


def check_ends(history: History) -> Iterator[Fault]:
    for process in history.died:
        said = next((end.said for end in history.ends if end.process == process), ())
        yield Fault("died", "\n".join([f"{process} has ended without being asked to; it said:", *said]))
    for life in history.lives.values():
        for record in life.trace:
            if isinstance(record, Surprise):
                yield Fault("surprise", f"{life.process}: {record.what.rstrip()}", shown(life.process, [record]))
    for end in history.ends:
        life = history.lives[end.process]
        if end.status and life.killed == FOREVER and end.process not in history.died:
            text = f"{end.process} was asked to end, and ended with status {end.status}; it said:"
            yield Fault("bad end", "\n".join([text, *end.said]))
        elif any("Traceback" in line for line in end.said):
            yield Fault("traceback", "\n".join([f"{end.process} said:", *end.said]))


def check_return(history: History) -> Iterator[Fault]:
    back = history.calm + RETURN
    if history.closing < back:
        return
    publications = Publications(history)
    for life in history.lives.values():
        if life.dying < history.closing:
            continue
        if life.actor.kind == "publisher":
            last = max(
                (one.routed for one in publications.of[life.process].values() if one.routed < FOREVER), default=0.0
            )
            if last < history.calm:
                yield _not_back(life, "nothing that it has published since was routed")
        if life.actor.calls:
            yield from _callers_back(history, life)
        if life.actor.kind == "subscriber":
            yield from _subscribers_back(history, life, publications)


def _callers_back(history: History, life: Life) -> Iterator[Fault]:
    objects = {
        record.id: record.object for record in life.trace if isinstance(record, Called) and record.at >= history.calm
    }
    served = {objects[record.id] for record in life.trace if isinstance(record, Returned) and record.id in objects}
    for object in life.actor.calls:
        # Of few calls all may be such that are to fail.
        if object not in served and list(objects.values()).count(object) >= 10:
            yield _not_back(life, f"no call of '{object}' has given a result since")
    if not objects:
        yield _not_back(life, "it has called nothing since")


def _subscribers_back(history: History, life: Life, publications: Publications) -> Iterator[Fault]:
    for number, wish in enumerate(life.actor.subscribes):
        if wish.group:
            continue  # others may have been chosen
        got = [record for record in life.trace if isinstance(record, Got) and record.subscription == number]
        newest = max((one.at for record in got if (one := publications.find(record.by, record.number))), default=0.0)
        published = [
            one
            for events in publications.of.values()
            for one in events.values()
            if one.at >= history.calm + RETURN and one.routed < FOREVER and one.is_for(wish)
        ]
        if len(published) >= 5 and newest < history.calm:
            yield _not_back(life, f"nothing that was published since has come for '{wish.object}' '{wish.topic}'")


def _not_back(life: Life, what: str) -> Fault:
    return Fault("not back", f"{life.process} has not come back after nothing more was done to anybody: {what}")


def check_broker(history: History) -> Iterator[Fault]:
    seen = history.broker
    if seen is None:
        return
    for name, expected in {
        "connections": 1,
        "objects": 0,
        "subscriptions": 0,
        "calls_in_flight": 0,
        "calls_waiting": 0,
    }.items():
        if seen.stats[name] != expected:
            yield Fault("left over", f"the broker has {seen.stats[name]} {name} when all have gone, not {expected}")
    if history.broker_losses:
        return  # it is another process than in the beginning
    before, after = seen.descriptors
    if before != after:
        yield Fault("descriptors", f"the broker holds {after} descriptors when all have gone, and had {before}")
    before, after = seen.rss
    if after - before > MOST_GROWTH:
        yield Fault("memory", f"the broker holds {after:,} bytes when all have gone, and had {before:,}")
