"""Where those who look at the bus (`rob.monitor`, `rob.measure`) are told what happens on it.

While somebody looks, the handlers of calls, answers and events stand behind those of whoever looks; when nobody does, the
broker's hot paths have nothing of this in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..messages import Batch, Call, Credit, Error, Item, Publish, Result
from .peer import Peer
from .pending import PendingCall, Refusal

if TYPE_CHECKING:
    from .watching import Watcher

Handler = Callable[[Peer, Any, bytes, float], None]

Notice = Literal["registered", "lost", "connected", "disconnected"]

TAPPED: tuple[type, ...] = (Call, Result, Error, Item, Publish, Batch)

MOST_WATCHERS = 32
"""Calls of `rob.monitor` at once: each costs the bus a little."""


class Observer:
    """Told of everything while it is among the observers; what does not concern it, it leaves as it is here.

    It must not end itself, nor anybody else, in what it is told.
    """

    wakes_at: float | None = None
    """When `wake` is to be called."""

    def wake(self, now: float) -> None:
        """Its time has come; it sets the next."""

    def handlers(self, behind: Mapping[type, Handler]) -> dict[type, Handler]:
        """Those of its own, for messages of the types `TAPPED` that concern it. Each must call the one `behind` it.
        Events come as `Publish` and as `Batch`.

        They are on the way of every message: whatever they call besides is felt.
        """
        raise NotImplementedError

    def refused(self, caller: Peer, call: Call, now: float) -> None:
        """It is not even handled, since the policy or a quota says so; `failed` tells the rest."""

    def failed(self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float) -> None:
        """The broker answered it, with an error: a call ends so, by an answer or by being cancelled, once."""

    def unpassed(self, caller: Peer, pending: PendingCall, code: str, message: str, now: float) -> None:
        """It was answered, but its caller cannot be told that: it got this error instead."""

    def cancelled(self, caller: Peer, pending: PendingCall, now: float) -> None: ...

    def unpublished(self, event: Publish) -> None:
        """What a peer wanted to publish was refused."""

    def willed(self, owner: Peer, event: Publish, count: int, now: float) -> None:
        """A last will was published; `count` subscribers got it, or will."""

    def noted(self, kind: Notice, peer: Peer, now: float, *, object_name: str = "", message: str = "") -> None: ...


class Taps:
    """`observers` is the list that others go through too."""

    def __init__(
        self,
        handlers: dict[type, Handler],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the handlers are others."""
        self._handlers = handlers
        self._changed = changed
        self._original = {kind: handlers[kind] for kind in TAPPED}
        self.observers: list[Observer] = []
        self.watchers: list[Watcher] = []
        """Those of the observers that have a stream of their own."""

    def add(self, observer: Observer) -> None:
        self.observers.append(observer)
        self.rebuild()

    def remove(self, observer: Observer) -> None:
        self.observers.remove(observer)
        self.rebuild()

    def rebuild(self) -> None:
        """An observer gives other handlers than before."""
        handlers = dict(self._original)
        for observer in self.observers:
            handlers |= observer.handlers(handlers)
        self._handlers |= handlers
        self._changed()

    def unpublished(self, event: Publish) -> None:
        for observer in self.observers:
            observer.unpublished(event)

    # The watchers

    def watch(self, watcher: Watcher) -> None:
        """Raises Refusal."""
        peer, call_id = watcher.peer, watcher.call_id
        if not call_id.startswith(peer.prefix):
            message = f"the call id {call_id!r} does not begin with {peer.prefix!r}, as agreed in hello"
            raise Refusal("invalid_args", message)
        if call_id in peer.calls or any(one.call_id == call_id for one in self._of(peer)):
            raise Refusal("invalid_args", f"the call id {call_id!r} is in flight; use a new one for each call")
        if len(self.watchers) >= MOST_WATCHERS:
            raise Refusal(
                "overloaded", f"{MOST_WATCHERS} watch already, which is the limit; see what runs `rob monitor`"
            )
        self.watchers.append(watcher)
        self.add(watcher)

    def unwatch(self, peer: Peer, call_id: str) -> None:
        """The peer's call has ended, if it was one that watches."""
        for watcher in self._of(peer):
            if watcher.call_id == call_id:
                self._end(watcher)

    def credit(self, peer: Peer, credit: Credit, now: float) -> None:
        for watcher in self._of(peer):
            if watcher.call_id == credit.call_id:
                watcher.add_credit(credit.bytes, now)

    def peer_gone(self, peer: Peer) -> None:
        """May be called again."""
        for watcher in self._of(peer):
            self._end(watcher)

    def _end(self, watcher: Watcher) -> None:
        self.watchers.remove(watcher)
        self.remove(watcher)

    def end_watching(self, peer: Peer) -> list[str]:
        """Gives the ids of its calls, for whoever tells it why."""
        ended = [watcher.call_id for watcher in self._of(peer)]
        self.peer_gone(peer)
        return ended

    def _of(self, peer: Peer) -> list[Watcher]:
        return [watcher for watcher in self.watchers if watcher.peer is peer]

    # Their time

    def next_deadline(self) -> float | None:
        if not self.observers:
            return None
        return min((one.wakes_at for one in self.observers if one.wakes_at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for observer in [*self.observers]:
            if observer.wakes_at is not None and observer.wakes_at <= now:
                observer.wake(now)
