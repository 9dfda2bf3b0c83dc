"""What a client asks about objects: whether somebody serves one, and to be told when somebody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConnectionLost, IPCError
from ..events import Event, Gap
from ..messages import HasObject, HasObjectResult
from ..protocol.codec import checked_name
from .replies import Questions
from .shell import UNHEARD, Reply
from .subscriptions import ClientSubscription

if TYPE_CHECKING:
    from .session import Session

BROKER_OBJECT = "rob"

ASK_EVERY = 0.1
"""Seconds between two questions for an object at a broker that has no events of them; the Rust crate's clients do so too."""


class Names:
    """All who wait for objects share one subscription to the broker's events, which lasts while somebody waits."""

    def __init__(self, session: Session, questions: Questions) -> None:
        self._session = session
        self._questions = questions
        self._awaited: dict[str, list[Reply]] = {}
        self._registrations: ClientSubscription | None = None

    def has(self, object_name: str, reply: Reply) -> None:
        """`reply` gets whether somebody serves the object. Raises InvalidArgs, ConnectionLost."""
        checked_name(object_name)
        connection = self._session.require_connection()
        self._questions.ask(("HasObjectResult", object_name), reply)
        connection.send(HasObject(object_name))

    def wait_for(self, object_name: str, reply: Reply) -> None:
        """`reply` gets None as soon as somebody serves the object; `forget` it when nobody waits for that any more.

        Raises ConnectionLost, and InvalidArgs, also where the broker has no such events: there one has to ask again and
        again.
        """
        checked_name(object_name)
        self._session.require_connection()
        self._session.require_extended("events of its objects")
        self._awaited.setdefault(object_name, []).append(reply)
        if self._registrations is None:
            subscribe = self._session.subscribe
            self._registrations = subscribe(BROKER_OBJECT, "object.registered", self, _Subscribing(self))
        self.has(object_name, _Found(self, object_name))  # behind the subscription: it is seen by one or the other

    def forget(self, object_name: str, reply: Reply) -> None:
        """May come when it was settled already."""
        waiting = self._awaited.get(object_name, [])
        if reply in waiting:
            waiting.remove(reply)
            if not waiting:
                del self._awaited[object_name]
                self._rest()

    def registered(self, object_name: str) -> None:
        for reply in self._awaited.pop(object_name, ()):
            if not reply.done():
                reply.set_result(None)
        self._rest()

    def fail(self, error: IPCError) -> None:
        """Nobody can be told any more: who waits has to ask again."""
        awaited, self._awaited = self._awaited, {}
        for replies in awaited.values():
            for reply in replies:
                if not reply.done():
                    reply.set_exception(error)
        self._rest()

    def connection_lost(self, reason: str) -> None:
        self.fail(ConnectionLost(reason, delivered="no"))

    def _rest(self) -> None:
        if not self._awaited and self._registrations is not None:
            registrations, self._registrations = self._registrations, None
            self._session.unsubscribe(registrations, UNHEARD, 0.0)

    # What arrives

    def has_object_result(self, message: HasObjectResult, size: int) -> None:
        self._questions.settle(("HasObjectResult", message.object_name), message.exists)

    def deliver(self, event: Event | Gap, size: int) -> None:
        """Of the subscription, whose sink this is."""
        if self._registrations is not None:
            self._registrations.taken(size)
        if isinstance(event, Gap):  # some may have been registered unseen
            for name in self._awaited:
                self.has(name, _Found(self, name))
        elif isinstance(event.value, dict):
            self.registered(event.value.get("object", ""))

    def deliver_all(self, events: list[Event], size: int) -> None:
        for event in events:
            self.deliver(event, size)
            size = 0

    def ended(self) -> None:
        """The broker refused the subscription, as the reply to that is told as well."""
        self._registrations = None


class _Found:
    """The reply to the question whether an object that is waited for is there already."""

    def __init__(self, names: Names, object_name: str) -> None:
        self._names = names
        self._object_name = object_name

    def done(self) -> bool:
        return False

    def set_result(self, exists: bool, /) -> None:
        if exists:
            self._names.registered(self._object_name)

    def set_exception(self, exception: IPCError, /) -> None:
        """The connection was lost, as all who wait are told."""


class _Subscribing:
    """The reply to the subscription."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def done(self) -> bool:
        return False

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: IPCError, /) -> None:
        self._names.fail(exception)
