"""What stands before the handlers for those who may not do everything: policy, quotas, and who has yet to show a token.

Each peer has the table of handlers that fits its standing, so that nothing is asked for those who may do everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Batch, Call, Invalid, Message, Publish, RegisterObject, RegisterService, Subscribe
from ..security.policy import Action
from .names import BROKER_OBJECT
from .peer import Peer
from .taps import Handler

if TYPE_CHECKING:
    from .access import Access
    from .router import Router

METHODS_OF_ROB: dict[str, Action] = {
    "monitor": "monitor",
    "measure": "monitor",
    "inspect": "monitor",
    "services": "administer",
    "startService": "administer",
    "stopService": "administer",
}
"""What each of these needs; all others are for everybody. What `setWill` and `clear` need, they ask for themselves: it
depends on their arguments."""


class Guard:
    """Makes tables of handlers, as the router's own is."""

    def __init__(self, router: Router, open_handlers: dict[type, Handler]) -> None:
        self._router = router
        self._open = open_handlers
        self.strangers: dict[type, Handler] = dict.fromkeys(open_handlers, self._stranger)

    def table_for(self, access: Access) -> dict[type, Handler]:
        """What stands in it besides is the router's own. To be made anew when that has changed."""
        publish = self._publishes(access)
        return self._open | {
            Call: self._calls(access),
            Publish: publish,
            Batch: self._publishes_batches(access, publish),
            Subscribe: self._subscribe,
            RegisterObject: self._register,
            RegisterService: self._register_service,
        }

    # What comes often: a function of its own for each access, with all that it needs at hand

    def _calls(self, access: Access) -> Handler:
        may_call, open_call, checked = access.may_call, self._open[Call], self._checked_call

        def call_if_allowed(peer: Peer, call: Call, frame: bytes, now: float) -> None:
            if (call.object_name, call.method) in may_call:
                account = peer.account
                if account is not None:
                    account.calls_left -= 1
                    if account.calls_left < 0 and (message := account.refusal_of_call()):
                        self._refuse_call(peer, call, "overloaded", message, now)
                        return
                open_call(peer, call, frame, now)
            else:
                checked(access, peer, call, frame, now)

        return call_if_allowed

    def _checked_call(self, access: Access, peer: Peer, call: Call, frame: bytes, now: float) -> None:
        """Of `rob`, or one of which is not remembered that it is allowed."""
        if call.object_name == BROKER_OBJECT:
            action = METHODS_OF_ROB.get(call.method)
            message = access.refusal(action) if action is not None else ""
            if not message:
                self._open[Call](peer, call, frame, now)
                return
        else:
            message = access.refusal("call", call.object_name, call.method)
            if not message:
                access.remember(access.may_call, call.object_name, call.method)
                peer.handlers[Call](peer, call, frame, now)
                return
        self._refuse_call(peer, call, "permission_denied", message, now)

    def _refuse_call(self, peer: Peer, call: Call, code: str, message: str, now: float) -> None:
        """Those who look see it as any call that the broker refuses."""
        self._router.totals.calls += 1
        for observer in self._router.observers:
            observer.refused(peer, call, now)
        self._router.refuse(peer, call.call_id, call.object_name, code, message)
        for observer in self._router.observers:
            observer.failed(peer, call, code, message, now)

    def _publishes(self, access: Access) -> Handler:
        may_publish, open_publish, checked = access.may_publish, self._open[Publish], self._checked_publish

        def publish_if_allowed(peer: Peer, event: Publish, frame: bytes, now: float) -> None:
            if (event.object_name, event.topic) in may_publish:
                open_publish(peer, event, frame, now)
            else:
                checked(access, peer, event, frame, now)

        return publish_if_allowed

    def _publishes_batches(self, access: Access, publish: Handler) -> Handler:
        may_publish, open_batch = access.may_publish, self._open[Batch]
        checked = self._router.batches.one_by_one(publish)

        def publish_if_allowed(peer: Peer, batch: Batch, frame: bytes, now: float) -> None:
            allowed = (batch.object_name, batch.topic) in may_publish
            (open_batch if allowed else checked)(peer, batch, frame, now)

        return publish_if_allowed

    def _checked_publish(self, access: Access, peer: Peer, event: Publish, frame: bytes, now: float) -> None:
        message = access.refusal("publish", event.object_name, event.topic)
        if message and event.object_name != BROKER_OBJECT:  # which nobody may publish as, as is said there
            call_id = event.call_id or None
            self._router.refuse(peer, call_id, event.object_name, "permission_denied", message, about="Publish")
        else:
            access.remember(access.may_publish, event.object_name, event.topic)
            self._open[Publish](peer, event, frame, now)

    # What comes seldom

    def _subscribe(self, peer: Peer, wish: Subscribe, frame: bytes, now: float) -> None:
        assert peer.access is not None
        code, message = "permission_denied", ""
        if wish.object_name != BROKER_OBJECT:
            message = peer.access.refusal("subscribe", wish.object_name, wish.topic)
        if peer.account is not None and not message:
            code, message = "overloaded", peer.account.refusal_of_subscription()
        if message:
            self._router.refuse(peer, None, wish.object_name, code, message, about="Subscribe", subscription=wish.id)
        else:
            self._open[Subscribe](peer, wish, frame, now)

    def _register(self, peer: Peer, wish: RegisterObject, frame: bytes, now: float) -> None:
        assert peer.access is not None
        code, message = "permission_denied", ""
        if wish.object_name != BROKER_OBJECT:
            message = peer.access.refusal("register", wish.object_name)
        if peer.account is not None and not message and wish.object_name not in peer.registrations:
            code, message = "overloaded", peer.account.refusal_of_name()
        if message:
            self._router.refuse(peer, None, wish.object_name, code, message, about="RegisterObject")
        else:
            self._open[RegisterObject](peer, wish, frame, now)

    def _register_service(self, peer: Peer, wish: RegisterService, frame: bytes, now: float) -> None:
        assert peer.access is not None
        if message := peer.access.refusal("administer"):
            self._router.registrar.refuse_service(peer, wish, message)
        else:
            self._open[RegisterService](peer, wish, frame, now)

    # Those of whom nobody knows who they are

    def _stranger(self, peer: Peer, message: Message | Invalid, frame: bytes, now: float) -> None:
        if peer not in self._router.peers:
            return  # it was turned away for what came before
        if isinstance(message, Call) and message.object_name == BROKER_OBJECT and message.method == "hello":
            self._open[Call](peer, message, frame, now)  # which refuses it without a token that holds
            if peer.principal is None:
                self._router.retire(peer, now, "it had no token that holds")
        else:
            why = "this address needs a token (token=, or BROKER_TOKEN) or a client certificate"
            self._router.gatekeeper.turn_away(peer, "permission_denied", why, now)
