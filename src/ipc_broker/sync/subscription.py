"""A subscription of the blocking client."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from ..errors import ClientClosed
from ..events import Event, Gap
from ..session import ClientSubscription
from .waiting import deadline_in

if TYPE_CHECKING:
    from .client import Client


class Subscription:
    """What `client.subscribe` gives: iterate over it, or `get` one event; `with` closes it at the end.

    Every event published from the subscription on comes, in each publisher's order. Nothing reads the connection while no
    thread waits for an event or an answer, so take events as they come: the broker keeps a bounded backlog. A `Gap` stands
    where events were missed. The iteration ends when the subscription or its client is closed.
    """

    def __init__(self, client: Client, object_name: str, topic: str) -> None:
        self.object = object_name
        self.topic = topic
        self.open = True
        self._client = client
        self._waiting: deque[tuple[Event | Gap, int]] = deque()  # with the bytes that each took on its way
        self.subscribed: ClientSubscription | None = None

    @property
    def pending(self) -> int:
        """Events that have come and were not taken."""
        return len(self._waiting)

    def __repr__(self) -> str:
        return (
            f"<Subscription {self.object!r} {self.topic!r} {'open' if self.open else 'closed'} pending={self.pending}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event | Gap:
        event = self._next(None, None)
        if event is None:
            raise StopIteration
        return event

    def get(self, timeout: float | None = None) -> Event | Gap:
        """The next event. Raises TimeoutError when none came within `timeout` seconds, ClientClosed when none can come."""
        event = self._next(deadline_in(timeout), timeout)
        if event is None:
            raise ClientClosed(f"the subscription of '{self.object}' '{self.topic}' was closed")
        return event

    def close(self) -> None:
        """No more events come; those that wait can still be taken. May be called again."""
        if self.open:
            self.open = False
            self._client.unsubscribe(self)

    def done(self) -> bool:
        """Whether a thread that waits here has something to take."""
        return bool(self._waiting) or not self.open

    def _next(self, deadline: float | None, timeout: float | None) -> Event | Gap | None:
        while True:
            was_open = self.open  # looked at first: the last event may come, and then the end
            try:
                event, size = self._waiting.popleft()
            except IndexError:
                if not was_open:
                    return None
                self._client.link.require_open()
                if not self._client.link.wait_until(self.done, deadline):
                    raise TimeoutError(f"no event of '{self.object}' '{self.topic}' within {timeout:g} s") from None
            else:
                if size and self.open and self.subscribed is not None:
                    self._client.calls.taken(self.subscribed, size)
                return event

    # What the session tells

    def deliver(self, event: Event | Gap, size: int) -> None:
        self._waiting.append((event, size))

    def deliver_all(self, events: list[Event], size: int) -> None:
        self._waiting += [(event, 0) for event in events[:-1]]
        self.deliver(events[-1], size)

    def ended(self) -> None:
        self.open = False
