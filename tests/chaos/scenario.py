"""Plays a plan: starts everybody, does what is planned when it is planned, and lets all end in good order."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from ipc_broker.sync import connect
from tests.chaos.history import RETURN, Broker, History
from tests.chaos.plan import Plan
from tests.chaos.processes import Processes
from tests.chaos.traces import now
from tests.end_to_end.processes import until

TICK = 0.02
"""Seconds between two looks at what is to be done."""

CALM = 0.5
"""Seconds, beyond those that all have to return, in which nothing is done to anybody."""

WARM_UP = 1.5
"""Seconds in which a broker comes to use what it keeps for good, before it is measured; in long runs only."""

FORGETS = 5.0
"""Seconds that a broker may need to know that all have gone, and to forget the sessions that it keeps for a while."""

_ORDER = ("caller", "publisher", "subscriber", "worker")
"""In which they end: who publishes before who subscribes, so that all events can come."""


def play(plan: Plan, folder: Path) -> History:
    """Takes the plan's seconds, and some to begin and end. The folder is for the traces, and the socket."""
    with Processes(plan, folder) as processes:
        return _Scene(plan, processes).play()


class _Scene:
    def __init__(self, plan: Plan, processes: Processes) -> None:
        self._plan = plan
        self._processes = processes
        self._broker, *self._others = plan.actors
        self._lag = 0.0

    def play(self) -> History:
        processes = self._processes
        processes.do("start", self._broker)
        if self._plan.is_long:
            self._start_all()
            self._wait_until(now() + WARM_UP)
            self._end_all()
        self._stats()  # also the broker's first connection, with which its loop opens a spare descriptor for good
        before = self._measured()
        self._start_all()
        self._do_all()
        processes.recover()
        calm = now()
        self._wait_until(calm + RETURN + CALM)
        died = tuple(processes.died())
        closing = now()
        self._end_all()
        stats = self._stats()
        after = self._measured()
        processes.do("stop", self._broker)
        processes.wait_for_ends()
        return History(
            self._plan,
            processes.deeds,
            processes.traces(),
            processes.ends,
            calm=calm,
            closing=closing,
            broker=Broker(rss=(before[0], after[0]), descriptors=(before[1], after[1]), stats=stats),
            died=died,
            lag=self._lag,
        )

    def _start_all(self) -> None:
        for actor in self._others:
            self._processes.do("start", actor)
        for actor in self._others:
            until(partial(self._processes.is_ready, actor), f"{actor.name} is ready")

    def _do_all(self) -> None:
        started = now()
        for action in self._plan.actions:
            self._wait_until(started + action.at)
            self._processes.do(action.what, self._plan.actor(action.actor))
        self._wait_until(started + self._plan.seconds)

    def _end_all(self) -> None:
        for kind in _ORDER:
            for actor in self._others:
                if actor.kind == kind:
                    self._processes.end(actor)
            self._processes.wait_for_ends()

    def _wait_until(self, moment: float) -> None:
        while (left := moment - now()) > 0:
            slept = min(left, TICK)
            before = now()
            time.sleep(slept)
            self._lag = max(self._lag, now() - before - slept)
            self._processes.note_ends()

    def _stats(self) -> dict[str, int]:
        """What the broker says of itself when all have gone, or after a while in which they should have."""
        with connect(self._processes.address) as client:
            deadline = now() + self._plan.resume + FORGETS
            while True:
                stats: dict[str, int] = client.call("rob", "stats")
                counted = [stats[name] for name in ("objects", "subscriptions", "calls_in_flight", "calls_waiting")]
                if (stats["connections"] == 1 and not any(counted)) or now() > deadline:
                    return stats
                time.sleep(TICK)

    def _measured(self) -> tuple[int, int]:
        """The broker's memory, in bytes, and its descriptors, with no connection left; zeros where there is no /proc."""
        process = Path(f"/proc/{self._processes.pid(self._broker.name)}")
        if not process.exists():
            return 0, 0
        # The connection that has asked last is still being closed.
        counts = [-1]

        def steady() -> bool:
            counts.append(len(os.listdir(process / "fd")))
            return counts[-1] == counts[-2]

        until(steady, "the broker holds as many descriptors as before")
        status = (process / "status").read_text()
        [rss] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(rss) * 1024, counts[-1]
