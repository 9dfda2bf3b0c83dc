"""What must be true of the calls of a run.

1. A call ends within its timeout and `margin`, other than with its caller's life. Time for which the caller is frozen does not
   count.
2. A result is the right one, and exactly one worker, the one that it names, has run the call, once. No call runs twice.
3. An error's code is one of the table, and fits what happened:
   - `remote_error`, `no_such_method` and `invalid_args` where the call was made to end so, and nowhere else;
   - `no_such_object` only if for a moment of the call no worker of the object surely was registered, or to a caller that is
     new at a broker that is new;
   - `worker_lost` only if one of them lost its connection or was asked to end, `cancelled` only if it was asked to end;
   - `disconnected` only if the caller lost its connection, or the broker;
   - `overloaded` only for objects whose calls wait in line;
   - `deadline_exceeded` only when the time is over, and not for a call with seconds to spare, when neither the caller nor
     any worker of the object nor the broker was touched meanwhile or shortly before.
   So calls of `safe`, by callers that nobody touches, end as they should.
4. `delivered` fits the code, and a call that is said not to be delivered was not run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.faults import Fault, shown
from tests.chaos.history import FOREVER, NOTICED, History, Life, Span
from tests.chaos.traces import AnyRecord, Called, Failed, GaveUp, Ran, Returned

MARGIN = 2.0
"""Seconds after its timeout until a call counts as one that hangs."""

TO_SPARE = 4.0
"""Seconds that a call has beyond its work, for it to be wrong that its time was over with nothing being done to anybody."""

EARLY = 0.1
"""Seconds: deadlines are kept in buckets, and the clocks are read before and after."""

DELIVERED = {
    "no_such_object": {"no"},
    "no_such_method": {"no", "yes"},
    "invalid_args": {"no", "yes"},
    "deadline_exceeded": {"no", "maybe", "yes"},
    "cancelled": {"maybe", "yes"},
    "worker_lost": {"no", "maybe"},
    "remote_error": {"yes"},
    "overloaded": {"no"},
    "disconnected": {"no", "maybe"},
}
"""What each code of the table, of those that a run can bring about, may say of the delivery."""

AnyEnd = Returned | Failed | GaveUp


def check_calls(history: History) -> Iterator[Fault]:
    runs: dict[str, list[tuple[Life, Ran]]] = defaultdict(list)
    for life in history.of_kind("worker"):
        for record in life.trace:
            if isinstance(record, Ran):
                runs[record.id].append((life, record))
    known: set[str] = set()
    for life in history.lives.values():
        ends: dict[str, AnyEnd] = {}
        for record in life.trace:
            if isinstance(record, Returned | Failed | GaveUp):
                if record.id in ends:
                    yield Fault(
                        "ended twice", f"{record.id} has ended twice", shown(life.process, [ends[record.id], record])
                    )
                ends[record.id] = record
        for record in life.trace:
            if isinstance(record, Called):
                known.add(record.id)
                yield from _check_call(history, life, record, ends.get(record.id), runs.get(record.id, []))
    for id, ran in runs.items():
        if id not in known:
            yield Fault("unknown call", f"{id} was run, and nobody has made it", shown(ran[0][0].process, [ran[0][1]]))


def _check_call(
    history: History, life: Life, call: Called, end: AnyEnd | None, runs: list[tuple[Life, Ran]]
) -> Iterator[Fault]:
    proof = shown(life.process, [call, end]) + tuple((worker.process, ran) for worker, ran in runs)

    def fault(kind: str, what: str) -> Fault:
        return Fault(kind, f"{call.object}.{call.method} ({call.id}): {what}", proof)

    if len(runs) > 1:
        yield fault("ran twice", f"it was run {len(runs)} times")
    until = end.at if end is not None else min(life.killed, life.gone, history.closing + MARGIN)
    span = Span(call.at, until)
    allowed = call.timeout + MARGIN + history.lag + life.frozen_for(span)
    took = span.ends - span.begins
    if took > allowed:
        yield fault(
            "late", f"{'it took' if end else 'no end within'} {took:.2f} s, with a timeout of {call.timeout:g} s"
        )
    elif end is None and life.killed == FOREVER:
        yield fault("no end", f"it has not ended, though its caller was not killed, after {took:.2f} s")
    if isinstance(end, Returned):
        yield from (fault("wrong result", text) for text in _wrong_result(call, end, runs))
    elif isinstance(end, Failed):
        yield from (fault(kind, text) for kind, text in _wrong_error(history, life, call, end, len(runs)))


def _wrong_result(call: Called, end: Returned, runs: list[tuple[Life, Ran]]) -> Iterator[str]:
    if end.value != call.expects:
        yield f"it returned {end.value}, not {call.expects}"
    if end.echo != call.id:
        yield f"it returned the answer to {end.echo}"
    if [worker.process for worker, _ in runs] != [end.by]:
        yield f"it was answered by {end.by}, and run by {[worker.process for worker, _ in runs] or 'nobody'}"


def _wrong_error(history: History, life: Life, call: Called, end: Failed, runs: int) -> Iterator[tuple[str, str]]:
    code, said = end.code, f"{end.code} ({end.message}; delivered {end.delivered!r})"
    if code not in DELIVERED:
        yield "unknown error", f"it ended with {said}, which nothing here brings about"
        return
    if end.delivered not in DELIVERED[code]:
        yield "wrong delivery", f"{said} does not fit its code"
    if end.delivered == "no" and runs:
        yield "ran all the same", f"{said}, but it was run"
    if code == "remote_error" and runs != 1:
        yield "wrong error", f"{said}, but it was run {runs} times"
    if not _fits(history, life, call, end):
        yield "wrong error", f"{said} does not fit what has happened"


def _fits(history: History, life: Life, call: Called, end: Failed) -> bool:
    span = Span(call.at, end.at)
    before = Span(call.at - NOTICED, end.at)
    workers = history.serving(call.object)
    if end.code == call.expects:
        return True
    match end.code:
        case "no_such_object":
            return history.is_newcomer(life, call.at) or not history.always_served(call.object, span)
        case "worker_lost":
            ends = [Span(worker.dying, worker.gone) for worker in workers if worker.dying < FOREVER]
            losses = [loss for worker in workers for loss in history.losses(worker)]
            return any(loss.meets(before) for loss in [*ends, *losses])
        case "cancelled":
            return any(Span(worker.leaving, worker.gone).meets(before) for worker in workers)
        case "disconnected":
            return any(loss.meets(before) for loss in history.losses(life))
        case "overloaded":
            return history.plan.limited(call.object)
        case "deadline_exceeded":
            if span.ends - span.begins < call.timeout - EARLY:
                return False
            if call.timeout < call.takes + TO_SPARE:
                return True
            if call.object == "safe":
                workers = [worker for worker in workers if worker.actor.mortal]
            # Those who wait in line also wait for what was done to those before them.
            lately = Span(call.at - call.timeout, end.at)
            return history.touched([life], before) or history.touched(workers, lately)
    return False


def outcomes(history: History) -> dict[str, int]:
    """How many calls ended how, for the report."""
    counted: dict[str, int] = defaultdict(int)
    for life in history.lives.values():
        for record in life.trace:
            if (name := _outcome(record)) is not None:
                counted[name] += 1
    return dict(counted)


def _outcome(record: AnyRecord) -> str | None:
    match record:
        case Returned():
            return "results"
        case GaveUp():
            return "cancelled by callers"
        case Failed():
            return record.code
    return None
