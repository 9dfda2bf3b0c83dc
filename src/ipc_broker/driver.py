"""The broker's own object, `rob`, as its callers see it: `client.object("rob", Rob)` is typed by it.

Whatever it answers to, the broker describes it by this class too (`rob.describe`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from .description import ObjectDescription
from .messages import DirectOffer
from .observation import PAYLOAD, RATE, Inspection, Measurement, Record, ServiceState, TopicState


class Rob(Protocol):
    """The broker itself: who is there, what they offer, what happens. It publishes `object.registered` and `object.lost`."""

    async def ping(self) -> str:
        """Answers "pong"."""
        ...

    async def listObjects(self, after: str | None = None) -> list[str]:
        """The names of all objects. With `after` only those behind that name, in order, as many as fit into an answer."""
        ...

    async def describe(self, object: str) -> ObjectDescription:
        """Who serves the object, and what it offers."""
        ...

    async def topics(self, object: str = "") -> list[TopicState]:
        """The topics of the object, a name or a pattern ("": all), that are subscribed to, retained or were published."""
        ...

    async def stats(self) -> dict[str, Any]:
        """Counts of all that there is, and of all that happened since the broker started."""
        ...

    def monitor(
        self, object: str = "", method: str = "", payload: int = PAYLOAD, rate: int = RATE
    ) -> AsyncIterator[Record]:
        """What happens from now on: calls, answers, events, who comes and goes.

        `object` and `method` (of an event: its topic) may be patterns. Payloads of more than `payload` bytes are left out,
        and records over `rate` a second, 0 for any number; a record "missed" counts them.
        """
        ...

    async def measure(self) -> Measurement:
        """Calls, answers with their latency, and events of each object since the first such question in a row."""
        ...

    async def inspect(self) -> Inspection:
        """What is stuck: calls in flight, who is slow, who was disconnected and why."""
        ...

    async def services(self) -> list[ServiceState]:
        """What is started when its object is called, and what has become of it. Only for those who may administer."""
        ...

    async def startService(self, object: str) -> ServiceState:
        """Starts it without a call; answers before it has started. Only for those who may administer."""
        ...

    async def stopService(self, object: str) -> ServiceState:
        """Stops it, until it is called again; answers before it has ended. Only for those who may administer."""
        ...

    async def direct(self, object_name: str) -> DirectOffer | None:
        """Where the object's worker can be called without the broker between, by this connection; null: not now."""
        ...

    async def unregister(self, object_name: str, keep_calls: bool = False) -> bool:
        """Gives a name of this connection up. Its calls in flight end, or with `keep_calls` will still be answered."""
        ...

    async def unsubscribe(self, object_name: str = "", topic: str = "", id: int = 0) -> bool:
        """Ends a subscription of this connection, by its id or by its names."""
        ...

    async def setWill(self, object_name: str = "", topic: str = "", args: Any = None, retain: bool = False) -> bool:
        """The event that is published when this connection ends without goodbye; without a topic there is none."""
        ...

    async def clear(self, object_name: str, topic: str) -> bool:
        """Removes the value that is retained there. False when there was none."""
        ...
