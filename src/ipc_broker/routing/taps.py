"""Where those who look at the bus (`rob.monitor`, `rob.measure`) are told what happens on it.

While somebody looks, the handlers of calls, answers and events stand behind ones that tell first; when nobody does, the
broker's hot paths have nothing of this in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..messages import Call, Credit, Error, Item, Publish, Result
from .peer import Peer
from .pending import PendingCall

if TYPE_CHECKING:
    from .router import Router
    from .watching import Watcher

Handler = Callable[[Peer, Any, bytes, float], None]


class Observer:
    """Told of everything while it is among the observers; what does not concern it, it leaves as it is here."""

    def called(self, caller: Peer, call: Call, now: float) -> None:
        """Also when it is refused, which `failed` tells."""

    def streamed(self, worker: Peer, pending: PendingCall, item: Item, now: float) -> None: ...

    def answered(self, worker: Peer, pending: PendingCall, answer: Result | Error, now: float) -> None: ...

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        """The broker answered it, with an error."""

    def cancelled(self, caller: Peer, pending: PendingCall, now: float) -> None: ...

    def published(self, publisher: Peer, event: Publish, count: int, now: float) -> None:
        """`count` subscribers got it, or will."""

    def noted(self, kind: str, peer: Peer, now: float, *, object_name: str = "", message: str = "") -> None:
        """`kind` is "registered", "lost", "connected" or "disconnected"."""


class Taps:
    """`observers` is the list that others go through too."""

    def __init__(self, router: Router, handlers: dict[type, Handler]) -> None:
        self._router = router
        self._handlers = handlers
        self._behind: dict[type, Handler] = {kind: handlers[kind] for kind in (Call, Result, Error, Item, Publish)}
        self.observers: list[Observer] = []
        self.watchers: list[Watcher] = []
        """Those of the observers that have a stream of their own."""

    def add(self, observer: Observer) -> None:
        if not self.observers:
            self._handlers |= {
                Call: self._call,
                Result: self._answer,
                Error: self._answer,
                Item: self._item,
                Publish: self._publish,
            }
        self.observers.append(observer)

    def remove(self, observer: Observer) -> None:
        self.observers.remove(observer)
        if not self.observers:
            self._handlers |= self._behind

    # What stands before the handlers

    def _call(self, peer: Peer, call: Call, frame: bytes, now: float) -> None:
        for observer in [*self.observers]:
            observer.called(peer, call, now)
        self._behind[Call](peer, call, frame, now)

    def _answer(self, peer: Peer, answer: Result | Error, frame: bytes, now: float) -> None:
        pending = peer.serving.get(answer.call_id) if answer.call_id is not None else None
        if pending is not None and pending.caller is not None:
            for observer in self.observers:
                observer.answered(peer, pending, answer, now)
        self._behind[type(answer)](peer, answer, frame, now)

    def _item(self, peer: Peer, item: Item, frame: bytes, now: float) -> None:
        pending = peer.serving.get(item.call_id)
        if pending is not None and pending.caller is not None:
            for observer in self.observers:
                observer.streamed(peer, pending, item, now)
        self._behind[Item](peer, item, frame, now)

    def _publish(self, peer: Peer, event: Publish, frame: bytes, now: float) -> None:
        events = self._router.events
        published, delivered = events.published, events.delivered
        self._behind[Publish](peer, event, frame, now)
        if events.published != published:
            for observer in [*self.observers]:
                observer.published(peer, event, events.delivered - delivered, now)

    # The watchers

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)
        self.add(watcher)

    def unwatch(self, peer: Peer, call_id: str) -> None:
        """The peer's call has ended, if it was one that watches."""
        for watcher in self._of(peer):
            if watcher.call_id == call_id:
                self.watchers.remove(watcher)
                self.remove(watcher)

    def credit(self, peer: Peer, credit: Credit, now: float) -> None:
        for watcher in self._of(peer):
            if watcher.call_id == credit.call_id:
                watcher.add_credit(credit.bytes, now)

    def peer_gone(self, peer: Peer) -> None:
        for watcher in self._of(peer):
            self.watchers.remove(watcher)
            self.remove(watcher)

    def _of(self, peer: Peer) -> list[Watcher]:
        return [watcher for watcher in self.watchers if watcher.peer is peer]

    def next_deadline(self) -> float | None:
        deadlines = [watcher.tells_at for watcher in self.watchers if watcher.tells_at is not None]
        return min(deadlines, default=None)

    def handle_timer(self, now: float) -> None:
        for watcher in self.watchers:
            if watcher.tells_at is not None and watcher.tells_at <= now:
                watcher.tell_missed(now)
