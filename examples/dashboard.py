"""A dashboard in the terminal: who serves what, and how much it is called.

    $ python examples/rust_worker.py &
    registered
    $ python examples/dashboard.py --once
    ┏━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┓
    ┃ object  ┃ served by ┃ in flight ┃ calls/s ┃ errors/s ┃
    ┡━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━┩
    │ counter │ somebody  │         0 │       0 │        0 │
    └─────────┴───────────┴───────────┴─────────┴──────────┘

Without `--once` it goes on until Ctrl-C, twice a second. It asks the broker's own object, `rob`, as any program may.
"""

import asyncio
import sys
from contextlib import suppress

from rich.live import Live
from rich.table import Table

from ipc_broker import NoSuchObject, connect
from ipc_broker.driver import Rob
from ipc_broker.observation import Measurement, ObjectMeasures


async def show(*, once: bool) -> None:
    async with connect(name="dashboard") as client:
        rob = client.object("rob", Rob)
        before = await rob.measure()  # from now on it counts, as long as it is asked again within ten seconds
        with Live(auto_refresh=False) as live:
            while True:
                if not once:
                    await asyncio.sleep(0.5)
                now = await rob.measure()
                names = [name for name in await client.objects() if name != "rob"]
                live.update(table(before, now, {name: await owner_of(rob, name) for name in names}), refresh=True)
                if once:
                    return
                before = now


async def owner_of(rob: Rob, name: str) -> str:
    try:
        owners = (await rob.describe(name)).owners
    except NoSuchObject:  # it has just gone
        return ""
    return ", ".join(owner.name or (f"process {owner.pid}" if owner.pid else "somebody") for owner in owners)


def table(before: Measurement, now: Measurement, owners: dict[str, str]) -> Table:
    shown = Table("object", "served by")
    for heading in ("in flight", "calls/s", "errors/s"):
        shown.add_column(heading, justify="right")
    seconds = max(now.time - before.time, 0.001)
    for name, owner in owners.items():
        then, new = (measured.objects.get(name, ObjectMeasures()) for measured in (before, now))
        calls, errors = (new.calls - then.calls) / seconds, (new.errors - then.errors) / seconds
        shown.add_row(name, owner, str(new.in_flight), f"{calls:.0f}", f"{errors:.0f}")
    return shown


with suppress(KeyboardInterrupt):
    asyncio.run(show(once="--once" in sys.argv))
