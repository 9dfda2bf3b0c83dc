"""Calls on their way: from a caller to the worker that serves the object, and the answer back.

A call's slot lives with the worker that was given it, so that nobody else can answer, and with its caller, so that it is
found when that cancels it or leaves. A call that no worker has room for waits at its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType, structs

from ..deadlines import Deadlines
from ..messages import Call, Caller, CallerGone, Cancel, Error, Result
from ..protocol.codec import Codec
from .names import BROKER_OBJECT, Name, Registration
from .peer import Peer
from .pending import PendingCall, Refusal, over_limit, transcoded_for

if TYPE_CHECKING:
    from .router import Router

MOST_HEADERS = 8192
"""Characters of a call's headers: they are for a tenant's name or a trace, and every worker decodes them."""


class Calls:
    """All calls in flight."""

    __slots__ = ("_find", "_last_rewritten", "_router", "deadlines", "in_flight", "waiting")

    def __init__(self, router: Router) -> None:
        self._router = router
        self._find = router.names.find
        self._last_rewritten = 0
        self.deadlines: Deadlines[PendingCall] = Deadlines()
        self.in_flight = 0
        self.waiting = 0

    # From callers

    def call(self, peer: Peer, call: Call, frame: bytes, now: float) -> None:
        router = self._router
        router.totals.calls += 1
        name = self._find(call.object_name)
        if name is None and call.object_name == BROKER_OBJECT:
            router.driver.call(peer, call, now)
            return
        if call.credit and not peer.prefix:
            call = structs.replace(call, credit=0)  # a peer that has not said hello would not know an `Item`
        call_id = call.call_id
        try:
            if (
                name is None
                or call_id in peer.calls
                or not call_id.startswith(peer.prefix)
                or len(peer.calls) >= router.limits.calls
                or call.headers
            ):
                name = self._checked(peer, call, name, now)
            registration = name.sole if name.sole is not None or name.waiting else name.pick()
            pending = PendingCall(
                peer, registration, call_id, call_id, name, call.method, call.timeout_ms, call.credit, now
            )
            if registration is None:
                self._wait(pending, call, frame)
            else:
                self._give(pending, registration, call, frame)
        except Refusal as refusal:
            self._refuse(peer, call, refusal.code, str(refusal), now, delivered="no")
            return
        if call.credit:
            pending.streams = True
        peer.calls[call_id] = pending
        self.in_flight += 1
        if call.timeout_ms:
            pending.deadline = now + call.timeout_ms / 1000
            pending.bucket = self.deadlines.add(pending, pending.deadline)

    def _checked(self, peer: Peer, call: Call, name: Name | None, now: float) -> Name:
        """Where it goes, or waits until its service has started. Raises Refusal where something is wrong with it."""
        limits = self._router.limits
        if call.call_id in peer.calls:
            raise Refusal("invalid_args", f"the call id {call.call_id!r} is in flight; use a new one for each call")
        if not call.call_id.startswith(peer.prefix):
            message = f"the call id {call.call_id!r} does not begin with {peer.prefix!r}, as agreed in hello"
            raise Refusal("invalid_args", message)
        if len(peer.calls) >= limits.calls:
            raise Refusal("overloaded", f"{limits.calls} calls of this connection are in flight, the limit (calls)")
        if not isinstance(call.headers, UnsetType):
            size = sum(len(key) + len(value) for key, value in call.headers.items())
            if size > MOST_HEADERS:
                raise Refusal("too_large", f"the headers have {size} characters, over the limit of {MOST_HEADERS}")
        if name is None and (service := self._router.services.find(call.object_name)) is not None:
            name = service.expect_call(now)
        if name is None:
            raise Refusal("no_such_object", f"No such object '{call.object_name}'")
        return name

    def _wait(self, pending: PendingCall, call: Call, frame: bytes) -> None:
        name, limits = pending.name, self._router.limits
        if len(name.waiting) >= limits.waiting:
            message = (
                f"{limits.waiting} calls of '{name.object_name}' wait for room at its workers, the limit (waiting)"
            )
            raise Refusal("overloaded", message)
        if name.waiting and name.waiting_bytes + len(frame) > limits.outbox:
            message = (
                f"{name.waiting_bytes} bytes of calls of '{name.object_name}' wait for room at its workers;"
                f" {len(frame)} more are over the limit of {limits.outbox} (outbox)"
            )
            raise Refusal("overloaded", message)
        name.waiting[pending] = call, frame
        name.waiting_bytes += len(frame)
        self.waiting += 1

    def _give(self, pending: PendingCall, registration: Registration, call: Call, frame: bytes) -> None:
        """Sends the call to a worker. Raises Refusal, and then nothing has changed."""
        caller, worker = pending.caller, registration.peer
        assert caller is not None
        if worker.connection.queued > self._router.limits.outbox:
            limit = self._router.limits.outbox
            message = f"over {limit} bytes wait for the worker of '{call.object_name}' (outbox)"
            raise Refusal("overloaded", message)
        if (
            not caller.prefix
            or not worker.prefix
            or caller.connection.codec is not worker.connection.codec
            or pending.call_id in worker.serving
        ):
            frame = self._rewritten(pending, caller, worker, call)
        if len(frame) > worker.longest_frame:
            raise Refusal("too_large", over_limit(frame, worker))
        if caller not in worker.knows:
            self.introduce(caller, worker)
        worker.serving[pending.worker_id] = pending
        pending.registration = registration
        registration.running += 1
        worker.send_frame(frame)

    def _rewritten(self, pending: PendingCall, caller: Peer, worker: Peer, call: Call) -> bytes:
        codec = worker.connection.codec
        args = transcoded_for(call.args, caller.connection.codec, worker, f"the worker of '{call.object_name}'")
        if worker.prefix and not caller.prefix:
            # What an extended worker knows its callers by.
            self._last_rewritten += 1
            pending.worker_id = f"{caller.id}.{self._last_rewritten}"
        else:
            while pending.worker_id in worker.serving:
                self._last_rewritten += 1
                pending.worker_id = f"{caller.prefix}~{self._last_rewritten}"
        if not worker.prefix:
            return codec.encode(Call(pending.worker_id, call.object_name, call.method, args))
        return codec.encode(structs.replace(call, call_id=pending.worker_id, args=args))

    def introduce(self, caller: Peer, worker: Peer) -> None:
        """Once, before the first that it calls."""
        if "caller" in worker.features and caller not in worker.knows:
            worker.knows.add(caller)
            caller.known_to.add(worker)
            who = caller.credentials
            worker.connection.send(Caller(f"{caller.id}.", caller.name, who.uid, who.pid))

    def cancel(self, peer: Peer, cancel: Cancel, frame: bytes, now: float) -> None:
        """A call that has been answered already, on its way, is nobody's fault."""
        pending = peer.calls.get(cancel.call_id)
        if pending is not None:
            self._abandon(pending, now)
            self._cancelled(pending, peer, now)
        elif self._router.observers:
            self._router.taps.unwatch(peer, cancel.call_id)

    # From workers

    def answer(self, peer: Peer, answer: Result | Error, frame: bytes, now: float) -> None:
        pending = peer.serving.pop(answer.call_id, None) if answer.call_id is not None else None
        if pending is None:
            self._router.totals.late_answers += 1
            return
        registration, caller = pending.registration, pending.caller
        assert registration is not None
        registration.running -= 1
        if caller is None:
            self._router.totals.late_answers += 1
        else:
            self._router.totals.results += 1
            self._end(pending, caller)
            if (
                caller.prefix
                and caller.connection.codec is peer.connection.codec
                and pending.worker_id is pending.call_id
                and len(frame) <= caller.longest_frame
            ):
                caller.send_frame(frame)
            else:
                self._pass_answer(pending, caller, peer, answer, now)
            if caller.feed is not None or caller.input_ended or caller.connection.queued > self._router.limits.outbox:
                self._router.after_answer(caller, now)
        if registration.name.waiting:
            self.give_waiting(registration.name, now)

    def error(self, peer: Peer, error: Error, frame: bytes, now: float) -> None:
        self._router.totals.errors += 1
        self.answer(peer, error, frame, now)

    def _pass_answer(
        self, pending: PendingCall, caller: Peer, worker: Peer, answer: Result | Error, now: float
    ) -> None:
        source = worker.connection.codec
        object_name = pending.object_name
        try:
            if isinstance(answer, Result):
                value = transcoded_for(answer.value, source, caller, f"the caller of '{object_name}'")
                message: Result | Error = Result(pending.call_id, answer.object_name, value, answer.ended)
                if caller.is_seed:
                    message = Result(pending.call_id, answer.object_name, value)
            elif caller.is_seed:
                message = Error(pending.call_id, answer.object_name, answer.message)
            else:
                message = structs.replace(
                    answer, call_id=pending.call_id, data=self._passed_data(answer, source, caller)
                )
            frame = caller.connection.codec.encode(message)
            if len(frame) > caller.longest_frame:
                raise Refusal("too_large", f"the answer of '{object_name}': {over_limit(frame, caller)}")
        except Refusal as refusal:
            code, why = refusal.code, str(refusal)
            self._router.refuse(caller, pending.call_id, object_name, code, why, delivered="yes")
            for observer in self._router.observers:
                observer.unpassed(caller, pending, code, why, now)
        else:
            caller.send_frame(frame)

    def _passed_data(self, error: Error, source: Codec, caller: Peer) -> Raw | UnsetType:
        """What is attached to an error is left out where its caller cannot read it: the error itself matters more."""
        data = error.data
        if isinstance(data, UnsetType) or len(bytes(data)) > caller.longest_frame // 2:
            return UNSET
        try:
            return transcoded_for(data, source, caller, "the caller")
        except Refusal:
            return UNSET

    # How calls end without an answer

    def fail(self, pending: PendingCall, code: str, message: str, now: float, *, delivered: str) -> None:
        """Tells the caller, and cancels the call at its worker."""
        caller = pending.caller
        if caller is not None:
            self._abandon(pending, now)
            self._refuse(caller, pending, code, message, now, delivered=delivered)
            self._router.after_answer(caller, now)

    def _refuse(
        self, caller: Peer, call: PendingCall | Call, code: str, message: str, now: float, *, delivered: str
    ) -> None:
        """An error of the broker's own is the call's answer."""
        self._router.refuse(caller, call.call_id, call.object_name, code, message, delivered=delivered)
        for observer in self._router.observers:
            observer.failed(caller, call, code, message, now)

    def _cancelled(self, pending: PendingCall, caller: Peer, now: float) -> None:
        for observer in self._router.observers:
            observer.cancelled(caller, pending, now)

    def _abandon(self, pending: PendingCall, now: float) -> None:
        """Nobody waits for the answer any more."""
        caller, registration = pending.caller, pending.registration
        if caller is None:
            return
        self._end(pending, caller)
        if registration is None:
            _, frame = pending.name.waiting.pop(pending)
            pending.name.waiting_bytes -= len(frame)
            self.waiting -= 1
            return
        worker = registration.peer
        if "cancel" in worker.features:
            worker.connection.send(Cancel(pending.worker_id))
        if not registration.concurrency:  # else it counts until the worker has answered: it is still at work
            del worker.serving[pending.worker_id]
            registration.running -= 1

    def _end(self, pending: PendingCall, caller: Peer) -> None:
        self.in_flight -= 1
        pending.caller = None
        del caller.calls[pending.call_id]
        if pending.bucket is not None:
            pending.bucket.pop(pending, None)

    def abandon_all(self, caller: Peer, now: float) -> None:
        """The caller is gone."""
        for pending in list(caller.calls.values()):
            self._abandon(pending, now)
            self._cancelled(pending, caller, now)
        for worker in caller.known_to:
            worker.knows.discard(caller)
            worker.connection.send(CallerGone(f"{caller.id}."))
        caller.known_to.clear()

    def lose(self, worker: Peer, why: str, now: float, registration: Registration | None = None) -> list[Name]:
        """The calls that the worker was given, under one registration or all, will not be answered any more.

        Gives the names that they were of. A worker that stays has room for those that wait there.
        """
        names: dict[Name, None] = {}
        for worker_id, pending in list(worker.serving.items()):
            if registration is not None and pending.registration is not registration:
                continue
            if worker.serving.get(worker_id) is pending:  # a caller that goes because of its answer takes others along
                names[pending.name] = None
                self.lose_one(worker, worker_id, why, now)
        return list(names)

    def lose_one(self, worker: Peer, worker_id: str, why: str, now: float) -> Name | None:
        """Gives the call's name; None where the worker holds no such call."""
        pending = worker.serving.pop(worker_id, None)
        if pending is None:
            return None
        assert pending.registration is not None
        pending.registration.running -= 1
        caller = pending.caller
        if caller is not None:
            self._end(pending, caller)
            message = f"'{pending.object_name}' will not answer '{pending.method}': {why}"
            self._refuse(caller, pending, "worker_lost", message, now, delivered="maybe")
            self._router.after_answer(caller, now)
        return pending.name

    def worker_gone(self, worker: Peer) -> None:
        for caller in worker.knows:
            caller.known_to.discard(worker)
        worker.knows.clear()

    # Calls that wait for room

    def give_waiting(self, name: Name, now: float) -> None:
        """Something has changed: gives as many as there is room for now; refuses all when nobody will serve the name."""
        waiting = name.waiting
        while waiting:
            registration = name.pick()
            if registration is None and name.lasts:
                return
            pending, (call, frame) = waiting.popitem(last=False)
            caller = pending.caller
            assert caller is not None
            self.waiting -= 1
            name.waiting_bytes -= len(frame)
            try:
                if registration is None:
                    raise Refusal(
                        "worker_lost", f"'{call.object_name}' will not answer '{call.method}': its worker was lost"
                    )
                if call.timeout_ms:  # some of it is over
                    call = structs.replace(call, timeout_ms=max(1, round((pending.deadline - now) * 1000)))
                    frame = caller.connection.codec.encode(call)
                self._give(pending, registration, call, frame)
            except Refusal as refusal:
                self._end(pending, caller)
                self._refuse(caller, pending, refusal.code, str(refusal), now, delivered="no")
                self._router.after_answer(caller, now)

    def refuse_waiting(self, name: Name, code: str, message: str, now: float) -> None:
        """Nobody will serve the name."""
        for pending in list(name.waiting):
            self.fail(pending, code, message, now, delivered="no")

    def handle_timer(self, now: float) -> None:
        for pending in self.deadlines.expired(now):
            pending.bucket = None
            delivered = "no" if pending.registration is None else "maybe"
            message = (
                f"'{pending.object_name}' did not answer '{pending.method}' within {pending.timeout_ms / 1000:g} s"
            )
            if pending.registration is None and not pending.name.members:
                message += ": its service has not started yet"
            self.fail(pending, "deadline_exceeded", message, now, delivered=delivered)
