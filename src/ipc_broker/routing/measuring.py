"""`rob.measure`: counts calls, answers and events of each object, for as long as somebody asks for the counts."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

from ..messages import Call, Error, Publish, Result
from ..observation import LEASE, MOST_LISTED, Measurement, ObjectMeasures
from .inspecting import behind, connection_state, in_flight_by_object
from .names import BROKER_OBJECT
from .peer import Peer
from .pending import PendingCall
from .taps import Observer

if TYPE_CHECKING:
    from .router import Router

MOST_COUNTED = 10_000
"""Names that are counted: anybody can call names that there are not."""


class Measures(Observer):
    """Begins with the first question, and ends when none came for `LEASE` seconds, which is noticed by what it is told."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._until = 0.0
        self._since = 0.0
        self._counting = False
        self._objects: dict[str, ObjectMeasures] = {}

    def measure(self, now: float) -> Measurement:
        """What was counted since the first question in a row."""
        router = self._router
        if not self._counting or now > self._until:
            self._stop()
            self._counting = True
            self._since = now
            self._objects = {}
            router.taps.add(self)
        self._until = now + LEASE
        in_flight = in_flight_by_object(router)
        for name in in_flight:
            self._of(name)
        for name, one in self._objects.items():
            one.in_flight, one.waiting = in_flight.get(name, (0, 0))
        busiest = sorted(self._objects, key=self._weight, reverse=True)[:MOST_LISTED]
        quiet = [name for name in router.names if name not in self._objects][: MOST_LISTED - len(busiest)]
        peers = sorted(router.peers, key=lambda peer: (-peer.connection.queued, -len(peer.calls), peer.id))
        events = router.events
        return Measurement(
            time=round(now - router.started, 6),
            since=round(self._since - router.started, 6),
            objects={name: self._objects[name] for name in busiest} | {name: ObjectMeasures() for name in quiet},
            objects_total=len(router.names),
            connections=[connection_state(peer, now) for peer in peers[:MOST_LISTED]],
            connections_total=len(peers),
            behind=behind(router, now),
            calls_in_flight=router.calls.in_flight,
            published=events.published,
            delivered=events.delivered,
            dropped=events.backpressure.dropped,
        )

    def _weight(self, name: str) -> tuple[int, int]:
        one = self._objects[name]
        return one.in_flight, one.calls + one.events

    def _stop(self) -> None:
        if self._counting:
            self._counting = False
            self._router.taps.remove(self)

    def _of(self, object_name: str) -> ObjectMeasures:
        one = self._objects.get(object_name)
        if one is None:
            if len(self._objects) >= MOST_COUNTED:
                return ObjectMeasures()
            one = self._objects[object_name] = ObjectMeasures()
        return one

    # What it is told

    def called(self, caller: Peer, call: Call, now: float) -> None:
        if now > self._until:
            self._stop()
        elif call.object_name != BROKER_OBJECT:
            self._of(call.object_name).calls += 1

    def answered(self, worker: Peer, pending: PendingCall, answer: Result | Error, now: float) -> None:
        one = self._of(pending.object_name)
        if isinstance(answer, Error):
            one.errors += 1
        else:
            one.results += 1
        bucket = int(4 * log2(max((now - pending.started) * 1e6, 1.0)))
        latency = one.latency
        latency[bucket] = latency.get(bucket, 0) + 1

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        if call.object_name in self._objects:
            self._of(call.object_name).errors += 1

    def published(self, publisher: Peer, event: Publish, count: int, now: float) -> None:
        if now > self._until:
            self._stop()
        else:
            self._of(event.object_name).events += 1
