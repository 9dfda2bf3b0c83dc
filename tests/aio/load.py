"""Events in numbers, calls meanwhile, and what the broker says of those who are slow."""

from __future__ import annotations

from ipc_broker import Event, Limits
from ipc_broker.aio.client import Client
from ipc_broker.aio.subscription import Subscription

VALUE = "x" * 1000
PATIENT = Limits(backlog=100_000, stall=60)
"""Whoever waits longer than for a slow subscriber fails the test by its time limit."""
HASTY = Limits(backlog=100_000, stall=0.5)


async def publish_all(client: Client, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        await client.publish("a", "t", [number, VALUE])
    await client.drain()


async def counted(client: Client) -> tuple[int, int]:
    """Subscriptions that are lagging, and publishers that wait."""
    stats = await client.call("rob", "stats")
    return stats["subscriptions_lagging"], stats["publishers_paused"]


async def call_on(client: Client, times: int) -> None:
    for number in range(times):
        assert await client.call("math", "add", [number, 1], timeout=10) == {"sum": number + 1}


async def take_all(events: Subscription, first: int, count: int) -> None:
    """Exactly these events, in their order."""
    for number in range(first, first + count):
        item = await events.get(10)
        assert isinstance(item, Event), item
        assert item.value[0] == number
