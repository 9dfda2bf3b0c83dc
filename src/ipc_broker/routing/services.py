"""The services that there are, by their objects: where they come from, and what the launcher tells of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..activation.definition import InvalidService, ServiceDefinition, define_unit
from .service import End, Launcher, Service

if TYPE_CHECKING:
    from .router import Router

logger = logging.getLogger("ipc_broker")


class Services:
    """None until the shell says which (`replace`), and who starts them (`launcher`)."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._services: dict[str, Service] = {}
        self._forgotten: dict[str, Service] = {}  # not defined any more, until their processes have ended
        self._adopted: dict[str, ServiceDefinition] = {}
        self.launcher: Launcher | None = None
        self.allow_units: frozenset[str] = frozenset()
        """Units that peers may name (`RegisterService`)."""

    def __iter__(self) -> Iterator[Service]:
        return iter(self._services.values())

    def find(self, object_name: str) -> Service | None:
        return self._services.get(object_name)

    def replace(self, definitions: Iterable[ServiceDefinition], now: float) -> None:
        """All that files define. Services that run go on, unless they are not defined any more."""
        written = {definition.object: definition for definition in definitions}
        self._adopted = {name: one for name, one in self._adopted.items() if name not in written}
        wanted = written | self._adopted
        for name in [name for name in self._services if name not in wanted]:
            service = self._services.pop(name)
            service.forget(now)
            if service.alive:
                self._forgotten[name] = service
        for definition in wanted.values():
            self._define(definition, now)

    def adopt(self, object_name: str, service_name: str, now: float) -> str:
        """What a peer says of an object: which unit serves it. Gives why not, "" where it holds from now on."""
        try:
            definition = define_unit(object_name, service_name)
        except InvalidService as error:
            return str(error)
        if definition.systemd_unit not in self.allow_units:
            return f"the unit '{definition.systemd_unit}' is not among those that programs may name (allow_units)"
        known = self._services.get(object_name)
        if known is not None and object_name not in self._adopted:
            return "" if known.definition.systemd_unit == definition.systemd_unit else "a file defines its service"
        self._adopted[object_name] = definition
        self._define(definition, now)
        return ""

    def _define(self, definition: ServiceDefinition, now: float) -> None:
        name = definition.object
        service = self._services.get(name) or self._forgotten.pop(name, None)
        if service is None:
            service = Service(self._router, definition, now)
        else:
            service.define(definition, now)
        self._services[name] = service

    # What the launcher tells

    def started(self, object_name: str, pid: int) -> None:
        """Its process runs."""
        service = self._services.get(object_name)
        if service is not None:
            service.pid = pid

    def ended(self, object_name: str, reason: str, now: float, *, failed: bool) -> None:
        """It could not be started, or its process is gone. `reason` is for people: status, and the last of its log."""
        logger.info("the service of '%s': %s", object_name, reason)
        service = self._services.get(object_name) or self._forgotten.pop(object_name, None)
        if service is not None:
            service.ended(End(reason, failed), now)

    # Time

    def next_deadline(self) -> float | None:
        return min((one.due for one in self._services.values() if one.due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for service in list(self._services.values()):
            if service.due is not None and now >= service.due:
                service.handle_timer(now)
