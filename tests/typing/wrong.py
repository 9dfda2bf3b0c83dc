"""Type checkers must find an error in each line that is marked so, and in no other. Only checked, never run."""

from __future__ import annotations

from ipc_broker import Client
from ipc_broker.sync import Client as BlockingClient
from tests.typing.services import Asynchronous, Blocking, Point, Service


async def calls_that_do_not_fit(client: Client) -> None:
    api = client.object("math", Asynchronous)
    await api.add("one", 2)  # wrong
    await api.add(1, 2, 3)  # wrong
    await api.add(a=1, c=2)  # wrong
    await api.subtract(1, 2)  # wrong
    text: str = await api.add(1, 2)  # wrong
    await api.tail(1)  # wrong
    print(text, (await api.origin()).z)  # wrong
    await client.object("math", Point(1, 2))  # wrong

    add = client.bind("math", Service.add)
    await add("one")  # wrong
    await add()  # wrong
    number: int = add(1)  # wrong
    await client.bind("math", Service.divide)(1.0, 2.0)  # wrong
    for _ in client.bind("math", Service.count)(1):  # wrong
        print(number)


def blocking_calls_that_do_not_fit(client: BlockingClient) -> None:
    api = client.object("math", Blocking)
    api.add("one", 2)  # wrong
    text: str = api.add(1, 2)  # wrong
    api.subtract(1, 2)  # wrong
    client.object("math", Blocking, patience=1)  # wrong
    client.object("math", check=True)  # wrong

    text = client.bind("math", Service.add)(1)  # wrong
    text = client.bind("math", Service.divide)(1.0, by=2.0)  # wrong
    client.bind("math", Service.add)(1, 2, 3)  # wrong
    for line in client.bind("math", Service.tail)("many"):  # wrong
        print(line, text)
