"""The steady load: what is called, published and subscribed, and how often."""

from __future__ import annotations

from ipc_broker import Event, Gap
from tests.soak.reports import Tally

OBJECT = "soak"
PUBLISHERS = ("asyncio", "blocking")
WILLS = "lives.gone"
GROUP = "soak"

PERIOD = 0.02
"""Seconds between two rounds of a client, each of which calls and publishes what stands below."""

STREAM_EVERY = 25
RETAIN_EVERY = 10
LARGE_EVERY = 50
"""Rounds."""

CALLS = (("plain", "add"), ("plain", "add_in_thread"), ("shared", "add"), ("capped", "slow_add"))
"""Objects of the worker and their methods, all of which add a to b."""

ITEMS = 100
SMALL, LARGE = "x" * 20, "x" * 20_000


class Intake:
    """Holds the events of one subscription against the numbers that are due from each publisher.

    A member of a group gets some of them only, in their order. `ended` has the topics whose publisher has published its last.
    """

    def __init__(self, tally: Tally, what: str, *, group: bool = False) -> None:
        self.received = 0
        self.ended: set[str] = set()
        self._tally = tally
        self._what = what
        self._group = group
        self._due: dict[str, int] = {}

    def take(self, event: Event | Gap) -> None:
        if isinstance(event, Gap):
            self._tally.fault(f"{self._what}: {event.missed} events were lost: {event!r}")
            return
        self._tally.event()
        number, last = event.value["number"], event.value["last"]
        # Who subscribes while others publish already begins where they are.
        due = self._due.get(event.topic, number)
        if number < due or (number > due and not self._group):
            self._tally.fault(f"{self._what}: {event.topic} {due} was due, {number} came")
        self._due[event.topic] = number + 1
        self.received += 1
        if last:
            self.ended.add(event.topic)


def value(number: int, *, last: bool = False) -> dict[str, object]:
    return {"number": number, "last": last, "filler": LARGE if number % LARGE_EVERY == 0 else SMALL}
