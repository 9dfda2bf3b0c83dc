"""The processes of a run, from outside: the broker and, one after another, those of each actor."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from ipc_broker.cli.children import STOP_TIMEOUT, Child, ChildFailed
from tests.chaos.actor import Assignment
from tests.chaos.history import Deed, End
from tests.chaos.plan import BACKLOG, GRACE, STALL, WAITING, Actor, Plan, What
from tests.chaos.traces import AnyRecord, Ready, now, read_trace
from tests.cli.programs import PATIENCE, environment, start_broker
from tests.end_to_end.processes import free_port, until

_ROOT = str(Path(__file__).parents[2])

MOST_SAID = 30
"""Lines that are kept of what a process said, the last."""


class Processes:
    """For `with`, which leaves none behind. `deeds` and `ends` are what has happened."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._running: dict[str, Child] = {}  # by the actor
        self._ending: dict[str, Child] = {}  # by the process
        self._incarnations: dict[str, int] = {}
        self._frozen: set[str] = set()
        self.address = f"unix://{folder}/bus" if plan.transport == "unix" else f"tcp://127.0.0.1:{free_port()}"
        self.deeds: list[Deed] = []
        self.ends: list[End] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in [*self._running.values(), *self._ending.values()]:
            child.kill()
            child.stop()

    def do(self, what: What, actor: Actor) -> None:
        """What cannot be done to the actor as it is, is left."""
        since = now()
        process = self.process(actor.name)
        if what == "start":
            if actor.name in self._running:
                return
            process = self._start(actor)
        elif actor.name not in self._running:
            return
        elif what == "kill":
            child = self._running.pop(actor.name)
            self._frozen.discard(actor.name)
            child.kill()
            self._ended(process, child)
        elif what == "stop":
            if not self._listens_to_signals(actor):
                return
            child = self._running.pop(actor.name)
            child.send_signal(signal.SIGTERM)
            self._ending[process] = child
        elif what == "cut":
            if not self.is_ready(actor):
                return
            _signal(self._running[actor.name], what)
        else:
            _signal(self._running[actor.name], what)
            (self._frozen.add if what == "freeze" else self._frozen.discard)(actor.name)
        self.deeds.append(Deed(what=what, process=process, since=since, at=now()))

    def end(self, actor: Actor) -> None:
        """As `do("stop")`, but one that has only just been started is waited for: it does not listen to signals yet."""
        child = self._running.get(actor.name)
        if child is not None:
            until(lambda: self._listens_to_signals(actor) or _has_ended(child), f"{actor.name} listens to signals")
            self.do("stop", actor)

    def process(self, actor: str) -> str:
        """The one that runs, or ran last."""
        return f"{actor}#{self._incarnations.get(actor, 0)}"

    def pid(self, actor: str) -> int:
        return self._running[actor].pid

    def is_ready(self, actor: Actor) -> bool:
        return any(isinstance(record, Ready) for record in self.trace(self.process(actor.name)))

    def note_ends(self) -> None:
        """Of those that were asked to end, and have done so."""
        for process, child in list(self._ending.items()):
            if _has_ended(child):
                self.wait_for_end(process)

    def wait_for_end(self, process: str) -> None:
        """Of one that was asked to; it is killed when it does not."""
        child = self._ending.pop(process, None)
        if child is not None:
            try:
                child.wait(STOP_TIMEOUT)
            except ChildFailed:
                child.kill()
            self._ended(process, child)

    def wait_for_ends(self) -> None:
        for process in list(self._ending):
            self.wait_for_end(process)

    def recover(self) -> None:
        """Everybody is there again, and awake."""
        for actor in self._plan.actors:
            if actor.name in self._frozen:
                self.do("thaw", actor)
            self.do("start", actor)

    def died(self) -> list[str]:
        """The processes that have ended without being asked to."""
        return [self.process(name) for name, child in self._running.items() if _has_ended(child)]

    def trace(self, process: str) -> list[AnyRecord]:
        return read_trace(self._folder / f"{process}.jsonl")

    def traces(self) -> dict[str, list[AnyRecord]]:
        return {
            process: self.trace(process)
            for name, last in self._incarnations.items()
            for process in (f"{name}#{number}" for number in range(1, last + 1))
            if name != "broker"
        }

    def _start(self, actor: Actor) -> str:
        incarnation = self._incarnations[actor.name] = self._incarnations.get(actor.name, 0) + 1
        if actor.kind == "broker":
            self.wait_for_end(f"{actor.name}#{incarnation - 1}")
            child = start_broker("--listen", self.address, *_broker_options(self._plan))
            self._running[actor.name] = child
            child.wait_for_line(" listens on ", PATIENCE)
            return self.process(actor.name)
        assignment = Assignment(
            actor=actor,
            incarnation=incarnation,
            seed=self._plan.seed,
            address=self.address,
            trace=str(self._folder / f"{actor.name}#{incarnation}.jsonl"),
        )
        arguments = ["-W", "error", "-m", f"tests.chaos.{actor.kind}", msgspec.json.encode(assignment).decode()]
        paths = [f"{_ROOT}/src", _ROOT]
        child = Child(assignment.process, arguments, environment(PYTHONPATH=os.pathsep.join(paths)))
        self._running[actor.name] = child
        return assignment.process

    def _listens_to_signals(self, actor: Actor) -> bool:
        return actor.kind == "broker" or (self._folder / f"{self.process(actor.name)}.jsonl").exists()

    def _ended(self, process: str, child: Child) -> None:
        since = now()
        status = child.stop()
        child.failure("ended")  # which collects what it said
        self.ends.append(End(process=process, status=status, said=tuple(child.said[-MOST_SAID:])))
        self.deeds.append(Deed(what="end", process=process, since=since, at=now()))


def _broker_options(plan: Plan) -> list[str]:
    limits = {"backlog": BACKLOG, "stall": STALL, "waiting": WAITING, "resume": plan.resume}
    options = [word for name, value in limits.items() for word in (f"--limit-{name}", str(value))]
    return [*options, "--grace", str(GRACE)]


def _signal(child: Child, what: What) -> None:
    if sys.platform == "win32":
        raise OSError("Windows cannot freeze a process")
    child.send_signal({"freeze": signal.SIGSTOP, "thaw": signal.SIGCONT, "cut": signal.SIGUSR1}[what])


def _has_ended(child: Child) -> bool:
    """Without waiting."""
    try:
        child.wait(0.0)
    except ChildFailed:
        return False
    return True
