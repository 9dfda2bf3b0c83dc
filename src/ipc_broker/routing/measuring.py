"""`rob.measure`: counts calls, answers and events of each object, for as long as somebody asks for the counts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import log2
from typing import TYPE_CHECKING

from ..messages import Batch, Call, Error, Publish, Result
from ..observation import LEASE, MOST_LISTED, Measurement, ObjectMeasures
from .batches import count_of
from .inspecting import behind, connection_state, in_flight_by_object
from .peer import Peer
from .pending import PendingCall, Refusal
from .taps import Handler, Observer

if TYPE_CHECKING:
    from .router import Router

MOST_COUNTED = 10_000
"""Names that are counted: anybody can call names that there are not."""

MICROSECOND = 1e-6
_BUCKETS_BELOW_A_SECOND = -4 * log2(MICROSECOND)


class Measures(Observer):
    """Begins with the first question, and ends when none came for `LEASE` seconds."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._since = 0.0
        self._objects: dict[str, ObjectMeasures] = {}
        self._unanswered: dict[str, int] = {}  # calls of each that have ended otherwise
        self._earlier: dict[str, int] = {}  # calls of each that were in flight already

    def measure(self, now: float) -> Measurement:
        """What was counted since the first question in a row."""
        router = self._router
        in_flight = in_flight_by_object(router)
        if self.wakes_at is None:
            self._since = now
            self._earlier = {name: count for name, (count, _) in in_flight.items()}
            router.taps.add(self)
            router.timers_began = True
        self.wakes_at = now + LEASE
        for name in in_flight:
            self._of(name)
        for name, one in self._objects.items():
            one.in_flight, one.waiting = in_flight.get(name, (0, 0))
            ended = sum(one.latency.values()) + self._unanswered.get(name, 0)
            one.calls = ended + one.in_flight - self._earlier.get(name, 0)
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

    def wake(self, now: float) -> None:
        """Nobody asks any more."""
        self.wakes_at = None
        self._objects, self._unanswered, self._earlier = {}, {}, {}
        self._router.taps.remove(self)

    def _of(self, object_name: str) -> ObjectMeasures:
        one = self._objects.get(object_name)
        if one is None:
            if len(self._objects) >= MOST_COUNTED:
                return ObjectMeasures()
            one = self._objects[object_name] = ObjectMeasures()
        return one

    # What it is told

    def handlers(self, behind: Mapping[type, Handler]) -> dict[type, Handler]:
        """None for calls: how many there were is seen from those that have ended and those that are in flight."""
        return {
            Result: self._tap_answers(behind[Result]),
            Error: self._tap_answers(behind[Error]),
            Publish: self._tap_events(behind[Publish]),
            Batch: self._tap_batches(behind[Batch]),
        }

    def _tap_answers(self, behind: Handler) -> Handler:
        find = self._objects.get
        last = 0.0
        bucket = 0

        def answer(peer: Peer, message: Result | Error, frame: bytes, now: float) -> None:
            nonlocal last, bucket
            pending = peer.serving.get(message.call_id or "")
            if pending is not None and pending.caller is not None:
                name = pending.name.object_name
                one = find(name) or self._of(name)
                if type(message) is Result:
                    one.results += 1
                else:
                    one.errors += 1
                took = now - pending.started
                if took != last:  # those that came together often go together
                    last = took
                    bucket = int(4 * log2(took) + _BUCKETS_BELOW_A_SECOND) if took > MICROSECOND else 0
                latency = one.latency
                latency[bucket] = latency.get(bucket, 0) + 1
            behind(peer, message, frame, now)

        return answer

    def _tap_events(self, behind: Handler) -> Handler:
        find = self._objects.get

        def publish(peer: Peer, event: Publish, frame: bytes, now: float) -> None:
            name = event.object_name
            (find(name) or self._of(name)).events += 1  # `unpublished` takes it back where it is refused
            behind(peer, event, frame, now)

        return publish

    def _tap_batches(self, behind: Handler) -> Handler:
        find = self._objects.get

        def publish(peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
            with suppress(Refusal):  # the one behind tells why, and counts nothing either
                count = count_of(batch, peer.connection.codec)
                (find(batch.object_name) or self._of(batch.object_name)).events += count
            behind(peer, batch, frame, now)

        return publish

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        self._of(call.object_name).errors += 1
        self._end_unanswered(call.object_name)

    def unpassed(self, caller: Peer, pending: PendingCall, code: str, message: str, now: float) -> None:
        self._of(pending.object_name).errors += 1

    def cancelled(self, caller: Peer, pending: PendingCall, now: float) -> None:
        self._end_unanswered(pending.object_name)

    def _end_unanswered(self, object_name: str) -> None:
        self._of(object_name)
        if object_name in self._objects:
            self._unanswered[object_name] = self._unanswered.get(object_name, 0) + 1

    def unpublished(self, event: Publish) -> None:
        self._of(event.object_name).events -= 1

    def willed(self, owner: Peer, event: Publish, count: int, now: float) -> None:
        self._of(event.object_name).events += 1
