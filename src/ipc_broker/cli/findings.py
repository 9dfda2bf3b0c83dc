"""What the broker tells of its state, in sentences that say what is wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from ..observation import CallState, Departure, Inspection, PublisherState, SubscriptionState
from .quantities import counted, duration, size
from .render import render_line
from .tables import described

STUCK = 1.0
"""Seconds from which on a call is worth a word: most take some thousandths."""

Topic = Literal["calls", "events", "connections", "departures"]


class Finding(Struct, frozen=True):
    """`text` is what is so, `hint` what one can do, "" where that is plain. `age` is seconds, for how long."""

    topic: Topic
    text: str
    hint: str = ""
    age: float = 0.0


def findings_of(inspection: Inspection) -> list[Finding]:
    """The calls that take longest first, then who is slow, then who has gone without a word."""
    return [
        *_stuck_calls(inspection.calls),
        *map(_slow_subscriber, inspection.behind),
        *map(_paused_publisher, inspection.publishers),
        *(
            Finding(
                "connections",
                f"{size(one.outbox)} wait to be written to {described(one)}, which does not read them",
                "look at what that program is doing; the broker disconnects it when too much waits",
            )
            for one in inspection.connections
        ),
        *(_departure(one) for one in inspection.departures if not one.expected),
    ]


def summary(inspection: Inspection) -> str:
    """One line for when there is nothing to find."""
    calls = "no call is in flight"
    if inspection.calls_total:
        oldest = max((one.age for one in inspection.calls), default=0.0)
        calls = f"{counted(inspection.calls_total, 'call')} in flight, the oldest for {duration(oldest)}"
    if inspection.direct:
        calls += f" (but for what {counted(inspection.direct, 'caller')} may call without the broker between)"
    return f"Nothing is stuck: {calls}; every subscriber keeps up."


# Calls: those of one method that are at one worker, and those that wait for room with one object, are one finding


def _stuck_calls(calls: list[CallState]) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str, str], list[CallState]] = {}
    waiting: dict[str, list[CallState]] = {}
    for one in sorted(calls, key=lambda one: -one.age):
        if one.state == "waiting for room":
            waiting.setdefault(one.object, []).append(one)
        else:
            groups.setdefault((one.object, one.method, one.worker, one.state), []).append(one)
    blamed: set[str] = set()  # objects whose waiting calls were told of
    findings: list[Finding] = []
    for group in groups.values():
        oldest = group[0]
        if oldest.age < STUCK:
            continue
        behind = [] if oldest.object in blamed else waiting.get(oldest.object, [])
        blamed.add(oldest.object)
        findings.append(_stuck(oldest, len(group) - 1, len(behind)))
    for name, group in waiting.items():
        age = group[0].age
        if name not in blamed and age >= STUCK:
            verb = "waits" if len(group) == 1 else "wait"
            text = f"{counted(len(group), 'call')} of {_quoted(name)} {verb} for room, the oldest for {duration(age)}"
            findings.append(Finding("calls", text, _ROOM, age))
    yield from sorted(findings, key=lambda one: -one.age)


_ROOM = 'its workers take no more calls at once: start another with mode="shared", or raise the concurrency they are added with'


def _stuck(oldest: CallState, others: int, waiting: int) -> Finding:
    call = f"{_quoted(oldest.method)} of {_quoted(oldest.object)}"
    worker, caller = render_line(oldest.worker), render_line(oldest.caller)
    age = duration(oldest.age)
    match oldest.state:
        case "waiting for its caller":
            text = f"the stream {call}, begun {age} ago, waits for its caller {caller}, which takes no more items"
            hint = "look at what the caller is doing; leaving the loop or the block ends a stream"
        case "given up":
            text = f"{call} is still at its worker {worker} after {age}, though its caller does not wait any more"
            hint = (
                "an `async def` method ends when it is cancelled, unless it catches that; a `def` method has to come to "
                "its end, and takes up room until then"
            )
        case _:
            text = f"{call} has been at its worker {worker} for {age}; {caller} waits for it{_patience(oldest.left)}"
            hint = "look at what the worker is doing, for example with `py-spy dump`; ended, it fails its calls at once"
    if others:
        text += f"; so it is with {counted(others, 'more call')}"
    if waiting:
        text += f"; {waiting:,} more {'waits' if waiting == 1 else 'wait'} for room there"
        hint += f"; {_ROOM}"
    return Finding("calls", text, hint, oldest.age)


def _patience(left: float | None) -> str:
    if left is None:
        return ", however long it takes"
    return f" for another {duration(left)}" if left > 0 else ""


# Events


def _slow_subscriber(one: SubscriptionState) -> Finding:
    peer = render_line(one.peer)
    what = f"{peer}, a subscriber of {render_line(one.object)} {render_line(one.topic)}"
    waits = f"{size(one.backlog)} wait for it"
    match one.state:
        case "lagging":
            text = f"{what}, has taken nothing for {duration(one.age)}: {counted(one.missed, 'event')} were dropped"
            hint = 'nobody waits for it any more; it will get a Gap. overflow="latest" or "drop_oldest" suit slow subscribers'
        case "full":
            text = f"{what}, is too slow: {waits}, and its publishers have been waiting for {duration(one.age)}"
            hint = "after limits.stall seconds without a sign of it they go on without"
        case "behind":
            text = f"{what}, is behind: {waits}"
            hint = ""
    return Finding("events", text, hint, one.age)


def _paused_publisher(one: PublisherState) -> Finding:
    text = f"{render_line(one.peer)} may not publish for now: it waits for {'; '.join(map(render_line, one.waits_for))}"
    return Finding("events", text)


# Departures


def _departure(one: Departure) -> Finding:
    reason = f": {render_line(one.reason)}" if one.reason else ""
    return Finding("departures", f"{render_line(one.peer)} was lost {duration(one.age)} ago{reason}", age=one.age)


def _quoted(name: str) -> str:
    return f"'{render_line(name)}'"
