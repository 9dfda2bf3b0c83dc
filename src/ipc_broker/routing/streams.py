"""Streams: the items of a call on their way to its caller, and the credit for them on its way to the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from ..messages import Credit, Item
from .calls import Calls
from .peer import Peer
from .pending import PendingCall, Refusal, over_limit, transcoded_for

if TYPE_CHECKING:
    from .router import Router

MOST_CREDIT = 2**53 - 1
"""What a message can say."""


class Streams:
    """An item takes as much credit as its frame has bytes. Its worker is held to what the caller has given."""

    __slots__ = ("_calls", "_router")

    def __init__(self, router: Router, calls: Calls) -> None:
        self._router = router
        self._calls = calls

    def credit(self, peer: Peer, credit: Credit, frame: bytes, now: float) -> None:
        pending = peer.calls.get(credit.call_id)
        if pending is None:
            if self._router.observers:
                self._router.taps.credit(peer, credit, now)
            return
        if pending.registration is not None:
            self._give_credit(pending, pending.registration.peer, credit.bytes, now)
        else:
            pending.credit = min(pending.credit + credit.bytes, MOST_CREDIT)
            name = pending.name
            call, earlier = name.waiting[pending]
            call = structs.replace(call, credit=pending.credit)
            frame = peer.connection.codec.encode(call)
            name.waiting[pending] = call, frame
            name.waiting_bytes += len(frame) - len(earlier)

    def _give_credit(self, pending: PendingCall, worker: Peer, size: int, now: float) -> None:
        """`size` bytes of the caller's frames; the worker gets as many of its own."""
        limit = self._router.limits.outbox
        if worker.connection.queued > limit:
            message = f"over {limit} bytes wait for the worker of '{pending.object_name}' (outbox)"
            self._calls.fail(pending, "overloaded", message, now, delivered="maybe")
            return
        size = min(size + pending.longer_at_worker, MOST_CREDIT)
        pending.longer_at_worker = min(size, 0)
        if size > 0:
            pending.credit = min(pending.credit + size, MOST_CREDIT)
            if "streams" in worker.features:
                worker.connection.send(Credit(pending.worker_id, size))

    def item(self, peer: Peer, item: Item, frame: bytes, now: float) -> None:
        """One for a call that was cancelled meanwhile is dropped, and counted."""
        pending = peer.serving.get(item.call_id)
        caller = pending.caller if pending is not None else None
        if pending is None or caller is None:
            self._router.totals.late_items += 1
            return
        if pending.credit <= 0:
            self._break_off(pending, peer, "invalid_args", "over the credit that its caller gave", now)
            return
        size = len(frame)
        pending.credit -= size
        if caller.connection.codec is not peer.connection.codec or pending.worker_id is not pending.call_id:
            try:
                value = transcoded_for(item.value, peer.connection.codec, caller, "the caller")
            except Refusal as refusal:
                self._break_off(pending, peer, refusal.code, str(refusal), now)
                return
            frame = caller.connection.codec.encode(Item(pending.call_id, value))
            pending.longer_at_worker += size - len(frame)
        if len(frame) > caller.longest_frame:
            self._break_off(pending, peer, "too_large", over_limit(frame, caller), now)
            return
        caller.send_frame(frame)
        if caller.connection.queued > self._router.limits.outbox:
            self._router.after_answer(caller, now)
        elif pending.credit <= 0 < pending.longer_at_worker:
            # To its caller there is credit left, so that it may give no more before it gets more.
            self._give_credit(pending, peer, 0, now)

    def _break_off(self, pending: PendingCall, worker: Peer, code: str, why: str, now: float) -> None:
        """The worker streams what it must not: both are told."""
        message = f"'{pending.object_name}' streamed an item from '{pending.method}' that cannot be passed on: {why}"
        self._router.refuse(worker, None, pending.object_name, code, message, about="Item")
        told = code if code == "too_large" else "remote_error"  # the caller has sent nothing wrong
        self._calls.fail(pending, told, message, now, delivered="yes")
