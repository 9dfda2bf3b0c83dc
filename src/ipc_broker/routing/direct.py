"""Callers and workers that talk without the broker between them: who may, and when that ends.

The broker tells a caller where a worker listens, and a worker which caller may come. What is said there it does not see: so
only where it has nothing to decide (one worker of a name, without a cap; nobody who is restricted or counted), and
only while nobody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..messages import Direct, DirectEnded, DirectOffer, Served
from ..protocol.encodings import MSGPACK
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router


class _Path(NamedTuple):
    caller: Peer
    worker: Peer
    object_name: str


class Directs:
    """All paths that were admitted."""

    __slots__ = ("_paths", "_router", "allowed")

    def __init__(self, router: Router) -> None:
        self.allowed = True
        """By the configuration."""
        self._router = router
        self._paths: dict[Peer, set[_Path]] = {}  # of both ends

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
        for end in (caller, worker):
            self._paths.setdefault(end, set()).add(path)
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
        suits = worker.direct_address and worker is not caller and _may(caller) and _may(worker)
        return worker if suits else None

    def served(self, worker: Peer, message: Served, frame: bytes, now: float) -> None:
        totals = self._router.totals
        totals.calls += message.calls
        totals.results += max(message.calls - message.errors, 0)
        totals.errors += message.errors

    def end_all(self) -> None:
        """From now on all calls come by here."""
        paths, self._paths = self._paths, {}
        for worker in {path.worker for of_one in paths.values() for path in of_one}:
            worker.connection.send(DirectEnded())

    def of(self, object_name: str) -> int:
        """How many callers call the object directly."""
        return len({path for of_one in self._paths.values() for path in of_one if path.object_name == object_name})

    def peer_gone(self, peer: Peer) -> None:
        """May be called again. Its callers learn it; its workers do by `CallerGone`."""
        for path in self._paths.pop(peer, ()):
            other = path.caller if path.worker is peer else path.worker
            self._paths.get(other, set()).discard(path)
            if path.worker is peer:
                path.caller.connection.send(DirectEnded(peer.direct_address))


def _may(peer: Peer) -> bool:
    """Whether it is a process of this machine that may do everything."""
    return (
        "direct" in peer.features
        and peer.connection.codec is MSGPACK
        and peer.credentials.pid is not None
        and not peer.credentials.address
        and peer.access is None
        and peer.account is None
    )
