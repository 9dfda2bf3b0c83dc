"""Calls in flight. A call's slot lives with the worker that was given it, so that nobody else can answer."""

from __future__ import annotations

from msgspec import Struct

from ..messages import Call
from .peer import Peer


class PendingCall(Struct, gc=False):
    """A call that its caller waits for and its worker was given."""

    caller: Peer
    worker: Peer
    call_id: str
    """The id its caller knows."""
    worker_id: str
    """The id its worker knows: another one where two callers used the same."""
    object_name: str
    method: str


class Calls:
    """All calls in flight; each stands with its caller and with its worker."""

    __slots__ = ("_rewritten", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._rewritten = 0

    def start(self, caller: Peer, worker: Peer, call: Call) -> str:
        """Gives the id under which the worker is to know the call. The caller must have none of its id in flight."""
        call_id = worker_id = call.call_id
        while worker_id in worker.serving:
            self._rewritten += 1
            worker_id = f"~{self._rewritten}"
        pending = PendingCall(caller, worker, call_id, worker_id, call.object_name, call.method)
        caller.calls[call_id] = worker.serving[worker_id] = pending
        self.in_flight += 1
        return worker_id

    def finish(self, worker: Peer, worker_id: str) -> PendingCall | None:
        """Takes the slot away; None when the worker was given no such call, or its caller has gone."""
        call = worker.serving.pop(worker_id, None)
        if call is not None:
            del call.caller.calls[call.call_id]
            self.in_flight -= 1
        return call

    def abandon(self, caller: Peer) -> None:
        """The caller is gone: what its workers still answer finds no slot."""
        for call in caller.calls.values():
            del call.worker.serving[call.worker_id]
        self.in_flight -= len(caller.calls)
        caller.calls.clear()

    def held_by(self, worker: Peer, object_name: str | None = None) -> list[PendingCall]:
        """The calls the worker was given and has not answered: those for one object, or all of them."""
        return [call for call in worker.serving.values() if object_name is None or call.object_name == object_name]
