"""Callers and workers that talk without the broker between them: who may, and when that ends.

The broker tells a caller where a worker listens, and a worker which caller may come. What is said there it does not see: so
only where it has nothing to decide (one worker of a name, without a cap; nobody who is restricted or counted), and
only while nobody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages import Direct, DirectEnded, DirectOffer, Served
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router


class _Path(NamedTuple):
    caller: Peer
    worker: Peer
    object_name: str


MOST_SERVED = 2**32
"""Calls that are believed of one message: sums of more would be no numbers any more that can be sent."""


class Directs:
    """All paths that were admitted, as long as both ends are there and the object is served as it was."""

    __slots__ = ("_of_object", "_of_peer", "_router", "allowed", "leaving")

    def __init__(self, router: Router) -> None:
        self.allowed = True
        """By the configuration."""
        self._router = router
        self._of_peer: dict[Peer, set[_Path]] = {}  # at either end
        self._of_object: dict[str, set[_Path]] = {}
        self.leaving: set[Peer] = set()
        """Workers that were told to take no more, and have not said yet that all that they had is answered."""

    def offer(self, caller: Peer, object_name: str) -> DirectOffer | None:
        """Where the object's worker can be called directly, by this caller and now."""
        worker = self._worker_for(caller, object_name)
        if worker is None or worker.credentials.pid is None:
            return None
        return DirectOffer(worker.direct_address, worker.credentials.pid)

    def begin(self, caller: Peer, wish: Direct, frame: bytes, now: float) -> None:
        """What the caller calls from now on does not come by here. Its worker waits for this word."""
        worker = self._worker_for(caller, wish.object_name)
        if worker is None or worker.direct_address != wish.address:
            caller.connection.send(DirectEnded(wish.address, refused=True))
            return
        path = _Path(caller, worker, wish.object_name)
        self._of_object.setdefault(wish.object_name, set()).add(path)
        for end in (caller, worker):
            self._of_peer.setdefault(end, set()).add(path)
        self._router.calls.introduce(caller, worker)
        worker.connection.send(Direct(wish.object_name, wish.address, caller.prefix, caller.credentials.pid or 0))

    def _worker_for(self, caller: Peer, object_name: str) -> Peer | None:
        name = self._router.names.find(object_name)
        registration = None if name is None else name.sole
        if registration is None or registration.mode == "shared" or not self.allowed:
            return None
        if self._router.observers or self._router.stopping:
            return None
        worker = registration.peer
        told_of_callers = "caller" in worker.features  # and of those who are gone
        suits = worker.direct_address and told_of_callers and worker is not caller and _may(caller) and _may(worker)
        return worker if suits else None

    def served(self, worker: Peer, message: Served, frame: bytes, now: float) -> None:
        if worker.direct_address and _may(worker):
            totals = self._router.totals
            calls = min(message.calls, MOST_SERVED)
            errors = min(message.errors, calls)
            totals.calls += calls
            totals.results += calls - errors
            totals.errors += errors

    def ended(self, worker: Peer, message: DirectEnded, frame: bytes, now: float) -> None:
        """It has answered all that it was called for directly."""
        self.leaving.discard(worker)

    def name_changed(self, object_name: str) -> None:
        """Somebody serves the object, or serves it no more, or otherwise. To be called after every such change."""
        ended = {path.worker for path in self._of_object.get(object_name, ()) if not self._holds(path)}
        for path in [path for worker in ended for path in self._of_peer[worker] if path.worker is worker]:
            self._forget(path)
        self._end(ended)

    def _holds(self, path: _Path) -> bool:
        return self._worker_for(path.caller, path.object_name) is path.worker

    def end_all(self) -> None:
        """From now on all calls come by here."""
        workers = {path.worker for paths in self._of_object.values() for path in paths}
        self._of_object.clear()
        self._of_peer.clear()
        self._end(workers)

    def _end(self, workers: set[Peer]) -> None:
        for worker in sorted(workers, key=lambda worker: worker.id):
            self.leaving.add(worker)
            worker.connection.send(DirectEnded())

    def of(self, object_name: str) -> int:
        """How many callers call the object directly, or did and may again."""
        return len(self._of_object.get(object_name, ()))

    @property
    def callers(self) -> int:
        """How many do of any object."""
        return len({path.caller for paths in self._of_object.values() for path in paths})

    def peer_gone(self, peer: Peer) -> None:
        """May be called again. Its callers learn it; its workers do by `CallerGone`."""
        self.leaving.discard(peer)
        for path in list(self._of_peer.get(peer, ())):
            self._forget(path)
            if path.worker is peer:
                path.caller.connection.send(DirectEnded(peer.direct_address))

    def _forget(self, path: _Path) -> None:
        _discard(self._of_object, path.object_name, path)
        for end in (path.caller, path.worker):
            _discard(self._of_peer, end, path)


def _discard(paths: dict[Any, set[_Path]], key: object, path: _Path) -> None:
    left = paths.get(key)
    if left is not None:
        left.discard(path)
        if not left:
            del paths[key]


def _may(peer: Peer) -> bool:
    return "direct" in peer.features and peer.is_unchecked
