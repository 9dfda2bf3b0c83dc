"""Starts and stops what serves objects on demand, and tells the broker's brain what becomes of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from ..activation.definition import ServiceDefinition
from ..routing.service import State
from ..routing.services import Services
from .processes import ServiceProcess
from .units import ServiceUnit

ADDRESS_VARIABLE, OBJECT_VARIABLE = "BROKER_ADDR", "IPC_BROKER_OBJECT"
"""Where a service finds the broker, and the name of the object that it is to serve."""

OUR_OWN = (
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
)
"""Variables by which systemd speaks to the broker: a service that took them for its own would answer in its place."""


class ProcessLauncher:
    """The `Launcher` of a broker that runs on asyncio."""

    def __init__(
        self,
        services: Services,
        address: str,
        time: Callable[[], float],
        flush: Callable[[float], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`flush` is to be called whenever the brain has been told something. `environ` is what processes inherit."""
        self._services = services
        self._time = time
        self._flush = flush
        inherited = os.environ if environ is None else environ
        self._environ = {name: value for name, value in inherited.items() if name not in OUR_OWN}
        self._environ[ADDRESS_VARIABLE] = address
        self._processes: dict[str, ServiceProcess] = {}
        self._units: dict[str, ServiceUnit] = {}

    def start(self, definition: ServiceDefinition) -> None:
        if definition.systemd_unit:
            self._unit(definition).start()
            return
        name = definition.object
        environ = self._environ | {OBJECT_VARIABLE: name} | definition.environment
        process = ServiceProcess(definition, environ, self._started, self._process_ended)
        self._processes[name] = process
        process.start()

    def stop(self, definition: ServiceDefinition) -> None:
        """What runs, even if the definition says something else by now."""
        process = self._processes.get(definition.object)
        if process is not None:
            process.stop()
        else:
            self._unit(definition).stop()

    def last_words(self, object_name: str) -> str:
        process = self._processes.get(object_name)
        return process.words.told() if process is not None else ""

    async def close(self) -> None:
        """Ends all processes that it has started, and returns when they are gone; units of systemd stay."""
        for process in list(self._processes.values()):
            process.stop()
        tasks = [one.task for one in self._processes.values() if one.task is not None]
        for unit in self._units.values():
            tasks += unit.abandon()
        if tasks:
            await asyncio.wait(tasks)

    def kill(self) -> None:
        """Makes `close` wait no longer than a process takes that is killed."""
        for process in self._processes.values():
            process.kill()

    def _unit(self, definition: ServiceDefinition) -> ServiceUnit:
        known = self._units.get(definition.object)
        if known is None or known.name != definition.systemd_unit:
            if known is not None:
                known.abandon()
            known = ServiceUnit(definition, self._is_starting, self._ended)
            self._units[definition.object] = known
        return known

    def _is_starting(self, object_name: str) -> bool:
        service = self._services.find(object_name)
        return service is not None and service.state is State.STARTING

    def _started(self, object_name: str, pid: int) -> None:
        self._services.started(object_name, pid)

    def _process_ended(self, object_name: str, reason: str, failed: bool) -> None:
        del self._processes[object_name]
        self._ended(object_name, reason, failed)

    def _ended(self, object_name: str, reason: str, failed: bool) -> None:
        now = self._time()
        self._services.ended(object_name, reason, now, failed=failed)
        self._flush(now)
