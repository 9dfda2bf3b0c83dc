"""What policy and quotas cost the broker: its time for calls in flight and events of somebody to whom 20 rules and quotas apply,
and for those of its owner, in turn.

Whoever runs this owns the broker, and another user is not always there to be had. So the one broker takes its own user for
somebody else, of whom every call, event and answer is looked up and counted. Callers, workers, publishers and subscribers
are all that user's. The process:

    python -m benchmarks.restricted ADDRESS
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import uvloop

from ipc_broker.aio.gate import Entry, Gate
from ipc_broker.aio.running import run_broker
from ipc_broker.config import BrokerConfig, Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.security.principal import Principal
from ipc_broker.sync import connect

from .calls import CallsInFlight
from .events import Events
from .figures import Figure, Goal
from .processes import Bus, start_worker, wait_until_it_listens

RULES = 20
SOMEBODY = Principal(1000, "somebody", frozenset({"somebody", "staff"}))
QUOTAS = Quotas(rate=1_000_000_000)
"""Counted as any other rate, and never reached."""

LEAST_RATE = 0.95
"""Of the owner's, through the broker. One second differs from the next by more than that, where anything else runs."""

TURNS = 4
"""Of each kind in a round: the machine does other things meanwhile, seldom the same for both."""

KINDS = ("owner", "restricted")

if sys.platform == "linux":
    _TICKS = os.sysconf("SC_CLK_TCK")
else:
    _TICKS = 1  # there is nothing to read


def policy() -> str:
    """Of those about somebody, the last rules are the ones that allow what is measured."""
    rules: list[str] = []
    for number in range(RULES - 2):
        who = ('groups = "staff"', 'users = "another"')[number % 2]
        rules.append(
            f'[[rule]]\nname = "{number}"\neffect = "deny"\n{who}\ncall = "device{number}.*"\npublish = "x.{number}.>"\n'
        )
    rules.append('[[rule]]\nname = "calls"\nusers = 1000\ncall = "math.*"\nregister = "math"\n')
    rules.append('[[rule]]\nname = "events"\nusers = 1000\npublish = "sensor.*"\nsubscribe = "sensor.*"\n')
    return "\n".join(rules)


def _figures(what: str) -> tuple[Figure, ...]:
    return (
        Figure(f"owner-{what}", f"broker's us for each {what} of the owner"),
        Figure(f"restricted-{what}", f"the same with {RULES} rules and quotas"),
        Figure(f"restricted-{what}-rate", f"{what}s/s restricted / owner", goal=Goal("at least", LEAST_RATE)),
    )


class Restricted:
    """The broker's time for a call and for an event of either kind, and how many of them go through, in turn."""

    name = "restricted"
    figures = (*_figures("call"), *_figures("event"))

    def __init__(self) -> None:
        self._buses: dict[str, Bus] = {}

    @staticmethod
    def missing() -> str:
        """Why it cannot be measured here; "" when it can."""
        return "" if sys.platform == "linux" else "it reads /proc, which only Linux has"

    def measure(self, bus: Bus, seconds: float) -> dict[str, list[float]]:
        if not self._buses:
            folder = bus.folder / "owner"
            folder.mkdir()
            self._buses = {"owner": Bus(bus.processes, folder, "--through-broker"), "restricted": _RestrictedBus(bus)}
        buses = self._buses
        values: dict[str, list[float]] = {}
        for what, load, count in (("call", CallsInFlight(), "calls"), ("event", Events((1,), goal=0), "published")):
            costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
            rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for turn in range(TURNS):
                for kind in KINDS if turn % 2 else reversed(KINDS):
                    before = _spent(buses[kind], count)
                    [[rate]] = load.measure(buses[kind], seconds).values()
                    rates[kind].append(rate)
                    after = _spent(buses[kind], count)
                    costs[kind].append((after.seconds - before.seconds) / (after.done - before.done) * 1e6)
            for kind in KINDS:
                values[f"{kind}-{what}"] = costs[kind]
            owner, restricted = (sum(rates[kind]) for kind in KINDS)
            values[f"restricted-{what}-rate"] = [restricted / owner]
        return values


class _Spent(NamedTuple):
    seconds: float
    done: int


def _spent(bus: Bus, count: str) -> _Spent:
    """By the broker, on a processor; and what it has counted."""
    with connect(bus.address) as client:
        stats = client.call("rob", "stats")
    fields = Path(f"/proc/{stats['pid']}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime, stime (proc_pid_stat(5))
    return _Spent(ticks / _TICKS, stats["totals"][count])


class _RestrictedBus(Bus):
    """Of a broker that takes whoever connects for somebody else; a worker, too."""

    def __init__(self, bus: Bus) -> None:
        self.processes, self.folder = bus.processes, bus.folder
        self.address = f"unix://{bus.folder}/restricted.sock"
        broker = self.processes.start([sys.executable, "-m", "benchmarks.restricted", self.address])
        wait_until_it_listens(broker, self.address)
        start_worker(self.processes, self.address)


def main(address: str) -> None:
    """Takes whoever connects for somebody who is not its owner."""

    def entry_of_somebody(gate: Gate, credentials: Credentials) -> Entry:
        return Entry(credentials, SOMEBODY)

    Gate._on_this_machine = entry_of_somebody  # type: ignore[assignment,method-assign]  # see the module
    with tempfile.TemporaryDirectory(prefix="ipc-broker-bench-") as folder:
        file = Path(folder) / "policy.toml"
        file.write_text(policy(), encoding="utf-8")
        config = BrokerConfig(listen=(address,), policy=str(file), quotas=QUOTAS, log_level="warn")
        uvloop.run(run_broker(config))


if __name__ == "__main__":
    main(*sys.argv[1:])
