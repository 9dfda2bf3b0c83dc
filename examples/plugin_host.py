"""A host and its plugins: programs that come and go while the host runs.

    $ python examples/plugin_host.py &
    waiting for plugins
    plugin.upper has come
    plugin.reverse has come
    plugin.upper has gone
    $ python examples/plugin_host.py plugin upper &
    ready
    $ python examples/plugin_host.py plugin reverse &
    ready
    $ python examples/plugin_host.py apply "hello, world"
    DLROW ,OLLEH
    $ kill %2
    $ python examples/plugin_host.py apply "hello, world"
    dlrow ,olleh

Nobody registers a plugin with the host: it is whoever serves an object whose name begins with `plugin.`.
"""

import asyncio
import sys
from contextlib import suppress

from ipc_broker import Event, Worker, connect


class Upper:
    def change(self, text: str) -> str:
        return text.upper()


class Reverse:
    def change(self, text: str) -> str:
        return text[::-1]


class Host:
    def __init__(self, worker: Worker) -> None:
        self._client = worker.client

    async def apply(self, text: str) -> str:
        """The text, as all plugins that there are have changed it."""
        for name in await self._client.objects():
            if name.startswith("plugin."):
                text = await self._client.call(name, "change", [text], returns=str)
        return text


async def host() -> None:
    worker = Worker(name="host")
    worker.add("host", Host(worker))
    async with worker, worker.client.subscribe("rob", "*.*") as events:  # the broker tells who comes and goes
        print("waiting for plugins", flush=True)
        async for event in events:
            if isinstance(event, Event) and event.value["object"].startswith("plugin."):
                print(
                    event.value["object"], "has come" if event.topic == "object.registered" else "has gone", flush=True
                )


def serve(name: str) -> None:
    worker = Worker(on_connect=lambda: print("ready", flush=True))
    worker.add(f"plugin.{name}", {"upper": Upper, "reverse": Reverse}[name]())
    worker.run()


async def apply(text: str) -> None:
    async with connect() as client:
        print(await client.call("host", "apply", [text]))


with suppress(KeyboardInterrupt):
    match sys.argv[1:]:
        case ["plugin", name]:
            serve(name)
        case ["apply", text]:
            asyncio.run(apply(text))
        case _:
            asyncio.run(host())
