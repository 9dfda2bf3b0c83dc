"""Who may serve which name: registering, giving up, taking over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType

from ..messages import HasObject, HasObjectResult, Registered, RegisterObject, RegisterService
from ..security.principal import Principal
from .interfaces import InterfaceRefused, Interfaces
from .names import BROKER_OBJECT, MODES, Registration
from .peer import Peer

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")


class Registrar:
    """Changes the router's `names`, and tells whom it concerns."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.interfaces = Interfaces()

    def register_object(self, peer: Peer, wish: RegisterObject, frame: bytes, now: float) -> None:
        name = wish.object_name
        router = self._router
        refusal = self._refusal_of(peer, wish)
        data: Raw | UnsetType = UNSET
        if refusal is None:
            existed = name in router.names
            registration = router.names.register(name, peer, wish.mode, wish.concurrency)
            owner = registration.peer
            if owner is not peer:
                refusal = "name_taken", f"the name '{name}' is taken by {owner.describe()}"
                who = {"owner": owner.name, "pid": owner.credentials.pid}
                data = peer.connection.codec.encode_payload(who)
        if refusal is not None:
            router.refuse(peer, None, name, *refusal, about="RegisterObject", data=data)
            return
        told = wish.interface
        registration.interface = None if isinstance(told, UnsetType) else self.interfaces.learn(name, told, peer)
        peer.connection.send(Registered(name))
        if not existed:
            router.events.announce("object.registered", name, now)
        logger.info("%s serves %r%s", peer.describe(), name, "" if wish.mode == "exclusive" else f" ({wish.mode})")
        for observer in router.observers:
            observer.noted("registered", peer, now, object_name=name)
        if registration.name.service is not None:
            registration.name.service.registered(now)
        router.directs.name_changed(name)
        router.calls.give_waiting(registration.name, now)

    def _refusal_of(self, peer: Peer, wish: RegisterObject) -> tuple[str, str] | None:
        limits = self._router.limits
        if wish.object_name == BROKER_OBJECT:
            return "name_taken", "the name 'rob' is the broker's own; choose another"
        if not wish.object_name:
            return "invalid_args", "an object needs a name that is not empty"
        if wish.mode not in MODES:
            return "invalid_args", f"there is no mode {wish.mode!r}; there is {', '.join(MODES)}"
        if len(peer.registrations) >= limits.names and wish.object_name not in peer.registrations:
            return "overloaded", f"this connection has {limits.names} objects, which is the limit (names)"
        if why := self._lack_of_a_rule(peer, wish):
            return "permission_denied", why
        if not isinstance(wish.interface, UnsetType):
            try:
                self.interfaces.check(wish.interface, peer.connection.codec)
            except InterfaceRefused as refused:
                return refused.code, str(refused)
        return None

    def _lack_of_a_rule(self, peer: Peer, wish: RegisterObject) -> str:
        """Whoever could take the name of a service that does not run would get the calls that are to start it; whoever could
        share another user's name, calls of that one.
        """
        who, router = peer.principal, self._router
        if who is None or who.is_owner:
            return ""
        if router.services.find(wish.object_name) is not None:
            what = "which has a service"
        elif wish.mode != "exclusive" and self._is_others(wish.object_name, who):
            what = "which somebody else serves"
        else:
            return ""
        if router.gatekeeper.lets_serve_by_rule(who, wish.object_name):
            return ""
        return f"{who.describe()} may not serve '{wish.object_name}', {what}, unless a rule of the policy says so"

    def _is_others(self, object_name: str, who: Principal) -> bool:
        """Whether another user serves it, or stands by."""
        name = self._router.names.find(object_name)
        if name is None:
            return False
        users = [one.peer.principal for one in (*name.members, *name.standby)]
        return any(user is not None and user.account != who.account for user in users)

    def unregister(self, peer: Peer, object_name: str, now: float, *, keep_calls: bool = False) -> bool:
        """False when the name was not the peer's. The calls it was given end, or stay with it."""
        registration = peer.registrations.get(object_name)
        if registration is None:
            return False
        if not keep_calls:
            self._router.calls.lose(peer, f"its worker stopped serving '{object_name}'", now, registration)
        if peer.registrations.get(object_name) is registration:  # else the errors for its callers have ended it
            self.give_up(registration, now)
        return True

    def give_up(self, registration: Registration, now: float) -> None:
        name, router = registration.name, self._router
        was_last = name.members == [registration]
        router.names.unregister(registration)
        logger.info("%s no longer serves %r", registration.peer.describe(), name.object_name)
        for observer in router.observers:
            observer.noted("lost", registration.peer, now, object_name=name.object_name)
        if was_last and not router.closed:
            router.events.announce("object.lost", name.object_name, now)
            if name.members:
                logger.info("%s takes %r over", name.members[0].peer.describe(), name.object_name)
                router.events.announce("object.registered", name.object_name, now)
        if name.service is not None and not name.members:
            name.service.lost(now)
        router.directs.name_changed(name.object_name)
        router.calls.give_waiting(name, now)

    def has_object(self, peer: Peer, question: HasObject, frame: bytes, now: float) -> None:
        name = question.object_name
        peer.connection.send(HasObjectResult(name, name == BROKER_OBJECT or name in self._router.names))

    def register_service(self, peer: Peer, wish: RegisterService, frame: bytes, now: float) -> None:
        why = self._router.services.adopt(wish.object_name, wish.service_name, now)
        if why:
            self.refuse_service(peer, wish, why)
        else:
            logger.info("%s says that %r serves %r", peer.describe(), wish.service_name, wish.object_name)

    def refuse_service(self, peer: Peer, wish: RegisterService, why: str) -> None:
        """Peers of the Rust crate are not told: their own broker answers nothing to this message."""
        logger.warning(
            "%s wants %r to be started by the service %r: refused, %s",
            peer.describe(),
            wish.object_name,
            wish.service_name,
            why,
        )
        if not peer.is_seed:
            self._router.refuse(peer, None, wish.object_name, "permission_denied", why, about="RegisterService")
