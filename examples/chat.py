"""A chat: what is said goes to all, and answers go to the one who has asked.

    $ python examples/chat.py anna &
    anna is here
    bert says: does anybody have a pen?
    $ python examples/chat.py carl &
    carl is here
    bert says: does anybody have a pen?
    $ python examples/chat.py bert "does anybody have a pen?"
    anna answers: I do, bert
    carl answers: I do, bert

Each member is a worker as well: it serves `chat.NAME`, by which the others can reach it alone.
"""

import asyncio
import sys
from contextlib import suppress

from ipc_broker import Event, Gap, Worker


class Member:
    """What the others can call."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def hear(self, sender: str, text: str) -> None:
        await self.answers.put((sender, text))


async def listen(name: str) -> None:
    worker = Worker(name=name)

    async def answer(event: Event | Gap) -> None:
        """Is called for one event after the other."""
        if isinstance(event, Gap):
            return
        sender, text = event.value
        print(f"{sender} says: {text}", flush=True)
        if text.endswith("?"):
            await worker.client.object(f"chat.{sender}").hear(sender=name, text=f"I do, {sender}")

    worker.add(f"chat.{name}", Member())
    async with worker:
        await worker.client.subscribe("chat", "said", callback=answer)
        print(f"{name} is here", flush=True)
        await worker.serve()


async def ask(name: str, text: str) -> None:
    worker, member = Worker(name=name), Member()
    worker.add(f"chat.{name}", member)
    async with worker:
        others = [other for other in await worker.client.objects() if other.startswith("chat.")]
        await worker.client.publish("chat", "said", [name, text])
        for sender, answer in sorted([await member.answers.get() for _ in others[1:]]):
            print(f"{sender} answers: {answer}")


with suppress(KeyboardInterrupt):
    asyncio.run(ask(*sys.argv[1:]) if len(sys.argv) > 2 else listen(sys.argv[1]))
