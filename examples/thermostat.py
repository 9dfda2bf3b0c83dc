"""A thermostat and its sensors: events of many places, and the last value for who comes later.

    $ python examples/thermostat.py sensor attic 17.5
    $ python examples/thermostat.py &
    attic has 17.5 °C: heating on
    cellar has 12 °C: heating on
    attic has 22 °C: heating off
    $ python examples/thermostat.py sensor cellar 12
    $ python examples/thermostat.py sensor attic 20 22

The first sensor has spoken and gone before there is a thermostat: the broker retains its value.
"""

import asyncio
import sys
from contextlib import suppress

from ipc_broker import Event, connect

TOO_COLD, WARM_ENOUGH = 18.0, 21.0


async def sense(place: str, temperatures: list[float]) -> None:
    async with connect(name=f"sensor in the {place}") as client:
        for celsius in temperatures:
            await client.publish(f"home.{place}", "temperature", celsius, retain=True)


async def regulate() -> None:
    heating: dict[str, bool] = {}
    async with connect(name="thermostat") as client, client.subscribe("home.*", "temperature") as events:
        async for event in events:
            if not isinstance(event, Event):
                continue  # a Gap: some were missed, and the next one says what matters
            place = event.object.removeprefix("home.")
            if event.value < TOO_COLD:
                wanted = True
            elif event.value > WARM_ENOUGH:
                wanted = False
            else:
                continue
            if heating.get(place) is not wanted:
                heating[place] = wanted
                print(f"{place} has {event.value:g} °C: heating {'on' if wanted else 'off'}", flush=True)
                await client.publish(event.object, "heating", wanted, retain=True)


with suppress(KeyboardInterrupt):
    if sys.argv[1:2] == ["sensor"]:
        asyncio.run(sense(sys.argv[2], [float(word) for word in sys.argv[3:]]))
    else:
        asyncio.run(regulate())
