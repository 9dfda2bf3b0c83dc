"""How a broker ends that is killed."""

from __future__ import annotations

from ..aio.broker import Broker


async def end_at_once(broker: Broker) -> None:
    """Ends all its connections without a word, and gives its addresses free."""
    for peer in sorted(broker.router.peers, key=lambda peer: peer.id):
        peer.shell.abort()
    broker.close_at_once()
    await broker.close()
