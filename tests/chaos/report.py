"""What is said of a run."""

from __future__ import annotations

from collections import Counter

import msgspec

from tests.chaos.call_rules import outcomes
from tests.chaos.faults import Fault
from tests.chaos.history import FOREVER, History
from tests.chaos.plan import Plan
from tests.chaos.publications import Publications
from tests.chaos.traces import Got, Missed

MOST_FAULTS = 10
"""That are told in full."""


def summary(history: History) -> str:
    deeds = Counter(deed.what for deed in history.deeds)
    done = ", ".join(f"{count} {what}" for what, count in sorted(deeds.items()))
    calls = ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes(history).items(), key=lambda one: -one[1]))
    published = [one for events in Publications(history).of.values() for one in events.values()]
    unknown = sum(one.routed == FOREVER for one in published)
    records = [record for life in history.of_kind("subscriber") for record in life.trace]
    got = sum(isinstance(record, Got) for record in records)
    gaps = [record for record in records if isinstance(record, Missed)]
    missed = sum(gap.count or 0 for gap in gaps)
    lines = [
        f"done: {done}; woken {history.lag * 1000:.0f} ms late at the most",
        f"calls: {calls}",
        f"events: {len(published):,} published, of {unknown} it is not known that they were routed; {got:,} came;"
        f" {len(gaps)} gaps tell of {missed:,}, {sum(gap.count is None for gap in gaps)} do not know",
    ]
    if history.broker is not None:
        (rss, rss_after), (descriptors, descriptors_after) = history.broker.rss, history.broker.descriptors
        grown = (rss_after - rss) / 1024
        lines.append(
            f"broker: {rss // 1024:,} KiB {grown:+,.0f}, {descriptors} descriptors {descriptors_after - descriptors:+d}"
        )
    return "\n".join(lines)


def describe(faults: list[Fault], history: History) -> str:
    """All that is known of what went wrong: the faults, their records, what was done to those concerned, the plan."""
    zero = min((deed.since for deed in history.deeds), default=0.0)
    kinds = Counter(fault.kind for fault in faults)
    lines = ["faults: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())]
    # First one of each kind.
    firsts = list({fault.kind: fault for fault in reversed(faults)}.values())
    for fault in [*firsts, *(fault for fault in faults if fault not in firsts)][:MOST_FAULTS]:
        lines += ["", f"[{fault.kind}] {fault.what}"]
        for process, record in fault.shows:
            lines.append(f"   {record.at - zero:8.3f} {process}: {msgspec.json.encode(record).decode()}")
        for process in dict.fromkeys(process for process, _ in fault.shows):
            deeds = [deed for deed in history.deeds if deed.process == process]
            done = ", ".join(f"{deed.what} {deed.since - zero:.3f}" for deed in deeds)
            lines.append(f"   {process} was given: {done}")
    lines += ["", f"the plan, which began at {_began(history) - zero:.3f}:", history.plan.describe()]
    return "\n".join(lines)


def command(plan: Plan) -> str:
    """Plays the same plan again."""
    words = [f"--seconds {plan.seconds:g} --seed {plan.seed} --broker {'restarts' if plan.restarts else 'stays'}"]
    return f"make chaos ARGS='{' '.join(words)}'"


def _began(history: History) -> float:
    """When all had been started, and the plan's clock with that."""
    done_to = {action.actor for action in history.plan.actions}
    spared = [life.ready for life in history.lives.values() if life.actor.name not in done_to]
    return max((ready for ready in spared if ready < history.calm), default=0.0)
