"""Each `reveal_type` is followed by what type checkers must say. Only checked, never run."""

from __future__ import annotations

from typing import reveal_type

from ipc_broker import Client
from ipc_broker.sync import Client as BlockingClient
from tests.typing.services import Asynchronous, Blocking, Calculator, Service


async def revealed(client: Client, blocking: BlockingClient) -> None:
    reveal_type(client.object("math", Asynchronous))  # Asynchronous
    reveal_type(await client.object("math", Asynchronous).add(1, 2))  # int
    reveal_type(await client.object("math", Calculator).add(1, 2))  # int
    reveal_type(client.object("math", Asynchronous).tail(1))  # AsyncIterator[str]
    reveal_type(await client.bind("math", Service.add)(1, 2))  # int
    reveal_type(client.bind("math", Service.tail)(1))  # Stream[str]
    reveal_type(client.bind("math", Service.count)(1))  # Stream[int]

    reveal_type(blocking.object("math", Blocking))  # Blocking
    reveal_type(blocking.object("math", Blocking).add(1, 2))  # int
    reveal_type(blocking.object("math", Blocking).tail(1))  # Iterator[str]
    reveal_type(blocking.bind("math", Service.add)(1, 2))  # int
    reveal_type(blocking.bind("math", Service.divide)(1, by=2))  # float
    reveal_type(blocking.bind("math", Service.tail)(1))  # Stream[str]
