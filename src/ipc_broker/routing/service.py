"""One object that is started when it is called: what has become of its service, and what comes next.

A call of a service that does not run waits at its name, as calls do that no worker has room for, while the launcher, which is
the shell's, starts a process; the registration of the object ends the wait. While it is stopped, calls wait for the next start.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..activation.definition import ServiceDefinition
from ..observation import ServiceState
from .names import Name
from .pending import Refusal

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
"""Seconds after a failure in which it is not tried again. The first in a row costs nothing; then they double."""

STABLE = 10.0
"""Seconds that a service has to serve its object until its failures are forgotten."""

SETTLE = 1.0
"""Seconds between the end of a process and that of its connection; whoever serves the object still is somebody else."""


class Launcher(Protocol):
    """Starts and stops processes; what becomes of them it tells `Services`.

    Each `start` of a process ends with one `ended`, and is not repeated before. That a unit of systemd has ended is told only
    while it starts, and after `stop`.
    """

    def start(self, definition: ServiceDefinition) -> None: ...

    def stop(self, definition: ServiceDefinition) -> None: ...

    def last_words(self, object_name: str) -> str:
        """Of the process that runs, for people; "" where it has said nothing."""


class State(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    """It does not serve its object yet, or not any more: its process may have lost its connection."""
    RUNNING = "running"
    """Somebody serves the object, usually its process."""
    STOPPING = "stopping"
    """Calls wait until it has ended, and start it again."""
    FAILED = "failed"
    """It is not tried again until `Service.again_at`."""


class End(NamedTuple):
    """Of a process, or of the attempt to start one. `reason` is for people: its status, and the last of its log."""

    reason: str
    failed: bool


class Service:
    """Changed by calls, by its object's registrations, by the launcher and by time."""

    __slots__ = (
        "_end",
        "_gave_up",
        "_router",
        "_served_at",
        "_used",
        "again_at",
        "alive",
        "definition",
        "due",
        "failures",
        "name",
        "pid",
        "reason",
        "since",
        "state",
        "wanted",
    )

    def __init__(self, router: Router, definition: ServiceDefinition, now: float) -> None:
        self._router = router
        self.state = State.STOPPED
        self.since = now
        self.alive = False
        """Its process has been started and has not ended. Of a unit nobody knows."""
        self.pid: int | None = None
        self.failures = 0
        """In a row."""
        self.reason = ""
        """Why it failed last, with the last lines of its log."""
        self.again_at = now
        self.due: float | None = None
        """When something has to be done, should nothing come before."""
        self.wanted = False
        """Whether it is to be started again as soon as it has stopped."""
        self._used = False
        self._served_at: float | None = None  # since it was started
        self._end: End | None = None  # of its process, while somebody still serves the object
        self._gave_up = False  # it is stopped because it did not serve in time
        self.define(definition, now)

    @property
    def object_name(self) -> str:
        return self.definition.object

    @property
    def comes(self) -> bool:
        """Whether calls may wait for it, although nobody serves the object."""
        return self.state in (State.STARTING, State.STOPPING)

    def define(self, definition: ServiceDefinition, now: float) -> None:
        """Also anew: what has changed holds from the next start on."""
        self.definition = definition
        self.name = self._router.names.keep(definition.object)
        self.name.service = self
        self.name.settle()
        self._router.directs.name_changed(definition.object)  # it is to see each call
        if self.name.members:
            self.registered(now)

    def forget(self, now: float) -> None:
        """It is not defined any more. Its process is stopped, and its end still told to it."""
        self.name.service = None
        self.name.settle()
        self._router.names.let_go(self.name)
        if not self.name.members:
            self._refuse_waiting("its service is not defined any more", now)
        self._router.calls.give_waiting(self.name, now)
        if self.alive and self.state is not State.STOPPING:
            self._stop(now)

    # Calls

    def expect_call(self, now: float) -> Name:
        """Where a call may wait while nobody serves the object; starts it. Raises Refusal."""
        if self._router.stopping:
            raise Refusal("activation_failed", f"{self._cannot}: the broker stops")
        if now < self.again_at and self.state is not State.STARTING:
            seconds = self.again_at - now
            raise Refusal("activation_failed", f"{self._cannot}: {self.reason}; it is tried again in {seconds:.1f} s")
        if self.state in (State.STOPPED, State.FAILED):
            self._start(now)
        if self.state is State.FAILED:  # it could not even be begun
            raise Refusal("activation_failed", f"{self._cannot}: {self.reason}")
        return self.name

    def lets_pass(self) -> bool:
        """To be asked for each call that comes, or has waited: not while it is stopped."""
        self._used = True
        return self.state is not State.STOPPING

    # What people ask for

    def start(self, now: float) -> None:
        """Also one that has failed, without waiting."""
        self.failures, self.again_at = 0, now
        if self.state in (State.STOPPED, State.FAILED):
            self._start(now)
        elif self.state is State.STOPPING:
            self.wanted = True

    def stop(self, now: float) -> bool:
        """False where somebody serves the object whom this broker has not started. The next call starts it again."""
        if self.state is State.RUNNING and not self._can_stop:
            return False
        self.wanted = self._gave_up = False
        self.failures, self.again_at = 0, now
        self._refuse_waiting("it was stopped", now)
        if self.state in (State.STARTING, State.RUNNING):
            self._stop(now)
        elif self.state is State.FAILED:
            self._enter(State.STOPPED, now)
        self.due = None
        return True

    # What the registrar tells

    def registered(self, now: float) -> None:
        """Somebody serves the object; a process that is stopped gets no calls all the same."""
        if self._served_at is None:
            self._served_at = now
        if self.state not in (State.RUNNING, State.STOPPING):
            self._enter(State.RUNNING, now, self._idle_due(now))

    def lost(self, now: float) -> None:
        """Nobody serves it any more."""
        if self._router.stopping:
            self._enter(State.STOPPED, now)
        elif self._end is not None:
            self._settle(self._end, now)
        elif self.state is State.RUNNING and self.alive:
            self._enter(State.STARTING, now, now + self.definition.start_timeout)
        elif self.state is State.RUNNING:
            self._enter(State.STOPPED, now)
            if self.name.waiting:
                self._start(now)

    # What the launcher tells

    def ended(self, end: End, now: float) -> None:
        self.alive = False
        self.pid = None
        if self.state in (State.STOPPED, State.FAILED):
            return  # that was known already
        if self.name.service is not self:
            self._enter(State.STOPPED, now)
        elif self.name.members:
            self._end = end
            self._set_due(now + SETTLE)
        else:
            self._settle(end, now)

    def _settle(self, end: End, now: float) -> None:
        """Its process has ended, and nobody serves the object."""
        self._end = None
        served_at = self._served_at
        if self.state is State.STOPPING:
            self._enter_failed(now) if self._gave_up else self._enter(State.STOPPED, now)
            self._gave_up = False
            self._start_for_waiting(now)
        elif served_at is None:
            self._fail(f"{end.reason}, before it served '{self.object_name}'", now)
            self._refuse_waiting(self.reason, now)
        elif end.failed or (self.definition.restart == "always" and now - served_at < STABLE):
            if now - served_at >= STABLE:
                self.failures = 0
            self._fail(end.reason, now)
            self._start_for_waiting(now)
        else:
            self.failures = 0
            self._enter(State.STOPPED, now)
            self.wanted = self.wanted or self.definition.restart == "always"
            self._start_for_waiting(now)

    # Time

    def handle_timer(self, now: float) -> None:
        """It is due."""
        self.due = None
        match self.state:
            case State.STARTING:
                self._give_up(now)
            case State.RUNNING if self._end is not None:
                logger.warning("%s; somebody else serves '%s'", self._end.reason, self.object_name)
                self._end = None
                self._set_due(self._idle_due(now))
            case State.RUNNING:
                self._stop_if_idle(now)
            case State.STOPPING if self.name.members:
                logger.warning("'%s' is still served, although its service has ended", self.object_name)
                self._end = None
                self._enter(State.RUNNING, now, self._idle_due(now))
                self._router.calls.give_waiting(self.name, now)
            case State.STOPPED | State.FAILED:
                self._start(now)
            case State.STOPPING:
                pass

    def _give_up(self, now: float) -> None:
        seconds = self.definition.start_timeout
        how = "it did not serve" if self._served_at is None else "its process runs, but does not serve"
        self._fail(f"{how} '{self.object_name}' within {seconds:g} s{self._heard()}", now)
        if self.alive:
            self._gave_up = True
            self._stop(now)
        self._refuse_waiting(self.reason, now)

    def _heard(self) -> str:
        launcher = self._router.services.launcher
        last = launcher.last_words(self.object_name) if self.alive and launcher is not None else ""
        return f"; {last}" if last else ""

    def _stop_if_idle(self, now: float) -> None:
        name, idle_stop = self.name, self.definition.idle_stop
        busy = self._used or name.waiting or any(member.running for member in name.members)
        self._used = False
        if idle_stop and self._can_stop and not busy:
            logger.info("the service of '%s' was not called for %g s", name.object_name, idle_stop)
            self._stop(now)
        else:
            self._set_due(self._idle_due(now))

    # Changes

    @property
    def _cannot(self) -> str:
        return f"'{self.object_name}' cannot be started"

    @property
    def _can_stop(self) -> bool:
        is_unit = bool(self.definition.systemd_unit) and self._router.services.launcher is not None
        return self.alive or is_unit

    def _idle_due(self, now: float) -> float | None:
        return now + self.definition.idle_stop if self.definition.idle_stop else None

    def _set_due(self, due: float | None) -> None:
        self.due = due
        if due is not None:
            self._router.timers_began = True

    def _enter(self, state: State, now: float, due: float | None = None) -> None:
        self.state = state
        self.since = now
        self._set_due(due)

    def _start(self, now: float) -> None:
        launcher = self._router.services.launcher
        self.wanted = self._used = False
        self._end = self._served_at = None
        if launcher is None or self._router.stopping:
            self._fail("this broker starts no processes" if launcher is None else "the broker stops", now)
            return
        logger.info("starts the service of '%s'", self.object_name)
        self._enter(State.STARTING, now, now + self.definition.start_timeout)
        self.alive = not self.definition.systemd_unit
        launcher.start(self.definition)

    def _start_for_waiting(self, now: float) -> None:
        """It has ended: somebody may have come in the meantime."""
        if not (self.name.waiting or self.wanted):
            return
        if now < self.again_at:
            self._refuse_waiting(self.reason, now)
        else:
            self._start(now)

    def _stop(self, now: float) -> None:
        self._enter(State.STOPPING, now)
        launcher = self._router.services.launcher
        assert launcher is not None
        launcher.stop(self.definition)

    def _fail(self, reason: str, now: float) -> None:
        self.failures += 1
        self.reason = reason
        delay = 0.0 if self.failures == 1 else min(FIRST_BACKOFF * 2.0 ** (self.failures - 2), LONGEST_BACKOFF)
        self.again_at = now + delay
        logger.warning("the service of '%s' failed: %s", self.object_name, reason)
        self._enter_failed(now)

    def _enter_failed(self, now: float) -> None:
        restarts = self.definition.restart != "never" and not self._router.stopping
        self._enter(State.FAILED, now, max(self.again_at, now + FIRST_BACKOFF) if restarts else None)

    def _refuse_waiting(self, reason: str, now: float) -> None:
        self._router.calls.refuse_waiting(self.name, "activation_failed", f"{self._cannot}: {reason}", now)

    def tell(self, now: float) -> ServiceState:
        """For `rob.services`."""
        definition, seconds = self.definition, now - self.since
        is_stable = self.state is State.RUNNING and seconds >= STABLE
        return ServiceState(
            object=definition.object,
            state=self.state.value,
            seconds=round(seconds, 3),
            pid=self.pid,
            failures=0 if is_stable else self.failures,
            reason="" if is_stable else self.reason,
            exec=definition.exec,
            systemd_unit=definition.systemd_unit,
        )
